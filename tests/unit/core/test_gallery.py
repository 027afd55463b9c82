"""Tiles survive the file, and show the lesion the way radiologists look at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import Case
from medaug.core.errors import GeometryError, UnreadableError
from medaug.core.gallery import TileFacts, cut_tile, read_tiles, write_tiles
from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume

FACTS = TileFacts("test", "real", "c1", "solid", 8, 0.5)


def case(shape: tuple[int, int, int]) -> Case:
    image = np.arange(np.prod(shape), dtype=np.float32).reshape((1, *shape))
    return Case("c1", "p1", Volume(image, Grid(shape, np.eye(4)), Unit.HU, ("CT",)), None)


def test_the_slice_is_the_one_with_most_lesion_and_turned_to_radiological_view() -> None:
    mask = np.zeros((60, 50, 3), dtype=bool)
    mask[0, 0, 0] = True
    mask[57:59, 2:5, 2] = True  # far right of the patient, posterior
    tile = cut_tile(case((60, 50, 3)), FACTS, mask)
    assert tile.image.shape == (48, 48)
    assert tile.reference.sum() == 6
    rows, columns = np.nonzero(tile.reference)
    assert columns.max() < 24, "the patient's right is on the left"
    assert rows.min() > 24, "posterior is at the bottom"
    assert tile.prediction.sum() == 0


def test_tiles_survive_the_file(tmp_path: Path) -> None:
    mask = np.zeros((20, 20, 1), dtype=bool)
    mask[4:9, 4:9] = True
    tile = cut_tile(case((20, 20, 1)), FACTS, mask, np.roll(mask, 2, axis=0))
    write_tiles(tmp_path / "gallery.npz", [tile])
    (back,) = read_tiles(tmp_path / "gallery.npz")
    assert back.facts == FACTS
    for name in ("image", "reference", "prediction"):
        assert np.array_equal(getattr(back, name), getattr(tile, name))


def test_no_tiles_is_a_gallery_too(tmp_path: Path) -> None:
    write_tiles(tmp_path / "gallery.npz", [])
    assert read_tiles(tmp_path / "gallery.npz") == ()


def test_an_empty_reference_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(GeometryError):
        cut_tile(case((20, 20, 1)), FACTS, np.zeros((20, 20, 1), dtype=bool))
    (tmp_path / "gallery.npz").write_bytes(b"PK no zip")
    with pytest.raises(UnreadableError, match=r"gallery\.npz"):
        read_tiles(tmp_path / "gallery.npz")
