"""Distances are near zero for one distribution and grow with the difference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.quality.realism import class_quality, diversity, kernel_distance, real_floor
from tests.unit.quality.textured import lesion


def test_kernel_distance_is_unbiased_and_sees_a_shift():
    rng = np.random.default_rng(0)
    same = [kernel_distance(rng.normal(size=(20, 6)), rng.normal(size=(20, 6))) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    shifted = kernel_distance(rng.normal(size=(40, 6)), rng.normal(1.0, 1.0, (40, 6)))
    assert shifted > max(same)


def test_kernel_distance_is_the_textbook_sum():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    own = sum(k(a, b) for n, a in enumerate(x) for m, b in enumerate(x) if n != m) / 12
    other = sum(k(a, b) for n, a in enumerate(y) for m, b in enumerate(y) if n != m) / 20
    between = sum(k(a, b) for a in x for b in y) / 20
    assert kernel_distance(x, y) == pytest.approx(own + other - 2 * between)


def test_floor_keeps_patients_together():
    rng = np.random.default_rng(2)
    one_patient = ["p"] * 20
    assert real_floor(rng.normal(size=(20, 3)), one_patient, rng) is None
    assert real_floor(rng.normal(size=(20, 3)), [f"p{n}" for n in range(20)], rng) is not None


def test_diversity_is_zero_for_one_lesion_repeated():
    samples = [lesion(n) for n in range(4)]
    assert diversity([samples[0]] * 5) == pytest.approx(0.0, abs=1e-6)
    varied = diversity(samples)
    assert varied is not None
    assert varied > 0.05
    assert diversity(samples[:1]) is None


def test_few_lesions_have_no_distance():
    real = [lesion(n) for n in range(12)]
    few = class_quality("solid", real[:4], real[:6], real[6:], np.random.default_rng(0))
    assert (few.n_synthetic, few.n_real, few.feature_distance) == (4, 6, None)
    assert few.real_floor is not None
    none = class_quality("ground_glass", real[:4], real[:6], real[6:], np.random.default_rng(0))
    assert (none.n_synthetic, none.real_floor, none.diversity) == (0, None, None)


def test_shifted_lesions_are_far_from_real_ones():
    real = [lesion(n) for n in range(20)]
    made = [replace(s, figures=s.figures + 3.0) for s in real[:8]]
    quality = class_quality("solid", made, real[:10], real[10:], np.random.default_rng(0))
    assert quality.feature_distance is not None
    assert quality.real_floor is not None
    assert quality.feature_distance > 10 * abs(quality.real_floor)
