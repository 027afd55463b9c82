"""Intervals hold the truth as often as they say, and lesions of a patient are drawn together."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.quality.resampling import correlation_draws, estimate, patient_weights, weighted_mean


def test_lesions_of_a_patient_come_together():
    weights = patient_weights(["a", "b", "a", "c"], np.random.default_rng(0), 50)
    assert np.array_equal(weights[:, 0], weights[:, 2])
    distinct = weights[:, [0, 1, 3]].sum(axis=1)
    assert np.array_equal(distinct, np.full(50, 3.0))


def test_equal_patients_get_equal_draws():
    first = patient_weights(["a", "b", "c"], np.random.default_rng(3), 20)
    second = patient_weights(["c", "b", "a"], np.random.default_rng(3), 20)
    assert np.array_equal(first, second[:, ::-1])


def test_the_interval_of_a_mean_is_about_two_standard_errors():
    rng = np.random.default_rng(1)
    values = rng.normal(5.0, 2.0, 100)
    owners = [str(n) for n in range(100)]
    found = estimate(float(values.mean()), weighted_mean(values, patient_weights(owners, rng, 2000)))
    error = values.std() / 10
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.06)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.06)
    assert found.text(1).startswith(f"{values.mean():.1f} (")


def test_draws_without_a_value_are_left_out():
    found = estimate(1.0, np.array([np.nan, 1.0, 1.0]))
    assert (found.low, found.high) == (1.0, 1.0)
    assert np.isnan(estimate(1.0, np.array([np.nan])).low)
    assert np.isnan(weighted_mean(np.ones(2), np.zeros((1, 2)))[0])


def test_weighted_correlation_is_that_of_the_repeated_sample():
    rng = np.random.default_rng(2)
    x, y, counts = rng.normal(size=12), rng.normal(size=12), rng.integers(0, 3, (4, 12))
    found = correlation_draws(x, y, counts.astype(float))
    for row, value in zip(counts, found, strict=True):
        assert value == pytest.approx(np.corrcoef(np.repeat(x, row), np.repeat(y, row))[0, 1])
