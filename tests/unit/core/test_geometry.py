"""Grids, orientations and boxes."""

import nibabel as nib
import numpy as np
import pytest

from medaug.core.errors import GeometryError
from medaug.core.geometry import Box, Grid, Reorientation, lps_to_ras, to_ras
from tests.shapes import wrong_on_purpose

OBLIQUE = np.array([[0.0, -0.1, 2.5, 7.0], [0.8, 0.0, 0.0, -3.0], [0.0, -0.79, -0.3, 11.0], [0, 0, 0, 1.0]])


def test_spacing_and_voxel_volume_of_an_anisotropic_grid() -> None:
    grid = Grid((4, 5, 6), np.diag([0.5, 0.8, 2.5, 1.0]))
    assert grid.spacing_mm == (0.5, 0.8, 2.5)
    assert grid.voxel_mm3 == pytest.approx(1.0)


def test_lps_to_ras_flips_the_first_two_world_axes() -> None:
    assert np.array_equal(lps_to_ras(np.eye(4)), np.diag([-1.0, -1.0, 1.0, 1.0]))


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -2.0, 3.0, 1.0]), OBLIQUE])
def test_axcodes_agree_with_nibabel(affine: np.ndarray) -> None:
    assert Grid((3, 4, 5), affine).axcodes == "".join(nib.aff2axcodes(affine))


@pytest.mark.parametrize("affine", [np.diag([-1.0, -2.0, 3.0, 1.0]), OBLIQUE])
def test_to_ras_agrees_with_nibabel_and_moves_no_voxel(affine: np.ndarray) -> None:
    array = np.arange(60.0).reshape(3, 4, 5)
    grid, turn = to_ras(Grid((3, 4, 5), affine))
    truth = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    assert np.array_equal(turn.apply(array), np.asarray(truth.dataobj))
    np.testing.assert_allclose(grid.affine, truth.affine, atol=1e-12)
    assert np.array_equal(turn.invert(turn.apply(array)), array)
    assert grid.axcodes == "RAS"


@pytest.mark.parametrize(
    "affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3), np.diag([1.0, 1.0, 0.0, 1.0])]
)
def test_bad_affines_are_refused(affine: np.ndarray) -> None:
    with wrong_on_purpose(), pytest.raises(GeometryError):
        Grid((2, 2, 2), affine)


def test_index_and_mm_are_inverse() -> None:
    grid = Grid((3, 4, 5), OBLIQUE)
    np.testing.assert_allclose(grid.to_index(grid.to_mm((1.0, 2.5, 3.0))), (1.0, 2.5, 3.0), atol=1e-12)


def test_agreement_looks_at_every_corner() -> None:
    grid, turned = Grid((100, 4, 5), np.eye(4)), np.eye(4)
    turned[1, 0] = 0.001  # 0.1 mm at the far corner, nothing at the origin
    assert grid.agrees_with(Grid((100, 4, 5), np.eye(4)))
    assert not grid.agrees_with(Grid((100, 4, 5), turned))
    assert not grid.agrees_with(Grid((99, 4, 5), np.eye(4)))


def test_box_cut_repeats_the_edge_and_keeps_the_place() -> None:
    image = np.arange(27.0).reshape(1, 3, 3, 3)
    box = Box((-1, 0, 2), (2, 3, 4))
    cut = box.cut(image)
    assert cut.shape == (1, 3, 3, 2)
    assert np.array_equal(cut[0, 0], cut[0, 1])
    assert np.array_equal(cut[..., 1], cut[..., 0])
    np.testing.assert_allclose(Grid((3, 3, 3), np.eye(4)).crop(box).to_mm((1.0, 0.0, 0.0)), (0.0, 0.0, 2.0))


def test_box_around_a_mask_is_tight() -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[1:3, 2, 4:7] = True
    assert Box.around(mask) == Box((1, 2, 4), (3, 3, 7))
    with pytest.raises(GeometryError, match="empty"):
        Box.around(np.zeros((2, 2, 2), bool))


def test_box_around_a_mask_with_a_margin_ends_at_the_edge() -> None:
    mask = np.zeros((6, 6, 3), dtype=bool)
    mask[1:3, 4, 1] = True
    near = Box.around(mask, (2, 2, 0))
    assert near == Box((0, 2, 1), (5, 6, 2))
    assert mask[near.slices][Box.around(mask).index_in(near)].all()


def test_box_cut_beyond_the_image_is_zero_where_asked() -> None:
    ones = np.ones((2, 3, 3, 2), dtype=np.float32)
    part = Box((-1, 0, 0), (2, 3, 4)).cut(ones, beyond="zero")
    assert part.shape == (2, 3, 3, 4)
    assert part.sum() == 2 * 2 * 3 * 2


def test_box_outside_the_image_is_refused() -> None:
    with pytest.raises(GeometryError, match="outside"):
        Box((5, 5, 5), (6, 6, 6)).cut(np.zeros((1, 3, 3, 3)))


def test_nearest_voxel_stays_on_the_grid() -> None:
    grid = Grid((4, 5, 6), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert grid.nearest_voxel((2.9, 5.1, 0.0)) == (1, 3, 0)
    assert grid.nearest_voxel((-50.0, 100.0, 3.0)) == (0, 4, 2)


def test_turning_slices_last_equals_plain_numpy() -> None:
    array = np.random.default_rng(1).normal(size=(2, 5, 19, 7)).astype(np.float32)
    for order in ((2, 1, 0), (2, 0, 1), (0, 1, 2), (1, 2, 0)):
        turn = Reorientation(order, (True, False, True))
        turned = turn.apply(array)
        expected = np.transpose(array, (0, *(1 + axis for axis in order)))[:, ::-1, :, ::-1]
        assert np.array_equal(turned, expected)
        assert turned.flags.c_contiguous
        assert np.array_equal(turn.invert(turned), array)
