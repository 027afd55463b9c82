"""The sheet that shows what each step does to a case."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from medaug.core.intensity import IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.engine.warp import Resampling
from medaug.io.thumbnails import COLOURS, THUMB_PIXELS
from medaug.report.augmentations import MAGNITUDES, Preview, write_preview
from medaug.transforms import Brightness, Flip, LowDoseNoise, Rotate
from tests.small_cases import chest, head, labels_of

HOW = Resampling()


def preview(case, dims=3):
    return Preview(case, dims, SeedTree(0))


def test_the_slice_with_most_of_the_label_is_shown():
    case = chest(0)
    areas = np.count_nonzero(labels_of(case), axis=(0, 1))
    assert preview(case).slice == int(np.argmax(areas))
    assert preview(case).window == "lung window"
    assert preview(replace(case, label_map=None)).slice == case.volume.grid.shape[2] // 2


@pytest.mark.parametrize("dims", [2, 3])
def test_a_row_is_before_after_and_the_change(dims):
    row = preview(chest(0), dims).row(Rotate, HOW)
    assert len(row.pictures) == len(row.captions) == len(MAGNITUDES) + 2
    assert {picture.shape for picture in row.pictures} == {(THUMB_PIXELS, THUMB_PIXELS, 3)}
    assert row.name == "rotate"
    assert row.meaning.startswith("Turn about the middle")
    assert row.captions[0] == "before"
    assert row.captions[-2].startswith("1: ")
    assert "deg about K" in row.captions[-2]
    different = [np.abs(row.pictures[0].astype(float) - picture).mean() for picture in row.pictures[1:-1]]
    assert 0 < different[0] < different[1] < different[2]
    outline = np.round(255 * np.array(COLOURS[0]))
    for picture in row.pictures[:-1]:
        assert (picture == outline).all(axis=2).any()
    assert not (row.pictures[-1] == outline).all(axis=2).any()


def test_the_grid_is_straight_where_nothing_bends():
    grid = preview(chest(0)).row(Flip, HOW).pictures[-1][..., 0] > 127
    inside = grid[4:-4, 22:-22]
    lines = inside.mean(axis=0) > 0.9
    assert 5 <= np.count_nonzero(np.diff(lines.astype(int)) == 1) <= 11
    assert (inside.mean(axis=1) > 0.9).any()


def test_the_change_of_a_grey_step_is_told_in_native_units():
    row = preview(chest(0)).row(Brightness, HOW)
    words = row.captions[-1].split()
    assert words[:4] == ["change", "at", "1:", "black"]
    assert words[-1] == "HU"
    assert 0 < abs(float(words[-2])) <= 30
    noise = preview(chest(0)).row(LowDoseNoise, HOW)
    middle = noise.pictures[-1][60:120, 60:120].astype(float)
    assert middle.mean() == pytest.approx(127.5, abs=4)
    assert middle.std() > 20


def test_grey_values_are_scaled_as_in_the_whole_case():
    """One slice of one channel is drawn; what a normalised unit is follows from all slices."""
    case = head(1)
    image = case.volume.image.copy()
    image[..., 0] *= 20
    volume = replace(case.volume, image=image)
    factor = IntensityScheme.for_volume(volume).case_scale(volume).factor[0]
    row = Preview(replace(case, volume=volume), 2, SeedTree(0)).row(Brightness, HOW)
    shift, change = float(row.captions[3].split()[-1]), float(row.captions[-1].split()[-2])
    assert change == pytest.approx(abs(shift) * factor, rel=0.05)


def test_the_sheet_is_a_picture(tmp_path):
    one = preview(chest(0))
    rows = [one.row(kind, HOW) for kind in (Flip, Brightness)]
    write_preview(tmp_path / "sheet.png", rows, "case $1: a title that is no formula$")
    seen = matplotlib.image.imread(tmp_path / "sheet.png")
    assert seen.shape[0] > 2 * THUMB_PIXELS
    assert seen.shape[1] > 5 * THUMB_PIXELS
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    # pictures are pasted pixel by pixel
    strip = np.concatenate(rows[0].pictures, axis=1)
    shown = np.round(seen[..., :3] * 255).astype(np.uint8)
    rows_of = [r for r in range(200) if np.array_equal(shown[r, 240 : 240 + strip.shape[1]], strip[2])]
    assert rows_of
