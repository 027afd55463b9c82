"""Means have intervals by patient, and patients are dealt whole."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.quality.groups import as_figure, mean_figure, parts_by_patient
from medaug.quality.resampling import Estimate


def test_lesions_of_one_patient_count_as_one() -> None:
    values, rng = np.repeat([0.0, 1.0], 20), np.random.default_rng(0)
    apart = mean_figure(values, [f"p{n}" for n in range(40)], rng)
    together = mean_figure(values, [f"p{n // 10}" for n in range(40)], rng)
    assert apart is not None
    assert together is not None
    assert apart.value == together.value == pytest.approx(0.5)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_too_few_make_no_figure_and_what_was_not_measured_is_left_out() -> None:
    rng, owners = np.random.default_rng(0), [f"p{n}" for n in range(6)]
    assert mean_figure(np.ones(4), owners[:4], rng) is None
    assert mean_figure(np.ones(6), ["p0"] * 6, rng) is None
    found = mean_figure(np.array([1.0, 1, 1, 1, 1, np.nan]), owners, rng)
    assert found is not None
    assert found.value == 1.0
    weighted = mean_figure(np.arange(6.0), owners, rng, np.array([1.0, 1, 1, 1, 4, 0]))
    assert weighted is not None
    assert weighted.value == pytest.approx(22 / 8)
    assert mean_figure(np.arange(6.0), owners, rng, np.array([1.0, 1, 1, 1, 0, 0])) is None
    assert as_figure(Estimate(0.5, float("nan"), 1.0)) is None


def test_patients_are_dealt_whole() -> None:
    owners = [f"p{n % 7}" for n in range(40)]
    parts = parts_by_patient(owners, 3, np.random.default_rng(1))
    assert {len({parts[n] for n in range(40) if owners[n] == name}) for name in owners} == {1}
    assert sorted(set(parts.tolist())) == [0, 1, 2]
    assert len(set(parts_by_patient(["a", "b"], 5, np.random.default_rng(1)).tolist())) == 2
