"""Draws by patient: lesions of one patient are drawn together, so that intervals are not too narrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from medaug.core.assessment import Figure

DRAWS = 400
HALVES = 200
_THINNINGS = 10
FEWEST_PATIENTS = 4
_TAILS = (0.025, 0.975)


Rows = Int[np.ndarray, " _"]
Figures = Callable[[Rows, Rows], Float[np.ndarray, " _"]]


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% percentile interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 3) -> str:
        """As tables show it."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def patient_weights(
    patients: Sequence[str], rng: np.random.Generator, draws: int = DRAWS
) -> Float[np.ndarray, "D N"]:
    """How often each lesion comes up in each bootstrap draw of the patients.

    Two sets with the same patients get the same draws from equal random numbers, so that differences are paired.
    """
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=draws)
    return np.asarray(counts[:, owner], dtype=np.float64)


def enough(patients: Sequence[str], fewest: int) -> bool:
    """Whether there are so many lesions, and patients enough to be drawn in halves."""
    return len(patients) >= fewest and len(set(patients)) >= FEWEST_PATIENTS


def half_samples(
    patients: Sequence[str], rng: np.random.Generator, draws: int = DRAWS
) -> Bool[np.ndarray, "D N"]:
    """Which lesions are in each draw of half of the patients, without replacement.

    The delete-half jackknife (Shao and Wu, Ann Stat 1989): a mean spreads over such draws as it does over samples of
    the full size, and no lesion is drawn twice, which a bootstrap does and which would make it its own nearest
    neighbour. Of an odd number of patients one more or one fewer is drawn, by turns.
    """
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    ranks = rng.permuted(np.tile(np.arange(len(names)), (draws, 1)), axis=1)
    taken = len(names) // 2 + (np.arange(draws) % 2) * (len(names) % 2)
    return np.asarray((ranks < taken[:, None])[:, owner])


@final
@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Which lesions of one side a figure is computed on.

    Attributes:
        whole: (R, N) for its value; several rows where the side is thinned to a size, their mean counts.
        halves: (D, N) for its spread: half of the patients each.
    """

    whole: Bool[np.ndarray, "R N"]
    halves: Bool[np.ndarray, "D N"]

    @staticmethod
    def of(patients: Sequence[str], rng: np.random.Generator, size: int | None = None) -> Draws:
        """Draws of a side.

        Args:
            patients: (N,) the units of resampling.
            rng: Source of the draws.
            size: Lesions to thin the side to, so that two sides' figures can be compared; None takes all.
        """
        halves = half_samples(patients, rng, HALVES)
        everyone = np.ones((1, len(patients)), dtype=bool)
        if size is None or size >= len(patients):
            return Draws(everyone, halves)
        whole = thinned(np.repeat(everyone, _THINNINGS, axis=0), size, rng)
        return Draws(whole, thinned(halves, -(-size // 2), rng))


def thinned(drawn: Bool[np.ndarray, "D N"], size: int, rng: np.random.Generator) -> Bool[np.ndarray, "D N"]:
    """Rows with at most so many lesions, chosen at random."""
    keys = np.where(drawn, rng.random(drawn.shape), 2.0)
    ranks = keys.argsort(axis=1).argsort(axis=1)
    return np.asarray(drawn & (ranks < size))


def resampled(
    figures: Figures, first: Draws, second: Draws, of_halves: Figures | None = None
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "D K"]]:
    """Figures of two sides on all their lesions, and on draws of half of both sides' patients.

    Args:
        figures: Takes the rows of lesions of both sides; not finite where these are too few.
        first: Draws of the first side.
        second: Of the second; each as many as of the first, or a single whole.
        of_halves: The figures of a half, where they are computed in another way; else ``figures`` too.
    """
    pairs = max(len(first.whole), len(second.whole))
    whole = [
        figures(*(np.flatnonzero(side.whole[n % len(side.whole)]) for side in (first, second)))
        for n in range(pairs)
    ]
    halves = [
        (of_halves or figures)(np.flatnonzero(ours), np.flatnonzero(theirs))
        for ours, theirs in zip(first.halves, second.halves, strict=True)
    ]
    return np.mean(whole, axis=0), np.stack(halves)


def around(
    value: float, draws: Float[np.ndarray, " D"], limits: tuple[float, float] = (-np.inf, np.inf)
) -> Figure:
    """A figure with the spread of its half-sample draws around it; what half a sample is off by is taken away."""
    usable = draws[np.isfinite(draws)]
    low, high = np.quantile(usable - usable.mean(), _TAILS) if len(usable) else (0.0, 0.0)
    ends = [float(np.clip(value + end, *limits)) for end in (low, high)]
    return Figure(value=value, low=ends[0], high=ends[1])


def estimate(value: float, draws: Float[np.ndarray, " D"]) -> Estimate:
    """A figure and the 2.5th and 97.5th percentile of its draws; draws that are not finite are left out."""
    usable = draws[np.isfinite(draws)]
    if len(usable) == 0:
        return Estimate(value, float("nan"), float("nan"))
    low, high = (float(v) for v in np.quantile(usable, _TAILS))
    return Estimate(value, low, high)


def weighted_mean(
    values: Float[np.ndarray, " N"], weights: Float[np.ndarray, "D N"]
) -> Float[np.ndarray, " D"]:
    """Mean of each draw; NaN where none of the lesions was drawn."""
    total = weights.sum(axis=1)
    return np.asarray(np.where(total > 0, weights @ values / np.maximum(total, 1e-9), np.nan))


def correlation_draws(
    first: Float[np.ndarray, " N"], second: Float[np.ndarray, " N"], weights: Float[np.ndarray, "D N"]
) -> Float[np.ndarray, " D"]:
    """Pearson's correlation for each row of weights."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    share: Float[np.ndarray, "D N"] = weights / total
    x = first - (share @ first)[:, None]
    y = second - (share @ second)[:, None]
    both, one, other = ((share * part).sum(axis=1) for part in (x * y, x * x, y * y))
    return np.asarray(both / np.sqrt(np.maximum(one * other, 1e-18)))
