"""Intervals over patients where the draws say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medaug.metrics.resampled import estimates


@pytest.mark.parametrize("count", [2, 4, 40])
@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong_end_where_an_exact_interval_does(count, right):
    found = np.full(count, float(right))
    ids = [f"p{n}" for n in range(count)]
    (one,) = estimates(
        ids, lambda chosen: np.array([found[chosen].mean()]), [count], np.random.default_rng(0)
    )
    exact = stats.binomtest(count * right, count).proportion_ci(method="exact")
    assert (one.low, one.high) == pytest.approx((exact.low, exact.high))


def test_an_interval_that_the_draws_tell_is_theirs():
    found = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    ids = [f"p{n}" for n in range(8)]
    (one,) = estimates(ids, lambda chosen: np.array([found[chosen].mean()]), [8], np.random.default_rng(0))
    draws = np.random.default_rng(0).integers(8, size=(1000, 8))
    assert (one.low, one.high) == pytest.approx(tuple(np.quantile(found[draws].mean(axis=1), (0.025, 0.975))))
