"""The body and its organ are found on a coarse grid, in any unit, at any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.geometry import Box, Grid
from medaug.core.volume import Unit, Volume
from medaug.lesions.body import Body, edge_distance
from tests.small_cases import SHAPE, chest, head


def lungs() -> np.ndarray:
    i, j, _ = np.indices(SHAPE)
    return np.asarray(np.any([((i - s) / 12) ** 2 + ((j - 32) / 20) ** 2 < 1 for s in (21, 51)], axis=0))


def enlarged(volume: Volume, times: int) -> Volume:
    image = np.repeat(np.repeat(volume.image, times, axis=1), times, axis=2)
    spacing = [mm / times for mm in volume.grid.spacing_mm[:2]]
    affine = np.diag([*spacing, volume.grid.spacing_mm[2], 1.0])
    return Volume(image, Grid(image.shape[1:], affine), volume.unit, volume.channels)


def test_body_has_the_lungs_and_not_the_air():
    body = Body.of(chest(1).volume)
    assert body.mask[lungs()].all()
    assert not body.mask[0, 0].any()
    assert np.isfinite(body.edge).all()
    assert body.slice_at(2).span == pytest.approx((0.25, 0.375))


def test_lung_is_the_organ_of_a_chest():
    organ = Body.of(chest(1, ()).volume).organ
    assert organ is not None
    overlap = (organ & lungs()).sum() / (organ | lungs()).sum()
    assert overlap > 0.9


def test_a_large_image_is_looked_at_coarsely_and_shows_the_same():
    volume = chest(1, ()).volume
    small, large = Body.of(volume), Body.of(enlarged(volume, 4))
    assert small.factor == (1, 1, 1)
    assert large.factor[0] > 1
    assert large.inside.size <= 4 * small.inside.size
    shown = small.mask.repeat(4, 0).repeat(4, 1)
    assert large.mask.shape == shown.shape
    assert (large.mask == shown).mean() > 0.88  # each is blurred by a voxel or two of its own grid
    assert large.edge.max() == pytest.approx(4 * small.edge.max(), rel=0.15)
    for organ in (small.organ, large.organ):
        assert organ is not None
        assert organ.mean() == pytest.approx(lungs().mean(), rel=0.15)


def test_body_without_an_edge_is_marked():
    middle = chest(1).volume.crop(Box((30, 26, 0), (42, 38, 8)))
    body = Body.of(middle)
    assert np.isinf(body.edge).all()
    assert body.frame == (None, None, None)
    assert body.place(np.zeros((1, 3))) == (None, None, None)


def test_a_place_in_the_body_does_not_depend_on_margins_or_slices():
    volume = chest(1).volume
    body = Body.of(volume)
    cut = Body.of(volume.crop(Box((1, 1, 0), (72, 64, 8))))
    for this, moved in zip(
        body.place(np.array([[40.0, 30, 4]])), cut.place(np.array([[39.0, 29, 4]])), strict=True
    ):
        assert (this is None) == (moved is None)
        if this is not None and moved is not None:
            assert this == pytest.approx(moved, abs=0.02)
    slab = body.slice_at(4).place(np.array([[40.0, 30, 0]]))
    assert slab[0] == pytest.approx(body.place(np.array([[40.0, 30, 4]]))[0])


def test_a_slab_shows_the_organ_of_its_slice():
    body = Body.of(chest(1).volume)
    slab = body.slice_at(3).organ
    assert slab is not None
    assert body.organ is not None
    np.testing.assert_array_equal(slab[..., 0], body.organ[..., 3])


def brain_in_a_skull() -> Volume:
    """A bright ball (brain) in a dark gap (fluid) in a bright shell (scalp), joined by a thin bridge; T2-dark fluid."""
    i, j, k = np.indices((96, 96, 24))
    radius = np.sqrt((i - 48) ** 2 + (j - 48) ** 2 + (3 * (k - 12)) ** 2)
    image = np.where(radius < 32, 300.0, np.where((radius > 37) & (radius < 41), 500.0, 5.0))
    image[47:49, 76:90] = 300.0
    image += np.random.default_rng(0).normal(0, 5, image.shape)
    return Volume(
        image[None].astype(np.float32), Grid(image.shape, np.diag([2.0, 2, 6, 1])), Unit.ARBITRARY, ("T1",)
    )


def test_brain_is_parted_from_the_scalp():
    volume = brain_in_a_skull()
    body = Body.of(volume)
    assert body.organ_name == "brain"
    assert body.organ is not None
    organ = body.fine(body.organ, Box((0, 0, 0), volume.grid.shape))
    i, j, k = np.indices(volume.grid.shape)
    radius = np.sqrt((i - 48) ** 2 + (j - 48) ** 2 + (3 * (k - 12)) ** 2)
    middle = slice(6, 19)
    assert organ[..., middle][radius[..., middle] < 29].mean() > 0.95
    assert organ[..., middle][radius[..., middle] > 38].mean() < 0.01


def test_an_image_without_the_organ_has_none():
    volume = chest(1, ()).volume
    solid = np.where(volume.image < -500, np.float32(40.0), volume.image)
    assert Body.of(replace(volume, image=solid)).organ is None


def test_channels_tell_the_body_together():
    assert Body.of(head(1).volume).mask[lungs()].all()


@pytest.mark.parametrize("slices", [2, 12])
def test_edge_distance_is_nearly_euclidean_in_plane(slices):
    mask = np.repeat((lungs() | (np.random.default_rng(0).random(SHAPE) > 0.999))[..., :1], slices, axis=2)
    exact = ndimage.distance_transform_edt(mask[..., 0])
    found = edge_distance(mask)
    inside = exact > 0
    assert (found[..., 1][~inside] == 0).all()
    np.testing.assert_allclose(found[..., 1][inside], exact[inside], rtol=0.09, atol=1e-5)
