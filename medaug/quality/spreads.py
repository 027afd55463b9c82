"""Size, shape and place of synthetic lesions against those of held-out real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import wasserstein_distance

from medaug.core.assessment import Figure, SpreadQuality
from medaug.core.seeding import SeedTree
from medaug.quality.features import SHAPE
from medaug.quality.resampling import Draws, Rows, around, enough, resampled
from medaug.quality.samples import LesionSample, figures_of

Values = Float[np.ndarray, " _"]
_SAME = 1e-9
_OUTLINE = ("eccentricity", "solidity", "extent", "roundness")


def spread_figures(
    sides: tuple[Sequence[LesionSample], Sequence[LesionSample], Sequence[LesionSample]],
    seed: SeedTree,
    fewest: int,
) -> tuple[SpreadQuality, ...]:
    """The first Wasserstein distance of every property, in units of its deviation over the real lesions.

    Sizes and distances are in mm where every spacing is known, else in voxels. A property that does not vary over the
    real lesions, such as the place along the one slice of an image, is left out.

    Args:
        sides: Synthetic lesions of one class, real ones of the training patients, and of the held-out patients.
        seed: Root of the draws.
        fewest: Lesions of a side below which there is no figure.
    """
    owners = [[sample.patient_id for sample in side] for side in sides]
    large = [enough(side, fewest) for side in owners]
    if not large[2] or not any(large[:2]):
        return ()
    in_mm = all(sample.is_spacing_known for side in sides for sample in side)
    columns = [
        properties(side, in_mm=in_mm) if is_large else {} for side, is_large in zip(sides, large, strict=True)
    ]
    size = min(len(side) for side, is_large in zip(owners[:2], large, strict=False) if is_large)
    rows = []
    for name, real in columns[2].items():
        deviation = float(np.std([*columns[1].get(name, ()), *real]))
        if deviation < _SAME:
            continue
        figures = [
            _distance((columns[n][name], owners[n]), (real, owners[2]), deviation, size, seed.child(name, n))
            if name in columns[n]
            else None
            for n in (0, 1)
        ]
        rows.append(SpreadQuality(name=name, distance=figures[0], floor=figures[1]))
    return tuple(rows)


def properties(samples: Sequence[LesionSample], *, in_mm: bool) -> Mapping[str, Values]:
    """Properties of lesions by name.

    Args:
        samples: At least one.
        in_mm: Whether sizes and distances are in mm, or in voxels.
    """
    shape = dict(zip(SHAPE, figures_of(samples).T[-len(SHAPE) :], strict=True))
    unit, ratio = ("mm", 1.0) if in_mm else ("voxels", _pixel_mm(samples))
    diameter_mm = 2.0 * np.sqrt(np.exp(shape["log_area_mm2"]) / np.pi)
    found = {f"diameter_{unit}": diameter_mm / ratio, **{name: shape[name] for name in _OUTLINE}}
    places = [sample.place for sample in samples]
    if all(place is not None for place in places):
        known = [place for place in places if place is not None]
        shares = np.array([place.shares for place in known]).T
        found |= dict(zip(("place_i", "place_j", "place_k"), shares, strict=True))
        found[f"border_{unit}"] = np.array([place.border_mm for place in known]) / ratio
    return found


def _pixel_mm(samples: Sequence[LesionSample]) -> Values:
    """Side of a pixel of the scan, whose image here may be averaged down."""
    return np.array([np.sqrt(s.spacing_mm[0] * s.spacing_mm[1]) / s.averaged for s in samples])


def _distance(
    one: tuple[Values, Sequence[str]],
    other: tuple[Values, Sequence[str]],
    deviation: float,
    size: int,
    seed: SeedTree,
) -> Figure:
    def distance(ours: Rows, theirs: Rows) -> Float[np.ndarray, "1"]:
        if min(len(ours), len(theirs)) == 0:
            return np.array([np.nan])
        return np.array([wasserstein_distance(one[0][ours], other[0][theirs]) / deviation])

    first = Draws.of(one[1], seed.child("one").rng(), size)
    second = Draws.of(other[1], seed.child("other").rng())
    value, draws = resampled(distance, first, second)
    return around(float(value[0]), draws[:, 0], (0.0, np.inf))
