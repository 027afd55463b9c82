"""Bootstrap by patient: lesions of one patient are drawn together, so that intervals are not too narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float

from medaug.core.assessment import Figure

DRAWS = 400
_TAILS = (0.025, 0.975)


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
