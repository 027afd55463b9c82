"""Contact sheets show the right slices, the right way up, with every class outlined."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np

from medaug.core.case import Case
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.ingest.sheet import COLUMNS, THUMB_PIXELS, sheet_row, write_sheet

CLASSES = ("solid", "gg")


def _case(labels: np.ndarray | None, image: np.ndarray | None = None) -> Case:
    shape = (20, 10, 8)
    grid = Grid(shape, np.diag([1.0, 2.0, 3.0, 1.0]))
    values = np.random.default_rng(0).normal(size=shape) if image is None else image
    volume = Volume(values[None].astype(np.float32), grid, Unit.ARBITRARY, ("MR",))
    return Case("c1", "p1", volume, None if labels is None else LabelMap(labels, grid, CLASSES))


def _coloured(strip: np.ndarray) -> np.ndarray:
    return np.asarray(np.ptp(strip, axis=2) > 0)


def test_slices_with_lesions_are_shown_and_outlined() -> None:
    labels = np.zeros((20, 10, 8), np.uint8)
    labels[5:8, 3:6, 4] = 1
    row = sheet_row(_case(labels), CLASSES)
    assert row.strip.shape == (THUMB_PIXELS, COLUMNS * THUMB_PIXELS, 3)
    assert _coloured(row.strip[:, :THUMB_PIXELS]).any()
    assert (row.strip[:, THUMB_PIXELS:] == 1).all()
    assert row.caption == "c1\np1\nsolid\n20 x 10 x 8"


def test_the_patients_right_is_on_the_left_and_front_is_up() -> None:
    image = np.zeros((20, 10, 8))
    image[15:, 8:] = 1
    strip = sheet_row(_case(None, image), CLASSES).strip[:, :THUMB_PIXELS]
    bright = np.argwhere(strip[..., 0] > 0.5)
    assert bright[:, 0].max() < THUMB_PIXELS / 2
    assert bright[:, 1].max() < THUMB_PIXELS / 2


def test_every_class_has_its_own_colour_and_labels_are_named() -> None:
    labels = np.zeros((20, 10, 8), np.uint8)
    labels[2:5, 2:4, 1], labels[12:15, 5:8, 1] = 1, 2
    row = sheet_row(_case(labels), CLASSES)
    colours = {tuple(c) for c in row.strip[_coloured(row.strip)].round(2)}
    assert len(colours) == 2
    assert "solid, gg" in row.caption
    assert "no label" in sheet_row(_case(None), CLASSES).caption
    assert "no lesion" in sheet_row(_case(np.zeros((20, 10, 8), np.uint8)), CLASSES).caption


def test_the_sheet_is_a_png_with_one_row_a_case(tmp_path: Path) -> None:
    rows = [sheet_row(_case(None), CLASSES) for _ in range(2)]
    for count in (1, 2):
        write_sheet(tmp_path / f"{count}.png", rows[:count], CLASSES, "toy")
    one, two = (matplotlib.image.imread(tmp_path / f"{n}.png") for n in (1, 2))
    assert abs((two.shape[0] - one.shape[0]) - THUMB_PIXELS) <= 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.png", "2.png"]
