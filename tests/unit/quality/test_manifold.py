"""Precision, recall, density and coverage: by hand, against what they are to tell, and how often intervals are right."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.seeding import SeedTree
from medaug.quality import resampling
from medaug.quality.distances import Cloud
from medaug.quality.manifold import manifold_figures, neighbour_figures


def cloud(seed: int, count: int, *, shift: float = 0.0, spread: float = 1.0) -> Cloud:
    """Lesions in six dimensions, one to three a patient, those of a patient alike."""
    rng = np.random.default_rng(seed)
    owners = np.sort(rng.integers(0, max(4, count // 2), count))
    centres = rng.normal(0.0, 0.6, (count, 6))
    features = spread * (centres[owners] + rng.normal(0.0, 0.8, (count, 6))) + shift
    return Cloud(features, tuple(f"p{n}" for n in owners))


def squared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(np.square(first[:, None] - second[None]).sum(axis=2))


def test_figures_by_hand():
    real = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]])
    made = np.array([[0.5], [0.6], [0.7], [0.8], [50.0]])
    within = squared(made, made), squared(real, real)
    precision, recall, density, coverage = neighbour_figures(within, squared(made, real), (1, 2))
    assert precision == pytest.approx(4 / 5)  # 50 lies nowhere near
    # a made one's nearest is 0.1 away, only that of 50 is 49.2: it reaches 0.8 and above
    assert recall == pytest.approx(4 / 5)
    # second neighbours: 2, 1, 1, 2, 8; those of 0 and 1 hold four, of 2 none, of 3 none (2.2), of 10 none
    assert density == pytest.approx(8 / (2 * 5))
    assert coverage == pytest.approx(2 / 5)


def test_too_few_for_neighbours_is_no_figure():
    few = np.zeros((5, 1))
    within = squared(few, few)
    assert np.isnan(neighbour_figures((within, within), within)).all()


def test_a_collapsed_set_loses_recall_and_coverage_but_not_precision():
    real, training = cloud(0, 60), cloud(1, 60)
    rng = np.random.default_rng(2)
    inner = training.features[np.argsort(np.square(training.features).sum(axis=1))[:2]]
    collapsed = np.repeat(inner, 30, axis=0) + rng.normal(0.0, 0.01, (60, 6))
    found = manifold_figures(Cloud(collapsed, training.patients), real, 60, SeedTree(0))
    floor = manifold_figures(training, real, 60, SeedTree(0))
    assert found.precision.value >= floor.precision.value
    assert found.recall.high < floor.recall.low
    assert found.coverage.high < floor.coverage.low


def test_odd_lesions_lose_precision_but_not_recall():
    real, training = cloud(3, 60), cloud(4, 60)
    features = training.features.copy()
    features[::2] += 8.0
    found = manifold_figures(Cloud(features, training.patients), real, 60, SeedTree(0))
    floor = manifold_figures(training, real, 60, SeedTree(0))
    assert found.precision.value == pytest.approx(floor.precision.value / 2, abs=0.1)
    assert found.precision.high < floor.precision.low
    assert found.density.value < 0.6 * floor.density.value
    assert found.recall.high > floor.recall.low


def test_a_larger_set_is_thinned_to_the_size_asked_for():
    real, made = cloud(5, 30), cloud(6, 200)
    thinned = manifold_figures(made, real, 30, SeedTree(0))
    same_size = [manifold_figures(cloud(n, 30), real, 30, SeedTree(0)).recall.value for n in range(7, 12)]
    assert thinned.recall.value == pytest.approx(float(np.mean(same_size)), abs=0.12)
    assert manifold_figures(made, real, 200, SeedTree(0)).coverage.value > thinned.coverage.value


# with few lesions the interval of a coverage near 1 is far too wide, but not wrong
@pytest.mark.parametrize(("count", "shift", "spread", "widest"), [(14, 0.0, 1.0, 16.0), (40, 0.6, 0.7, 6.0)])
def test_intervals_hold_what_the_figure_is_on_average(monkeypatch, count, shift, spread, widest):
    monkeypatch.setattr(resampling, "HALVES", 60)
    values, ends = [], []
    for number in range(40):
        made = cloud(2 * number, 40, shift=shift, spread=spread)
        found = manifold_figures(made, cloud(2 * number + 1, count), count, SeedTree(number))
        figures = (found.precision, found.recall, found.density, found.coverage)
        values.append([figure.value for figure in figures])
        ends.append([(figure.low, figure.high) for figure in figures])
    truth, low, high = np.mean(values, axis=0), *np.moveaxis(np.array(ends), 2, 0)
    holds = ((low <= truth) & (truth <= high)).mean(axis=0)
    assert (holds >= 0.85).all(), holds
    assert ((high - low).mean(axis=0) < widest * np.std(values, axis=0)).all()
