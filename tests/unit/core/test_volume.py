"""Volumes and label maps know their grid."""

import numpy as np
import pytest

from medaug.core.errors import GeometryError
from medaug.core.geometry import Box, Grid
from medaug.core.volume import LabelMap, Prediction, Unit, Volume

GRID = Grid((3, 4, 5), np.diag([1.0, 1.0, 2.0, 1.0]))


def test_a_volume_of_another_shape_is_refused() -> None:
    with pytest.raises(GeometryError, match="expected"):
        Volume(np.zeros((1, 3, 4, 4), np.float32), GRID, Unit.HU, ("CT",))


def test_channel_names_must_match_channels() -> None:
    with pytest.raises(GeometryError, match="channel"):
        Volume(np.zeros((2, 3, 4, 5), np.float32), GRID, Unit.HU, ("CT",))


def test_crops_of_image_and_labels_stay_on_one_grid() -> None:
    labels = np.arange(60).reshape(3, 4, 5) % 3
    volume = Volume(labels[None].astype(np.float32), GRID, Unit.HU, ("CT",))
    box = Box((1, -1, 0), (4, 2, 5))
    image, label_map = volume.crop(box), LabelMap(labels, GRID, ("a", "b")).crop(box)
    assert image.grid.agrees_with(label_map.grid)
    inside = np.s_[0:2, 1:3, :]
    assert np.array_equal(image.image[0][inside], label_map.labels[inside])
    assert not label_map.labels[2:].any()
    assert not label_map.labels[:, 0].any()


def test_mask_of_a_class() -> None:
    labels = np.zeros((3, 4, 5), int)
    labels[0, 0, 0] = 2
    assert LabelMap(labels, GRID, ("a", "b")).mask("b").sum() == 1


def test_confidence_must_lie_on_the_grid_of_the_labels() -> None:
    label_map = LabelMap(np.zeros((3, 4, 5), int), GRID, ("a",))
    with pytest.raises(GeometryError, match="confidence"):
        Prediction(label_map, np.zeros((3, 4, 4), np.float32))
