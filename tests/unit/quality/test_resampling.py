"""Intervals hold the truth as often as they say, and lesions of a patient are drawn together."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.quality.resampling import (
    Draws,
    around,
    correlation_draws,
    enough,
    estimate,
    half_samples,
    patient_weights,
    resampled,
    weighted_mean,
)


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


def test_half_samples_keep_patients_whole_and_are_half_of_them():
    patients = ["a", "a", "b", "c", "c", "d", "e"]
    drawn = half_samples(patients, np.random.default_rng(0), 100)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 3] == drawn[:, 4]).all()
    taken = drawn[:, [0, 2, 3, 5, 6]].sum(axis=1)
    assert set(taken) == {2, 3}


def test_half_samples_spread_as_the_mean_does():
    values = np.random.default_rng(1).normal(size=200)
    drawn = half_samples([f"p{n}" for n in range(200)], np.random.default_rng(2), 2000)
    means = weighted_mean(values, drawn.astype(float))
    assert means.std() == pytest.approx(values.std() / np.sqrt(200), rel=0.1)
    found = around(float(values.mean()), means + 5.0)
    assert found.low < values.mean() < found.high
    assert found.high - found.low == pytest.approx(4 * values.std() / np.sqrt(200), rel=0.1)


def test_intervals_keep_to_their_limits():
    draws = np.array([0.2, 0.9, 1.0, np.nan])
    found = around(0.95, draws, (0.0, 1.0))
    assert (found.value, found.high) == (0.95, 1.0)


def test_a_side_is_thinned_to_a_size():
    patients = [f"p{n // 2}" for n in range(20)]
    drawn = Draws.of(patients, np.random.default_rng(0), 7)
    assert (drawn.whole.sum(axis=1) == 7).all()
    assert len(drawn.whole) > 1
    assert (drawn.halves.sum(axis=1) == 4).all()
    everyone = Draws.of(patients, np.random.default_rng(0), 20)
    assert everyone.whole.all()
    assert (everyone.halves.sum(axis=1) == 10).all()


def test_figures_are_computed_on_the_rows_of_both_sides():
    first = Draws.of([f"a{n}" for n in range(30)], np.random.default_rng(0), 10)
    second = Draws.of([f"b{n}" for n in range(8)], np.random.default_rng(1))
    value, draws = resampled(
        lambda ours, theirs: np.array([1.0 * len(ours), len(theirs)]),
        first,
        second,
        lambda ours, theirs: np.array([2.0 * len(ours), 2 * len(theirs)]),
    )
    assert value.tolist() == [10, 8]
    assert draws.mean(axis=0).tolist() == [10, 8]


def test_many_lesions_of_few_patients_are_not_enough():
    assert enough(["a", "b", "c", "d", "d"], 5)
    assert not enough(["a", "b", "c", "d"], 5)
    assert not enough(["a", "b", "c"] * 10, 5)
