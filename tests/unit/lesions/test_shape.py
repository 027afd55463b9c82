"""New shapes meet the wanted size, stay in one piece and carry the donor's texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.errors import DataError
from medaug.core.geometry import Box
from medaug.core.intensity import IntensityScheme
from medaug.lesions.cut import cut_lesions
from medaug.lesions.diameter import mask_diameter_mm
from medaug.lesions.shape import DrawnShape, ShapeTarget, draw_shape, fit_texture
from tests.small_cases import chest

KNOWN = ShapeTarget((1.0, 1.0, 2.0), spacing_known=True, slices=8)


def donor(number=1, name="solid", **how):
    case = chest(number, (name,), **how)
    return next(iter(cut_lesions(case, IntensityScheme.for_volume(case.volume))))


@pytest.mark.parametrize("diameter_mm", [5.0, 8.0, 14.0])
@pytest.mark.parametrize("slices", [1, 12])
def test_wanted_diameter_is_met_in_one_piece(diameter_mm, slices):
    for seed in range(6):
        target = replace(KNOWN, slices=slices, diameter_mm=diameter_mm)
        drawn = draw_shape(donor(), target, np.random.default_rng(seed))
        assert drawn.diameter_mm == pytest.approx(diameter_mm, rel=0.1)
        assert drawn.diameter_mm == pytest.approx(mask_diameter_mm(drawn.mask, target.spacing_mm))
        assert ndimage.label(drawn.mask, np.ones((3, 3, 3)))[1] == 1
        assert drawn.texture.shape == (1, *drawn.mask.shape)
        assert drawn.texture.dtype == np.float32


def test_patch_has_context_around_a_centred_mask():
    drawn = draw_shape(donor(), replace(KNOWN, diameter_mm=40.0), np.random.default_rng(0))
    box = Box.around(drawn.mask)
    assert min(drawn.mask.shape[:2]) >= max(48, 2 * max(box.shape[:2]))
    for axis in range(3):
        assert abs((box.start[axis] + box.stop[axis]) // 2 - drawn.mask.shape[axis] // 2) <= 1


def test_texture_moves_with_the_mask():
    drawn = draw_shape(donor(), replace(KNOWN, diameter_mm=9.0), np.random.default_rng(3))
    core = ndimage.binary_erosion(drawn.mask, iterations=1)
    ring = ndimage.binary_dilation(drawn.mask, iterations=4) & ~ndimage.binary_dilation(
        drawn.mask, iterations=2
    )
    assert drawn.texture[0, core].mean() == pytest.approx((40 + 400) / 500, abs=0.1)
    assert np.median(drawn.texture[0, ring]) == pytest.approx((-820 + 400) / 500, abs=0.1)


def test_size_in_mm_is_kept_between_spacings():
    fine = replace(KNOWN, spacing_mm=(0.5, 0.5, 1.0), diameter_mm=8.0, slices=20)
    coarse = replace(fine, spacing_mm=(1.5, 1.5, 3.0))
    small, large = (draw_shape(donor(), t, np.random.default_rng(0)) for t in (coarse, fine))
    assert small.mask.sum() * 1.5**3 == pytest.approx(large.mask.sum() * 0.5**3, rel=0.35)


def test_nominal_spacing_keeps_the_size_in_voxels():
    nominal = donor(known=False)
    target = replace(KNOWN, spacing_mm=(0.2, 0.2, 0.2), spacing_known=False, bend=0.0)
    sizes = [draw_shape(nominal, target, np.random.default_rng(seed)).mask.sum() for seed in range(8)]
    assert 0.45 * nominal.mask.sum() < min(sizes) <= max(sizes) < 1.85 * nominal.mask.sum()


def test_shapes_differ_and_depend_on_the_seed_alone():
    masks = [draw_shape(donor(), KNOWN, np.random.default_rng(seed)) for seed in (0, 1, 0)]
    np.testing.assert_array_equal(masks[0].texture, masks[2].texture)
    np.testing.assert_array_equal(masks[0].mask, masks[2].mask)
    assert masks[0].mask.shape != masks[1].mask.shape or (masks[0].mask != masks[1].mask).any()


def test_sections_of_one_voxel_can_be_drawn():
    tiny = donor()
    mask = np.zeros_like(tiny.mask)
    mask[30, 30, :3] = True
    drawn = draw_shape(replace(tiny, mask=mask), replace(KNOWN, slices=1), np.random.default_rng(0))
    assert drawn.mask.shape[2] == 1
    assert drawn.mask.sum() >= 2


def test_a_lesion_smaller_than_a_voxel_is_refused():
    with pytest.raises(DataError, match=r"0\.1 mm cannot be drawn"):
        draw_shape(donor(), replace(KNOWN, slices=1, diameter_mm=0.1), np.random.default_rng(0))


def test_texture_is_bent_onto_another_outline():
    i, j = np.indices((48, 48))
    disc = (np.hypot(i - 24, j - 24) < 6)[..., None]
    ellipse = (((i - 24) / 12) ** 2 + ((j - 24) / 5) ** 2 < 1)[..., None]
    drawn = DrawnShape(disc, np.where(disc, 1.0, -1.0)[None].astype(np.float32), 12.0)
    fitted = fit_texture(drawn, ellipse)
    assert fitted[0, ellipse].mean() > 0.85
    assert fitted[0, ndimage.binary_erosion(ellipse, np.ones((3, 3, 1)))].min() > 0.3
    assert fitted[0, ~ndimage.binary_dilation(ellipse, np.ones((5, 5, 1)))].max() < 0.0
