"""Do synthetic lesions lie where real ones do, and everywhere where these do? By nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
from jaxtyping import Float

from medaug.core.assessment import Figure
from medaug.core.seeding import SeedTree
from medaug.quality.distances import Cloud
from medaug.quality.resampling import Draws, Rows, around, resampled

_NEIGHBOURS = (3, 5)  # of precision and recall, and of density and coverage: those of the papers
_OF_HALVES = (2, 3)  # of half a set, so that a neighbourhood stays as wide
_LIMITS = ((0.0, 1.0), (0.0, 1.0), (0.0, np.inf), (0.0, 1.0))


@final
@dataclass(frozen=True, slots=True)
class Manifold:
    """Precision and recall (Kynkaanniemi et al., NeurIPS 2019), density and coverage (Naeem et al., ICML 2020)."""

    precision: Figure
    recall: Figure
    density: Figure
    coverage: Figure


def manifold_figures(made: Cloud, real: Cloud, size: int, seed: SeedTree) -> Manifold:
    """The four figures with their intervals.

    All four depend on how many lesions there are. So sets that are compared are thinned to one size, and what half a
    set is off by is taken away from the draws of halves.

    Args:
        made: Synthetic lesions, or real ones in their stead.
        real: Real lesions of other patients.
        size: Lesions to thin the first set to.
        seed: Root of the draws.
    """
    within = (_squared(made.features, made.features), _squared(real.features, real.features))
    between = _squared(made.features, real.features)

    def figures(
        ours: Rows, theirs: Rows, neighbours: tuple[int, int] = _NEIGHBOURS
    ) -> Float[np.ndarray, "4"]:
        cut = within[0][np.ix_(ours, ours)], within[1][np.ix_(theirs, theirs)]
        return neighbour_figures(cut, between[np.ix_(ours, theirs)], neighbours)

    first = Draws.of(made.patients, seed.child("made").rng(), size)
    second = Draws.of(real.patients, seed.child("real").rng())
    of_halves = partial(figures, neighbours=_OF_HALVES)
    values, draws = resampled(figures, first, second, of_halves)
    found = [around(float(v), d, limits) for v, d, limits in zip(values, draws.T, _LIMITS, strict=True)]
    return Manifold(found[0], found[1], found[2], found[3])


def neighbour_figures(
    within: tuple[Float[np.ndarray, "N N"], Float[np.ndarray, "M M"]],
    between: Float[np.ndarray, "N M"],
    neighbours: tuple[int, int] = _NEIGHBOURS,
) -> Float[np.ndarray, "4"]:
    """Precision, recall, density and coverage from squared distances; NaN where a side has too few for neighbours.

    Args:
        within: Of the synthetic lesions, and of the real ones.
        between: Of both.
        neighbours: That precision and recall count to, and that density and coverage count to.
    """
    if min(between.shape) <= max(neighbours):
        return np.full(4, np.nan)
    near_real, wide_real = (_radii(within[1], k) for k in neighbours)
    near_made = _radii(within[0], neighbours[0])
    return np.array(
        [
            (between <= near_real).any(axis=1).mean(),
            (between <= near_made[:, None]).any(axis=0).mean(),
            (between <= wide_real).sum() / (neighbours[1] * len(between)),
            (between.min(axis=0) <= wide_real).mean(),
        ]
    )


def _radii(within: Float[np.ndarray, "N N"], k: int) -> Float[np.ndarray, " N"]:
    """Squared distance of each lesion to its k-th neighbour, itself not counted."""
    return np.asarray(np.partition(within, k, axis=1)[:, k])


def _squared(first: Float[np.ndarray, "N F"], second: Float[np.ndarray, "M F"]) -> Float[np.ndarray, "N M"]:
    """Squared distances of all pairs."""
    norms = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)
    return np.asarray(np.maximum(norms - 2.0 * first @ second.T, 0.0))
