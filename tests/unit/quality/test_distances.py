"""Distances with draws: equal to the plain distance, centred, and paired between generators."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.seeding import SeedTree
from medaug.quality.distances import (
    Described,
    class_distances,
    describe_all,
    kernel_distance,
    weighted_distance,
)


def _described(number: int, count: int, shift: float = 0.0, classes: int = 2) -> Described:
    rng = np.random.default_rng(number)
    owners = tuple(f"p{n}" for n in range(count))
    return Described(rng.normal(shift, 1.0, (count, 5)), np.arange(count) % classes, owners)


def test_equal_weights_give_the_kernel_distance():
    first, second = (np.random.default_rng(n).normal(size=(7 + n, 4)) for n in range(2))
    found = weighted_distance(first, second, (np.ones((1, 7)), np.ones((1, 8))))
    assert found[0] == pytest.approx(kernel_distance(first, second))


def test_a_lesion_drawn_twice_is_no_pair_with_itself():
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    weights = np.array([[2.0, 1.0, 0.0]])
    found = weighted_distance(first, second, (weights, np.ones((1, 5))))[0]

    def k(a, b):
        return (a @ b / 4 + 1) ** 3

    own = k(first[0], first[1])  # the only pair of different lesions that was drawn
    other = sum(k(a, b) for n, a in enumerate(second) for m, b in enumerate(second) if n != m) / 20
    between = sum(w * k(a, b) for w, a in zip(weights[0], first, strict=True) for b in second) / 15
    assert found == pytest.approx(own + other - 2 * between)


def test_the_mean_is_over_classes_and_small_classes_are_left_out():
    made, real = _described(0, 40), _described(1, 40)
    found = class_distances(made, real, SeedTree(0), 20)
    parts = [
        kernel_distance(made.features[made.class_index == c], real.features[real.class_index == c])
        for c in (0, 1)
    ]
    assert found.value == pytest.approx(np.mean(parts))
    assert found.by_class == pytest.approx(parts)
    few = Described(made.features[:8], np.zeros(8, dtype=int), made.patients[:8])
    assert len(class_distances(few, real, SeedTree(0), 5).by_class) == 1
    none = Described(made.features[:4], made.class_index[:4], made.patients[:4])
    assert np.isnan(class_distances(none, real, SeedTree(0), 5).value)


def test_the_nearer_generator_is_told_apart_by_paired_draws():
    real = _described(1, 80)
    near, far = (class_distances(_described(2, 80, s), real, SeedTree(0), 100) for s in (0.1, 1.0))
    difference = near.minus(far)
    assert difference.high < 0
    assert difference.value == pytest.approx(near.value - far.value)
    unpaired = near.estimate().high - near.estimate().low + far.estimate().high - far.estimate().low
    assert difference.high - difference.low < unpaired


def test_sets_are_standardised_on_the_reference():
    one, other = describe_all([_described(0, 30, 3.0), _described(1, 30, 5.0)], _described(0, 30, 3.0))
    assert one.features.mean() == pytest.approx(0.0, abs=1e-9)
    assert other.features.mean() > 1.0


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
