"""Checks of label maps: one planted fault each, and none on a clean lesion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaug.core.findings import Finding
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.ingest._battery import labels as checks

SHAPE = (32, 32, 10)
CLASSES = ("solid", "other")


def _image(unit: Unit = Unit.HU) -> np.ndarray:
    """A body with air around it and a dark lung inside."""
    air, tissue, lung = (-1000.0, 40.0, -880.0) if unit is Unit.HU else (5.0, 400.0, 60.0)
    image = np.full(SHAPE, air, dtype=np.float32)
    image[6:28, 6:28] = tissue
    image[12:22, 12:22] = lung
    return image + np.random.default_rng(0).normal(0, 2, SHAPE).astype(np.float32)


def _lesion() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[14:19, 14:19, 3:6] = 1
    return labels


def _findings(labels: np.ndarray, image: np.ndarray, unit: Unit = Unit.HU, mm: float = 1.0) -> list[Finding]:
    grid = Grid((labels.shape[0], labels.shape[1], labels.shape[2]), np.diag([mm, mm, mm, 1.0]))
    volume = Volume(image[None], grid, unit, ("image",))
    found = checks.check_labels(volume, LabelMap(labels, grid, CLASSES), "c")
    return [one for one in found if one is not None]


@pytest.mark.parametrize("unit", [Unit.HU, Unit.ARBITRARY])
def test_a_lesion_in_the_body_or_in_its_lung_is_fine(unit: Unit) -> None:
    assert _findings(_lesion(), _image(unit), unit) == []
    assert _findings(np.roll(_lesion(), 7, axis=0), _image(unit), unit) == []


def test_a_crop_through_the_lung_has_no_air_around() -> None:
    part = (slice(13, 21), slice(13, 21))
    assert _findings(_lesion()[part], _image()[part]) == []


@given(st.integers(-5, 5), st.integers(-5, 5), st.integers(-2, 3))
def test_a_block_is_fine_wherever_in_the_body_it_is(i: int, j: int, k: int) -> None:
    assert _findings(np.roll(_lesion(), (i, j, k), axis=(0, 1, 2)), _image()) == []


def _speck() -> np.ndarray:
    labels = _lesion()
    labels[9, 9, 7] = 1
    return labels


def _holed() -> np.ndarray:
    labels = _lesion()
    labels[16, 16, 4] = 0
    return labels


def _single() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[16, 16, 4:6] = 2
    return labels


@pytest.mark.parametrize(
    ("labels", "code", "words"),
    [
        (_speck(), "tiny-islands", "1 of 2 parts of solid"),
        (_holed(), "holes", "enclose 1 voxel of no class"),
        (_single(), "tiny-lesion", "all of other is 2 voxels, 2 mm3"),
        (np.roll(_lesion(), 4, axis=2), "lesion-at-border", "(highest slice)"),
    ],
)
def test_each_fault_has_its_code(labels: np.ndarray, code: str, words: str) -> None:
    (found,) = _findings(labels, _image())
    assert (found.code, found.severity, found.case_id) == (code, "flagged", "c")
    assert words in found.message


def test_sides_are_named_as_the_patient_has_them() -> None:
    image = np.zeros((32, 32, 10), np.float32)
    corner = np.zeros(SHAPE, np.uint8)
    corner[:5, -5:, :5] = 1
    found = {one.code: one.message for one in _findings(corner, image)}
    assert "(left, front, lowest slice)" in found["lesion-at-border"]


def test_small_in_mm_is_tiny_too_but_only_where_mm_are_known() -> None:
    assert [one.code for one in _findings(_lesion(), _image(), mm=0.3)] == ["tiny-lesion"]
    grid = Grid(SHAPE, np.diag([0.3, 0.3, 0.3, 1.0]))
    volume = Volume(_image()[None], grid, Unit.HU, ("image",), spacing_known=False)
    assert list(filter(None, checks.check_labels(volume, LabelMap(_lesion(), grid, CLASSES), "c"))) == []


def test_another_class_inside_is_no_hole() -> None:
    labels = _holed()
    labels[16, 16, 4] = 2
    assert [one.code for one in _findings(labels, _image())] == ["tiny-lesion"]


def test_one_slice_is_looked_at_in_plane() -> None:
    labels = _holed()[:, :, 4:5]
    assert [one.code for one in _findings(labels, _image()[:, :, 4:5])] == ["holes"]


@pytest.mark.parametrize("unit", [Unit.HU, Unit.ARBITRARY])
def test_a_lesion_in_the_air_is_severe_and_one_of_several_is_flagged(unit: Unit) -> None:
    away = np.roll(_lesion(), -13, axis=0)
    (found,) = _findings(away, _image(unit), unit)
    assert (found.code, found.severity) == ("label-outside-body", "refused")
    few = _lesion()
    few[1:4, 1:4, 4] = 1
    (found,) = _findings(few, _image(unit), unit)
    assert (found.code, found.severity) == ("label-outside-body", "flagged")
    assert "1 of 2 lesions of solid" in found.message


def test_ids_that_occur() -> None:
    assert checks.ids_present(np.array([[0, 3], [3, 1]], np.uint8)) == (0, 1, 3)
