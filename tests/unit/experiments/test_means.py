"""Intervals and p values of a mean: known values, and how often they are right, by simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from medaug.core.seeding import SeedTree
from medaug.experiments.means import (
    Interval,
    Samples,
    achieved_coverage,
    intervals,
    mean_interval,
    mean_p,
    p_values,
)

SEED = SeedTree(3)
TRIALS = 1500


def no_effect(kind: str, n: int) -> Samples:
    """Samples of a population whose mean is 0."""
    rng, shape = SEED.child("no effect", kind, n).rng(), (TRIALS, n)
    some, exponential = rng.random(shape) < 0.5, rng.exponential(0.1, shape) - 0.1
    few_gain = np.where(some, rng.beta(1, 4, shape) - 0.2, rng.normal(0, 0.01, shape))
    kinds: dict[str, Samples] = {
        "gaussian": rng.normal(0.0, 0.1, shape),
        "heavy tails": 0.1 * rng.standard_t(3, shape),
        "exponential": exponential,
        "lognormal": rng.lognormal(0.0, 0.5, shape) - np.exp(0.125),
        "very skewed": rng.lognormal(0.0, 1.0, shape) - np.exp(0.5),
        "zeros": np.where(some, rng.normal(0.0, 0.1, shape), 0.0),
        "skewed zeros": np.where(some, exponential, 0.0),
        "few gain": few_gain,
    }
    return kinds[kind]


# half of 8 values are too few to be flipped, of 20 a little few; an interval that is exact for 8 Gaussian values is long
# for heavy tails
LEAST = {("zeros", 8): 0.0, ("skewed zeros", 8): 0.0, ("heavy tails", 8): 0.02, ("zeros", 20): 0.025}
# no test that was tried does better: see the module
MOST = {("very skewed", 8): 0.11, ("very skewed", 20): 0.085}
KINDS = (
    "gaussian",
    "heavy tails",
    "exponential",
    "lognormal",
    "very skewed",
    "zeros",
    "skewed zeros",
    "few gain",
)


@pytest.mark.parametrize("n", [8, 20, 42])
@pytest.mark.parametrize("kind", KINDS)
def test_five_percent_of_true_nulls_are_rejected_or_called(kind: str, n: int) -> None:
    samples = no_effect(kind, n)
    found, p = intervals(samples, SEED), p_values(samples, SEED)
    rejected = float(np.mean(p <= 0.05))
    # as `call` has it for a single comparison: a gain needs both, harm the interval alone
    called = float(np.mean((found.high < 0) | ((found.low > 0) & (p <= 0.05))))
    least, most = LEAST.get((kind, n), 0.03), MOST.get((kind, n), 0.07)
    assert least <= rejected <= most
    assert least <= called <= most


@pytest.mark.parametrize("n", [8, 20, 42])
def test_intervals_hold_a_gaussian_mean_95_times_in_100(n: int) -> None:
    samples = 0.3 + no_effect("gaussian", n)
    found = intervals(samples, SEED)
    assert 0.93 <= np.mean((found.low <= 0.3) & (found.high >= 0.3)) <= 0.97


@pytest.mark.parametrize(("kind", "n"), [("exponential", 8), ("exponential", 20), ("skewed zeros", 42)])
def test_the_coverage_that_is_told_is_the_one_achieved(kind: str, n: int) -> None:
    samples = no_effect(kind, n)
    found = intervals(samples, SEED)
    achieved = float(np.mean((found.low <= 0) & (found.high >= 0)))
    told = [achieved_coverage(sample, SEED) for sample in samples[:12]]
    known = [share for share in told if share is not None]
    assert len(known) >= 10
    assert np.mean(known) == pytest.approx(achieved, abs=0.02)


def test_a_sample_like_a_gaussian_has_the_nominal_coverage_and_a_bad_one_less() -> None:
    even = np.linspace(-1, 1, 20)
    assert achieved_coverage(even, SEED) == pytest.approx(0.95, abs=0.02)
    assert achieved_coverage(-even, SEED) == achieved_coverage(even, SEED)
    lone = np.array([0.0] * 17 + [0.2, 0.25, 0.3])
    told = achieved_coverage(lone, SEED)
    assert told is not None
    assert told < 0.92
    assert achieved_coverage(-lone, SEED) == told
    assert achieved_coverage(np.array([0.0, 0.0, 0.0, 0.1, 0.2]), SEED) is None
    assert achieved_coverage(np.full(9, 0.1), SEED) is None


def test_flips_are_counted_as_by_hand_where_they_decide() -> None:
    values = np.array([0.1, 0.3, -0.05, 0.2])
    signs = product((1, -1), repeat=4)
    sums = [abs(sum(s * v for s, v in zip(row, values, strict=True))) for row in signs]
    by_hand = np.mean([s >= abs(values.sum()) - 1e-12 for s in sums])
    assert mean_p(values, SEED) >= by_hand
    assert mean_p(np.full(5, 0.1), SEED) == pytest.approx(2 / 32)
    assert mean_p(np.array([0.1] * 6 + [0.0] * 9), SEED) == pytest.approx(2 / 64)
    assert mean_p(np.zeros(6), SEED) == 1.0
    assert mean_p(np.array([0.4]), SEED) == 1.0
    assert mean_p(np.array([]), SEED) == 1.0


def test_p_of_a_clear_effect_is_small_but_never_zero() -> None:
    strong = 0.1 + 0.001 * np.arange(20)
    assert 0 < mean_p(strong, SEED) < 2e-3
    assert mean_p(-strong, SEED) == pytest.approx(mean_p(strong, SEED), abs=1e-3)


def test_interval_is_no_narrower_than_students() -> None:
    values = SEED.child("values").rng().gamma(2.0, size=12)
    found = mean_interval(values, SEED, low=-9, high=9)
    student = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert found.low <= student[0] + 1e-9
    assert found.high > student[1] + 0.1  # the long tail is above


def test_interval_of_one_value_or_of_equal_values() -> None:
    assert mean_interval(np.array([0.3]), SEED) == Interval(-1.0, 1.0)
    assert mean_interval(np.full(7, 0.25), SEED) == Interval(0.25, 0.25)
    assert mean_interval(np.zeros(7), SEED) == Interval(0.0, 0.0)
    some = mean_interval(np.array([0.0, 0.0, 0.0, 0.4, 0.4]), SEED)
    assert some.low < 0.16 < some.high


def test_interval_stays_in_range_and_depends_on_the_seed_alone() -> None:
    values = np.array([0.0, 0.0, 0.0, 0.9, 1.0])
    one = mean_interval(values, SEED, low=0.0, high=1.0)
    assert one == mean_interval(values, SeedTree(3), low=0.0, high=1.0)
    assert 0.0 <= one.low < values.mean() < one.high <= 1.0


def test_samples_of_a_lot_are_judged_as_one_by_one() -> None:
    samples = no_effect("skewed zeros", 8)[:30]
    together, p = intervals(samples, SEED), p_values(samples, SEED)
    for n, sample in enumerate(samples):
        alone = intervals(sample[None], SEED)
        assert (alone.low[0], alone.high[0]) == pytest.approx((together.low[n], together.high[n]))
        assert mean_p(sample, SEED) == pytest.approx(p[n])


def test_many_values_are_judged_in_little_memory() -> None:
    many = SEED.child("many").rng().normal(0.1, 0.5, 9_000)
    found = mean_interval(many, SEED)
    student = stats.t.interval(0.95, len(many) - 1, many.mean(), stats.sem(many))
    assert (found.low, found.high) == pytest.approx(student, abs=2e-3)
