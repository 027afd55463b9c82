from __future__ import annotations

import numpy as np

from medaug.translators._super_resolution.labels import blended_labels, nearest_labels

POSITIONS = (np.arange(12) + 0.5) / 4 - 0.5  # three thick slices, four thin ones each


def test_nearest_repeats_each_slice() -> None:
    labels = np.arange(3, dtype=np.uint8)[None, None]
    np.testing.assert_array_equal(nearest_labels(labels, POSITIONS)[0, 0], np.repeat([0, 1, 2], 4))


def test_a_pillar_stays_a_pillar() -> None:
    labels = np.zeros((10, 10, 3), np.uint8)
    labels[3:7, 2:6] = 2
    made = blended_labels(labels, POSITIONS, (1.0, 1.0))
    np.testing.assert_array_equal(made, np.repeat(labels[..., :1], 12, axis=2))
    assert made.dtype == np.uint8


def test_a_cone_narrows_between_its_slices() -> None:
    i, j = np.indices((21, 21))
    away = np.hypot(i - 10, j - 10)
    labels = np.stack([away < 9, away < 5, away < 1.5], axis=-1).astype(np.uint8)
    areas = blended_labels(labels, POSITIONS, (1.0, 1.0)).sum(axis=(0, 1))
    assert (np.diff(areas.astype(int)) <= 0).all()
    assert (away < 5).sum() < areas[4] < (away < 9).sum()
    assert len(set(areas)) > 6


def test_a_lesion_on_one_slice_alone_is_kept_with_its_volume_beside_another_that_goes_on() -> None:
    labels = np.zeros((16, 16, 3), np.uint8)
    labels[2, 2, 1] = 1
    labels[9:13, 9:13] = 1
    made = blended_labels(labels, POSITIONS, (1.0, 1.0))
    np.testing.assert_array_equal(made[2, 2], np.repeat([0, 1, 0], 4))
    assert made[9:13, 9:13].all()


def test_no_gap_opens_between_classes_that_touch() -> None:
    labels = np.zeros((16, 8, 3), np.uint8)
    for k, edge in enumerate((4, 8, 12)):
        labels[2:edge, 1:7, k] = 1
        labels[edge:14, 1:7, k] = 2
    made = blended_labels(labels, POSITIONS, (1.0, 1.0))
    assert (made[2:14, 1:7] > 0).all()
    assert not made[:2].any()
    edges = (made[:, 3] == 1).sum(axis=0)
    assert (np.diff(edges.astype(int)) >= 0).all()
    assert edges[0] < edges[5] < edges[11]


def test_nothing_stays_nothing() -> None:
    assert not blended_labels(np.zeros((4, 4, 3), np.int16), POSITIONS, (1.0, 2.0)).any()
