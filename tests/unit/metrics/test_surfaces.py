"""Surfaces and distances that can be measured by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.geometry import Grid
from medaug.metrics.surfaces import Frame, Outline, hd95_mm, surface_dice


def frame(shape: tuple[int, int, int], *spacing: float) -> Frame:
    return Frame.of(Grid(shape, np.diag([*spacing, 1.0])))


def voxels(shape: tuple[int, int, int], *at: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for index in at:
        mask[index] = True
    return mask


def test_the_outline_of_one_pixel_is_a_diamond() -> None:
    here = frame((3, 3, 1), 3.0, 4.0, 9.0)
    outline = Outline.of(voxels((3, 3, 1), (1, 1, 0)), here)
    assert outline.boundary.tolist() == [[3.0, 4.0, 0.0]]
    # half a pixel of 3 x 4 mm to each side: four lines of 2.5 mm
    assert outline.areas == pytest.approx([2.5] * 4)


def test_the_surface_of_one_voxel_is_an_octahedron() -> None:
    outline = Outline.of(voxels((1, 1, 2), (0, 0, 0)), frame((1, 1, 2), 2.0, 2.0, 2.0))
    # eight equilateral triangles with sides of sqrt(2) mm
    assert outline.areas == pytest.approx([np.sqrt(3) / 2] * 8)


def test_a_flat_face_has_its_area() -> None:
    block = np.ones((9, 9, 9), dtype=bool)
    outline = Outline.of(block, frame(block.shape, 1.0, 2.0, 3.0))
    assert outline.areas.max() == pytest.approx(6.0)
    # its faces reach half a voxel beyond the outer centres and lose only their edges
    assert 0.9 < outline.areas.sum() / (2 * 81 * (2 + 3 + 6)) < 1.0
    assert len(outline.boundary) == 9**3 - 7**3


def test_surface_dice_of_a_pixel_moved_by_one() -> None:
    shape = (4, 3, 1)
    here = frame(shape, 1.0, 1.0, 1.0)
    one, other = (Outline.of(voxels(shape, (i, 1, 0)), here) for i in (1, 2))
    # of four sides each, the two between both pixels coincide, the others are 1 mm off
    assert surface_dice(one, other, 0.5) == pytest.approx(0.5)
    assert surface_dice(one, other, 1.0) == pytest.approx(1.0)


def test_the_tolerance_forgives_how_a_file_rounds_its_spacing() -> None:
    shape, stored = (3, 1, 1), float(np.float32(1.1))
    assert stored > 1.1
    here = frame(shape, stored, 1.0, 1.0)
    one, other = (Outline.of(voxels(shape, (i, 0, 0)), here) for i in (0, 1))
    assert surface_dice(one, other, 1.1) == pytest.approx(1.0)


def test_hd95_is_the_larger_of_both_ways() -> None:
    shape = (1, 1, 5)
    here = frame(shape, 1.0, 1.0, 3.0)
    near, both = voxels(shape, (0, 0, 0)), voxels(shape, (0, 0, 0), (0, 0, 4))
    one, other = Outline.of(near, here), Outline.of(both, here)
    # back from {0 mm, 12 mm} to {0 mm}: the 95th percentile of 0 and 12
    assert hd95_mm(one, other) == hd95_mm(other, one) == pytest.approx(11.4)


def test_distances_follow_an_oblique_grid() -> None:
    shape = (5, 4, 3)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.8, 1.1, 2.5)
    figures = []
    for here in (frame(shape, 0.8, 1.1, 2.5), Frame.of(Grid(shape, affine))):
        one = Outline.of(voxels(shape, (0, 0, 0), (1, 0, 0)), here)
        other = Outline.of(voxels(shape, (4, 3, 2), (1, 1, 0)), here)
        figures.append((hd95_mm(one, other), surface_dice(one, other, 1.3), one.areas.sum()))
    assert figures[0] == pytest.approx(figures[1])


def test_diameters_are_those_of_balls_and_discs() -> None:
    count = np.array([7])
    solid, flat = frame((9, 9, 9), 1.0, 2.0, 3.0), frame((9, 9, 1), 1.0, 2.0, 3.0)
    assert np.pi / 6 * solid.diameters_mm(count) ** 3 == pytest.approx(7 * 6.0)
    assert np.pi / 4 * flat.diameters_mm(count) ** 2 == pytest.approx(7 * 2.0)


@pytest.mark.parametrize("flat", [False, True])
def test_a_mask_held_column_by_column_has_the_same_outline(*, flat: bool) -> None:
    mask = np.random.default_rng(0).random((7, 5, 1 if flat else 4)) > 0.6
    i, j, k = (np.arange(n) for n in mask.shape)
    frame = Frame((i, j, k), np.diag([1.0, 2.0, 3.0]), flat)
    by_row, by_column = Outline.of(mask, frame), Outline.of(np.asfortranarray(mask), frame)
    assert np.array_equal(by_row.boundary, by_column.boundary)
    assert np.array_equal(by_row.elements, by_column.elements)
    assert np.array_equal(by_row.areas, by_column.areas)
