"""Distances with draws: equal to the plain distance, centred, and paired between generators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.fid import FIDMetric

from medaug.core.seeding import SeedTree
from medaug.quality.distances import (
    Cloud,
    Described,
    class_distances,
    describe_all,
    frechet_distance,
    frechet_figure,
    kernel_distance,
    kernel_figure,
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


def test_the_frechet_distance_of_known_laws():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 3))
    first = rng.normal(size=(40000, 3)) * [1.0, 2.0, 0.5]
    second = rng.normal(size=(40000, 3)) * [2.0, 1.0, 0.5] + [1.0, 0.0, -1.0]
    # of laws with diagonal covariances: squared shift, and squared differences of deviations; turns change nothing
    turn = np.linalg.qr(mixing)[0]
    assert frechet_distance(first @ turn, second @ turn) == pytest.approx(2 + 1 + 1, abs=0.1)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
def test_the_frechet_distance_is_that_of_monai():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(50, 6)), rng.normal(0.4, 1.5, (30, 6))
    theirs = float(FIDMetric()(torch.from_numpy(first), torch.from_numpy(second)))
    assert frechet_distance(first, second) == pytest.approx(theirs, rel=1e-5)


def _lesions(seed: int, count: int, shift: float = 0.0) -> Cloud:
    """Features that depend on each other, as those of lesions do."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(12, 12)) * np.exp(-np.arange(12) / 4)[:, None]
    return Cloud(rng.normal(size=(count, 12)) @ mixing + shift, tuple(f"p{n // 2}" for n in range(count)))


def test_identical_laws_are_nothing_apart_within_the_interval():
    off, holds = [], []
    for seed in range(12):
        pair = _lesions(2 * seed, 40), _lesions(2 * seed + 1, 30)
        plain = frechet_distance(pair[0].features, pair[1].features)
        frechet, kernel = frechet_figure(*pair, SeedTree(seed)), kernel_figure(*pair, SeedTree(seed))
        holds += [figure.low <= 0.0 <= figure.high for figure in (frechet, kernel)]
        off.append((frechet.value, plain))
    assert np.mean(holds) > 0.9
    extrapolated, usual = np.mean(off, axis=0)
    assert abs(extrapolated) < 0.3 * usual


def test_a_shift_is_as_far_as_it_is_and_no_interval_holds_nothing():
    found = [
        frechet_figure(_lesions(2 * seed, 40, 1.0), _lesions(2 * seed + 1, 40), SeedTree(seed))
        for seed in range(8)
    ]
    assert np.mean([figure.value for figure in found]) == pytest.approx(12.0, rel=0.2)
    assert all(0.0 < figure.low <= figure.value <= figure.high for figure in found)
    assert np.mean([figure.low <= 12.0 <= figure.high for figure in found]) >= 0.75


def test_equal_seeds_give_equal_figures():
    pair = _lesions(0, 20), _lesions(1, 20)
    assert frechet_figure(*pair, SeedTree(0)) == frechet_figure(*pair, SeedTree(0))
    assert kernel_figure(*pair, SeedTree(0)) == kernel_figure(*pair, SeedTree(0))
