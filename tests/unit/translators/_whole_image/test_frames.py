"""Whole cases on the network's grid keep their place, their labels and their proportions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.core.geometry import Grid
from medaug.translators._whole_image.frames import Frame, LabelTable, grain_of, one_hot

GRID = Grid((96, 64, 5), np.diag([0.5, 0.5, 3.0, 1.0]))


def test_larger_scans_shrink_without_distortion() -> None:
    frame = Frame.of(GRID, (48, 48))
    assert frame.grid.shape == (48, 32, 5)
    assert frame.grid.spacing_mm == pytest.approx((1.0, 1.0, 3.0))
    np.testing.assert_allclose(frame.grid.to_mm((0, 0, 0)), GRID.to_mm((0.5, 0.5, 0)))


def test_small_scans_stay_as_they_are() -> None:
    frame = Frame.of(GRID, (96, 96))
    image = np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32)
    np.testing.assert_array_equal(frame.image(image), image)
    assert frame.grid.agrees_with(GRID)


def test_volumes_get_the_wanted_number_of_slices() -> None:
    frame = Frame.of(GRID, (48, 48, 8))
    assert frame.grid.shape == (48, 32, 8)
    assert frame.grid.spacing_mm[2] == pytest.approx(15 / 8)
    ramp = np.broadcast_to(np.arange(5, dtype=np.float32), (1, *GRID.shape))
    drawn = frame.image(np.ascontiguousarray(ramp))
    assert (np.diff(drawn[0, 3, 3]) >= 0).all()
    labels = frame.labels(np.broadcast_to(np.arange(5), GRID.shape).astype(np.uint8))
    assert labels[0, 0].tolist() == [0, 0, 1, 2, 2, 3, 4, 4]


def test_image_and_labels_shrink_to_the_same_place() -> None:
    frame = Frame.of(GRID, (48, 48))
    labels = np.zeros(GRID.shape, np.uint8)
    labels[40:60, 20:44, 2] = 1
    image = frame.image(labels[None].astype(np.float32))
    np.testing.assert_array_equal(frame.labels(labels) == 1, image[0] > 0.5)


def test_padding_is_undone() -> None:
    frame = Frame.of(GRID, (48, 48))
    array = np.random.default_rng(0).normal(size=(2, *frame.grid.shape))
    padded = frame.padded(array, outside=-1.0)
    assert padded.shape == (2, 48, 48, 5)
    np.testing.assert_array_equal(frame.cut(padded), array)


def test_labels_of_the_class_table_come_after_the_tissues() -> None:
    table = LabelTable(3, ("liver", "tumour"), ("liver",))
    assert (table.planes, table.lesions, table.number("tumour")) == (6, ("tumour",), 5)
    layout = np.array([[[0, 1, 3, 4, 5]]], np.uint8)
    assert table.class_labels(layout).tolist() == [[[0, 0, 0, 1, 2]]]
    assert table.hides(np.array([[[0, 1, 2]]])).tolist() == [[[False, False, True]]]


def test_one_hot_and_grain() -> None:
    layouts = torch.randint(0, 4, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    maps = one_hot(layouts, 4)
    assert maps.shape == (2, 4, 16, 16)
    assert torch.equal(maps.argmax(dim=1), layouts)
    noise = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    quiet, loud = (grain_of(noise * s, layouts[:1].clamp(min=1)) for s in (0.1, 0.2))
    assert float(loud - quiet) == pytest.approx(np.log(2), abs=0.02)
