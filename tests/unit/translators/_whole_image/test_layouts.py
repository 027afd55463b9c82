"""Made label maps are far from the one they began as, and hold the lesion that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.core.geometry import Grid
from medaug.translators._whole_image.frames import LabelTable, Scene
from medaug.translators._whole_image.layouts import LesionStatistics, StatisticsGatherer, add_lesion, bend
from medaug.translators._whole_image.settings import LayoutSettings

TABLE = LabelTable(2, ("solid", "faint"), ())
GRID = Grid((64, 64, 3), np.diag([1.0, 1.0, 2.0, 1.0]))
STILL = LayoutSettings(rotation_deg=0, scale=0, shift=0, elastic_voxels=0, flip=False)


def lung() -> np.ndarray:
    """A body with one lung in the middle."""
    i, j, _ = np.indices(GRID.shape)
    labels = np.full(GRID.shape, 2, np.uint8)
    labels[((i - 28) / 20) ** 2 + ((j - 32) / 24) ** 2 < 1] = 1
    labels[:4] = 0
    return labels


def usual(diameter_mm: float = 8.0) -> LesionStatistics:
    rings = np.array([0.0, 0.95, 0.05, 0.0, 0.0])
    return LesionStatistics("faint", np.full(5, diameter_mm), np.full((5, 3), 0.45), rings)


def test_no_change_asked_none_made() -> None:
    np.testing.assert_array_equal(bend(lung(), STILL, np.random.default_rng(0)), lung())


def test_bending_moves_edges_and_keeps_the_labels() -> None:
    before, after = lung(), bend(lung(), LayoutSettings(), np.random.default_rng(0))
    assert set(np.unique(after)) <= {0, 1, 2}
    assert 0.05 < (before != after).mean() < 0.6
    np.testing.assert_array_equal(after[..., 0], after[..., 2])
    assert not np.array_equal(after, bend(lung(), LayoutSettings(), np.random.default_rng(1)))


def test_lesion_has_class_size_and_tissue() -> None:
    areas = []
    for seed in range(12):
        layout = add_lesion(lung(), GRID, usual(), TABLE, LayoutSettings(), np.random.default_rng(seed))
        lesion = layout.labels == TABLE.number("faint")
        assert (lung()[lesion] == 1).mean() >= 0.6
        assert lesion[layout.site]
        np.testing.assert_array_equal(layout.labels[~lesion], lung()[~lesion])
        areas.append(int(lesion.sum(axis=(0, 1)).max()))
    assert 2 * np.sqrt(np.mean(areas) / np.pi) == pytest.approx(8.0, rel=0.2)


def test_no_room_names_what_is_missing() -> None:
    with pytest.raises(DataError, match="no place for a faint lesion"):
        add_lesion(lung(), GRID, usual(90.0), TABLE, LayoutSettings(), np.random.default_rng(0))
    with pytest.raises(DataError, match="no tissue for a faint lesion"):
        add_lesion(
            np.full(GRID.shape, 2, np.uint8), GRID, usual(), TABLE, LayoutSettings(), np.random.default_rng(0)
        )


def test_laws_are_measured_on_scenes() -> None:
    layout = lung()
    layout[20:28, 30:38, 1] = TABLE.number("solid")
    layout[30:34, 30:34, 1] = TABLE.number("faint")
    gatherer = StatisticsGatherer(TABLE)
    gatherer.add(Scene(layout, np.zeros((1, *GRID.shape), np.float32), GRID))
    solid, faint = gatherer.statistics()
    assert solid.diameters_mm == pytest.approx([np.sqrt(4 * 64 / np.pi)])
    assert solid.places[0] == pytest.approx([24 / 64, 34 / 64, 0.5])
    assert faint.rings[1] == pytest.approx(1.0)


def test_class_without_lesion_is_named() -> None:
    with pytest.raises(DataError, match="class solid"):
        StatisticsGatherer(TABLE).statistics()
