"""Heads are told from chests, crops and brains by their voxels alone."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.privacy.heads import Sight, look_for_head

AIR, FAT, BRAIN, BONE, LUNG = -1000.0, -100.0, 35.0, 900.0, -850.0


def ellipse(shape: tuple[int, int], half_mm: tuple[float, float], mm: float) -> np.ndarray:
    x, y = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    return np.asarray(np.hypot(x * mm / half_mm[0], y * mm / half_mm[1]) < 1)


def volume(plane: np.ndarray, mm: float, *, hu: bool, known: bool = True, slices: int = 8) -> Volume:
    image = np.repeat(plane[..., None], slices, axis=2).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 3, image.shape).astype(np.float32)
    grid = Grid(image.shape, np.diag([mm, mm, 5.0, 1.0]))
    unit = Unit.HU if hu else Unit.ARBITRARY
    return Volume((image + noise)[None], grid, unit, ("x",), known)


def head_ct(mm: float = 2.0, shape: tuple[int, int] = (128, 128)) -> np.ndarray:
    plane = np.full(shape, AIR)
    plane[ellipse(shape, (80, 100), mm)] = FAT
    plane[ellipse(shape, (74, 94), mm)] = BONE
    plane[ellipse(shape, (66, 86), mm)] = BRAIN
    return plane


def chest_ct(mm: float = 3.0, shape: tuple[int, int] = (128, 128), half: float = 170.0) -> np.ndarray:
    plane = np.full(shape, AIR)
    plane[ellipse(shape, (half, 0.65 * half), mm)] = BRAIN
    for side in (-1, 1):
        lung = np.roll(ellipse(shape, (0.35 * half, 0.45 * half), mm), round(side * 0.45 * half / mm), axis=0)
        plane[lung] = LUNG
    return plane


def test_head_ct_is_told_by_its_skull() -> None:
    assert look_for_head(volume(head_ct(), 2.0, hu=True)) == "head CT"
    assert look_for_head(volume(head_ct(), 2.0, hu=True, known=False)) == "head CT"
    assert look_for_head(volume(head_ct(), 2.0, hu=True, slices=1)) == "head CT"


def test_head_ct_whose_skull_is_not_in_view_is_told_by_its_size() -> None:
    plane = head_ct()
    plane[plane == BONE] = BRAIN
    assert look_for_head(volume(plane, 2.0, hu=True)) == "maybe a head"


@pytest.mark.parametrize("half", [170.0, 95.0])
def test_chest_is_no_head_however_small(half: float) -> None:
    assert look_for_head(volume(chest_ct(half=half), 3.0, hu=True)) == "no head"


def test_pelvis_with_a_ring_of_bone_is_no_head() -> None:
    plane = np.full((128, 128), AIR)
    plane[ellipse(plane.shape, (170, 110), 3.0)] = FAT
    plane[ellipse(plane.shape, (120, 80), 3.0)] = BONE
    plane[ellipse(plane.shape, (105, 65), 3.0)] = FAT
    plane[ellipse(plane.shape, (50, 40), 3.0)] = BRAIN
    assert look_for_head(volume(plane, 3.0, hu=True)) == "no head"


@pytest.mark.parametrize(
    ("half", "mm", "known", "sight"),
    [
        ((80, 100), 2.0, True, "maybe a head"),
        ((80, 100), 2.0, False, "maybe a head"),
        ((65, 85), 1.5, True, "maybe a head"),  # a brain without its skull is as large: a person must look
        ((170, 110), 3.0, True, "no head"),
        ((170, 110), 3.0, False, "maybe a head"),
        ((500, 500), 1.0, True, "no head"),  # a field inside the body shows no skin
        ((30, 30), 0.7, True, "no head"),  # a field too small for a face
    ],
)
def test_mr_is_told_by_size(half: tuple[float, float], mm: float, known: bool, sight: Sight) -> None:
    plane = np.where(ellipse((128, 128), half, mm), 300.0, 0.0)
    assert look_for_head(volume(plane, mm, hu=False, known=known)) == sight


def test_an_empty_image_shows_nothing() -> None:
    assert look_for_head(volume(np.full((64, 64), AIR), 2.0, hu=True)) == "no head"
