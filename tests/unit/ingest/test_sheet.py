"""Contact sheets show the right slices, the right way up, with every class outlined and every finding in words."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from medaug.core.case import Case
from medaug.core.findings import Code, finding
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.ingest.sheet import COLUMNS, SheetTitle, sheet_row, write_index, write_page
from medaug.io.thumbnails import THUMB_PIXELS

CLASSES = ("solid", "gg")


def _case(labels: np.ndarray | None, image: np.ndarray | None = None, unit: Unit = Unit.ARBITRARY) -> Case:
    shape = (20, 10, 8)
    grid = Grid(shape, np.diag([1.0, 2.0, 3.0, 1.0]))
    values = np.random.default_rng(0).normal(size=shape) if image is None else image
    volume = Volume(values[None].astype(np.float32), grid, unit, ("MR",))
    return Case("c1", "p1", volume, None if labels is None else LabelMap(labels, grid, CLASSES))


def _coloured(strip: np.ndarray) -> np.ndarray:
    return np.asarray(np.ptp(strip, axis=2) > 0)


def test_slices_with_lesions_are_shown_and_outlined() -> None:
    labels = np.zeros((20, 10, 8), np.uint8)
    labels[5:8, 3:6, 4] = 1
    row = sheet_row(_case(labels), CLASSES, ())
    assert row.strip.shape == (THUMB_PIXELS, COLUMNS * THUMB_PIXELS, 3)
    assert _coloured(row.strip[:, :THUMB_PIXELS]).any()
    assert (row.strip[:, THUMB_PIXELS:] == 255).all()
    assert row.caption[:5] == ("c1", "p1", "solid", "20 x 10 x 8 voxels", "20 x 20 x 24 mm")
    assert row.caption[-1] == "slice 5"
    assert row.words == ()


def test_every_class_gets_the_slice_that_shows_most_of_it() -> None:
    labels = np.zeros((20, 10, 8), np.uint8)
    labels[2:15, 2:8, :7] = 1
    labels[2:4, 2:4, 6] = 2
    labels[2:9, 2:4, 7] = 2
    row = sheet_row(_case(labels), CLASSES, ())
    assert row.caption[-1].startswith("slices 1, ")
    assert row.caption[-1].endswith(", 8")


def test_the_patients_right_is_on_the_left_and_front_is_up() -> None:
    image = np.zeros((20, 10, 8))
    image[15:, 8:] = 1
    strip = sheet_row(_case(None, image), CLASSES, ()).strip[2:-2, 2 : THUMB_PIXELS - 2]
    bright = np.argwhere(strip[..., 0] > 200)
    assert bright[:, 0].max() < THUMB_PIXELS / 2
    assert bright[:, 1].max() < THUMB_PIXELS / 2


def test_every_class_has_its_own_colour_and_labels_are_named() -> None:
    labels = np.zeros((20, 10, 8), np.uint8)
    labels[2:5, 2:4, 1], labels[12:15, 5:8, 1] = 1, 2
    row = sheet_row(_case(labels), CLASSES, ())
    colours = {tuple(c) for c in row.strip[_coloured(row.strip)]}
    assert len(colours) == 2
    assert "solid, gg" in row.caption
    assert "no label" in sheet_row(_case(None), CLASSES, ()).caption
    assert "no lesion" in sheet_row(_case(np.zeros((20, 10, 8), np.uint8)), CLASSES, ()).caption


def test_a_single_voxel_of_a_large_image_is_outlined() -> None:
    grid = Grid((700, 700, 1), np.eye(4))
    labels = np.zeros(grid.shape, np.uint8)
    labels[351, 413] = 1
    image = np.random.default_rng(0).normal(size=(1, *grid.shape)).astype(np.float32)
    case = Case("c", "p", Volume(image, grid, Unit.ARBITRARY, ("MR",)), LabelMap(labels, grid, CLASSES))
    assert _coloured(sheet_row(case, CLASSES, ()).strip).sum() == 4


@pytest.mark.parametrize(("tissue", "window"), [(-850.0, "lung window"), (40.0, "soft tissue window")])
def test_the_window_of_ct_follows_what_is_seen(tissue: float, window: str) -> None:
    image = np.full((20, 10, 8), -1000.0)
    image[4:16, 2:8] = tissue
    assert window in sheet_row(_case(None, image, Unit.HU), CLASSES, ()).caption


def test_findings_stand_beside_the_row_worst_first_and_in_as_many_lines_as_fit() -> None:
    few = [
        finding(Code.HOLES, "flagged", "mind the gap", "c1"),
        finding(Code.NOT_HU, "refused", "\u00e4 is no HU", "c1"),
    ]
    words = sheet_row(_case(None), CLASSES, few).words
    assert words == ("refused not-hu: ? is no HU", "flagged holes: mind the gap")
    words = sheet_row(_case(None), CLASSES, few * 20).words
    assert len(words) < 12
    assert words[-1] == "... more in inspection.json"


def test_a_page_is_a_png_with_one_row_a_case(tmp_path: Path) -> None:
    names = ("_solid", "cost $x$ \u00e9")
    rows = [sheet_row(_case(None), CLASSES, ()) for _ in range(2)]
    for count in (1, 2):
        write_page(tmp_path / f"{count}.png", rows[:count], SheetTitle("toy", 1, 1, names))
    one, two = (matplotlib.image.imread(tmp_path / f"{n}.png") for n in (1, 2))
    assert two.shape[0] - one.shape[0] == THUMB_PIXELS
    strip = (two[-THUMB_PIXELS:, 210 : 210 + COLUMNS * THUMB_PIXELS, :3] * 255).round()
    assert np.array_equal(strip, rows[1].strip)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.png", "2.png"]


def test_the_index_leafs_through_the_pages_and_needs_nothing_else(tmp_path: Path) -> None:
    write_index(tmp_path / "x.html", "a<b", ("x_01.png", "x_02.png"), ["two & more"])
    text = (tmp_path / "x.html").read_text()
    assert "a&lt;b" in text
    assert "two &amp; more" in text
    assert text.count("<img ") == 2
    assert 'href="#p2"' in text
    assert "http" not in text
    assert "<script" not in text
