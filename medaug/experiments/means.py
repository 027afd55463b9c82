"""What a few skewed values say of a mean: its interval, its test, and how far the interval can be trusted.

Differences in Dice between two arms are few, skewed and often exactly 0, where both arms miss a lesion. No method is
right for all such data, so each figure is the more cautious of two that fail on different data:

- *Interval*: the wider, side by side, of Student's t, exact on Gaussian values, and of bootstrap-t (Efron and
  Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12), which follows skewness. BCa (chapter 14) was measured
  at 89% instead of 95% for 8 Gaussian values, 85% for 8 exponential ones.
- *p*: the larger of the paired sign-flip permutation test, exact under symmetry (Davison and Hinkley, Bootstrap Methods
  and their Application, 1997, chapter 4), and of bootstrap-t. The flips alone reject 10% of true nulls for 8
  exponential values, and do no better with Johnson's corrected t (JASA 73, 1978), 9%.

Both bootstraps resample the values other than 0 alone: a mean is 0 just where theirs is, and zeros, which nobody
doubts, would hide how few the others are (bootstrap-t over all rejects 17% of true nulls where 70% of 20 values are 0).

Measured, as percent of true nulls that p <= 0.05 rejects, for 8, 20 and 42 values (2500 samples each): Gaussian 3.6,
4.1, 4.3; Student's t of 3 degrees 4.7, 5.6, 4.5; exponential 6.0, 4.7, 4.8; lognormal of sigma 0.5 5.2, 5.0, 4.6; half
zeros, else Gaussian 0.4, 3.7, 4.6; half zeros, else exponential 1.1, 5.2, 4.5. Intervals hold the mean of these 94.0
to 98.8 times in 100. Out of reach: with fewer than 6 values other than 0 no exact test gets to 0.05, so p is cautious
there; and few values of a lognormal of sigma 1 (skewness 6) show too little of its tail, 9.9, 7.4, 5.5; alone, the
flips reject 14 of 100 such samples of 8, BCa 19, and Johnson's t 9, which rejects 16 where 70% of 20 values are 0.
The tests of this module repeat it for p and for what is called a gain or harm, with 1500 samples a cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

from medaug.core.seeding import SeedTree

Values = Float[np.ndarray, "n"]
Samples = Float[np.ndarray, "R n"]
EXACT = 15
_LEVEL = 0.05
_DRAWS, _FLIPS = 4000, 10000
_POPULATIONS, _DRAWS_A_POPULATION = 1000, 1000
_LARGEST_SIMULATED, _MOST_SKEWED = 100, 6.0
_CELLS = 2_000_000  # of a table of resamples: what is held in memory at once
_FEWEST_DRAWS = 1000  # for samples so large that skewness hardly matters


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """A 95% interval."""

    low: float
    high: float


@final
@dataclass(frozen=True, slots=True)
class Intervals:
    """The 95% interval of each of R samples."""

    low: Float[np.ndarray, "R"]
    high: Float[np.ndarray, "R"]


def mean_interval(values: Values, seed: SeedTree, *, low: float = -1.0, high: float = 1.0) -> Interval:
    """95% interval of the mean, kept inside ``low..high``.

    One value says nothing: the whole range comes back. Equal values give an interval of no width.
    """
    if len(values) < 2:
        return Interval(low, high)
    found = intervals(values[None], seed)
    return Interval(max(float(found.low[0]), low), min(float(found.high[0]), high))


def mean_p(values: Values, seed: SeedTree) -> float:
    """Two-sided p of a mean of 0; the sign flips are all counted up to 15 values other than 0, else 10,000 of them."""
    return float(p_values(values[None], seed)[0]) if len(values) else 1.0


def achieved_coverage(values: Values, seed: SeedTree) -> float | None:
    """How often :func:`mean_interval` holds the true mean of a smooth population like the sample.

    The population has the sample's share of zeros; its other values are gamma distributed with the skewness of the
    sample's (adjusted for its size), and as far from 0. Skewness is rounded to quarters and ends at 6; more than 100
    values are taken as 100. The figure is right within 0.02 for the population, which the sample only hints at.

    Returns:
        A share, from 1000 simulated samples; None where fewer than three values differ from 0, or all are equal.
    """
    others = values[values != 0]
    n, k = len(values), len(others)
    if k < 3 or np.ptp(others) < 1e-12:
        return None
    centred = others - others.mean()
    skew = float((centred**3).mean() / (centred**2).mean() ** 1.5) * math.sqrt(k * (k - 1)) / (k - 2)
    skew = float(np.clip(round(skew * 4) / 4, -_MOST_SKEWED, _MOST_SKEWED))
    distance = 0.0 if k == n else float(np.clip(round(others.mean() / others.std(ddof=1) * 2) / 2, -4, 4))
    # mirrored values have mirrored intervals
    mirrored = skew < 0 or (skew == 0 and distance < 0)
    return _coverage(
        min(n, _LARGEST_SIMULATED),
        round(k / n, 1) or 0.1,
        abs(skew),
        -distance if mirrored else distance,
        seed,
    )


@lru_cache(maxsize=1024)
def _coverage(n: int, share: float, skew: float, distance: float, seed: SeedTree) -> float:
    rng = seed.child("population", n, f"{share} {skew} {distance}").rng()
    shape = 4 / max(skew, 1e-3) ** 2
    smooth = (rng.gamma(shape, size=(_POPULATIONS, n)) - shape) / math.sqrt(shape)
    samples = (smooth + distance) * (rng.random((_POPULATIONS, n)) < share)
    found = intervals(samples, seed, _DRAWS_A_POPULATION)
    truth = share * distance
    return float(np.mean((found.low <= truth) & (truth <= found.high)))


def intervals(samples: Samples, seed: SeedTree, draws: int = _DRAWS) -> Intervals:
    """The interval of the mean of each of R samples of n >= 2 values; all share their resamples."""
    n = samples.shape[1]
    mean = samples.mean(axis=1)
    reach = stdtrit(n - 1, 1 - _LEVEL / 2) * samples.std(axis=1, ddof=1) / np.sqrt(n)
    low, high = mean - reach, mean + reach
    for rows, others in _other_than_zero(samples, draws):
        k = others.shape[1]
        t = np.sort(_bootstrap_t(others, _weights(k, draws, seed)), axis=1)  # nan comes last
        usable = np.count_nonzero(~np.isnan(t), axis=1)
        centre, error = others.mean(axis=1), others.std(axis=1, ddof=1) / np.sqrt(k)
        # fmin and fmax: equal values have no t, and keep what Student says
        low[rows] = np.fmin(low[rows], k / n * (centre - _ranked(t, usable, 1 - _LEVEL / 2) * error))
        high[rows] = np.fmax(high[rows], k / n * (centre - _ranked(t, usable, _LEVEL / 2) * error))
    return Intervals(low, high)


def p_values(samples: Samples, seed: SeedTree, draws: int = _DRAWS) -> Float[np.ndarray, "R"]:
    """Two-sided p of each of R samples; all share their resamples and flips."""
    p = np.ones(len(samples))
    for rows, others in _other_than_zero(samples, _FLIPS):
        k = others.shape[1]
        p[rows] = _flip_p(others, seed)
        t = _bootstrap_t(others, _weights(k, draws, seed))
        error = others.std(axis=1, ddof=1) / np.sqrt(k)
        varied = error > 1e-12
        seen = np.divide(others.mean(axis=1), error, out=np.full(len(others), np.inf), where=varied)[:, None]
        usable = np.count_nonzero(~np.isnan(t), axis=1)
        rarer = np.minimum(np.count_nonzero(t <= seen, axis=1), np.count_nonzero(t >= seen, axis=1))
        p[rows] = np.maximum(p[rows], np.where(varied, np.minimum(2 * (rarer + 1) / (usable + 1), 1), 0))
    return p


def _flip_p(samples: Samples, seed: SeedTree) -> Float[np.ndarray, "R"]:
    """The permutation test: how rarely the sum of a random subset has the sign of the whole, flipped.

    Flipping the values of a subset makes the sum as extreme as it is just where the subset's sum is <= 0.
    """
    sums = samples @ _subsets(samples.shape[1], seed).T
    rarer = np.minimum(np.count_nonzero(sums <= 1e-12, axis=1), np.count_nonzero(sums >= -1e-12, axis=1))
    p: Values = np.minimum(2.0 * (rarer + 1) / (sums.shape[1] + 1), 1.0)
    return p


def _bootstrap_t(samples: Samples, weights: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "R B"]:
    """Student's t of every resample about the sample's mean; nan where it repeats one value."""
    n = samples.shape[1]
    centred = samples - samples.mean(axis=1, keepdims=True)
    squares = centred**2
    means = centred @ weights.T / n
    variances = squares @ weights.T / n - means**2
    usable = variances > 1e-9 * squares.mean(axis=1, keepdims=True)
    t = np.full(means.shape, np.nan)
    np.divide(means, np.sqrt(np.abs(variances) / (n - 1)), out=t, where=usable)
    return t


def _ranked(ordered: Float[np.ndarray, "R B"], usable: Int[np.ndarray, "R"], level: float) -> Values:
    """The quantile of the first ``usable`` values of each row; nan (no bound) where there are none."""
    place = np.clip(np.round(level * (usable + 1)).astype(int) - 1, 0, np.maximum(usable - 1, 0))
    return np.take_along_axis(ordered, place[:, None], axis=1)[:, 0]


def _other_than_zero(samples: Samples, wide: int) -> Iterator[tuple[Int[np.ndarray, "_"], Samples]]:
    """Samples with equally many values other than 0 (two at least), those values alone, in manageable lots."""
    counts = np.count_nonzero(samples, axis=1)
    lot = max(1, _CELLS // wide)
    for k in np.unique(counts[counts >= 2]).tolist():
        rows = np.flatnonzero(counts == k)
        for start in range(0, len(rows), lot):
            some = rows[start : start + lot]
            yield some, samples[some][samples[some] != 0].reshape(len(some), k)


@lru_cache(maxsize=4)
def _weights(n: int, draws: int, seed: SeedTree) -> Float[np.ndarray, "B n"]:
    """How often each of n values is drawn, in each resample."""
    rng = seed.child("resamples", n).rng()
    return rng.multinomial(n, np.full(n, 1 / n), size=_affordable(draws, n)).astype(np.float64)


@lru_cache(maxsize=4)
def _subsets(n: int, seed: SeedTree) -> Float[np.ndarray, "F n"]:
    """All subsets of n values but the empty one, or random ones, as ones and zeros."""
    if n <= EXACT:
        return ((np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    rng = seed.child("subsets", n).rng()
    return rng.integers(0, 2, size=(_affordable(_FLIPS, n), n)).astype(np.float64)


def _affordable(draws: int, n: int) -> int:
    return max(min(draws, 4 * _CELLS // n), _FEWEST_DRAWS)
