"""Contrast and sharpness change what they say and leave the grain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.lesion import Lesion
from medaug.core.volume import Image
from medaug.lesions.blend import Feather, blend
from medaug.synthesis.retouch import change_contrast, change_sharpness

SHAPE = (48, 48, 3)
RADIUS = 9
EDGE = Feather(-1.0, 2.0, 4.0)
_I, _J = np.indices(SHAPE[:2]) - 24
DISTANCE = np.broadcast_to(np.hypot(_I, _J)[..., None], SHAPE)
MASK = DISTANCE <= RADIUS


def made(channels: int = 1) -> tuple[Image, Lesion]:
    """Tissue at -800 with grain, and a lesion at 0 in it, grain of its own, its edge as soft as a scanner makes it."""
    rng = np.random.default_rng(0)
    host = (-800.0 + rng.normal(0, 20, (channels, *SHAPE))).astype(np.float32)
    soft = ndimage.gaussian_filter(MASK.astype(float), (0.9, 0.9, 0.0))
    drawn = (-800.0 + 800.0 * soft + rng.normal(0, 20, (channels, *SHAPE))).astype(np.float32)
    return host, Lesion(np.where(DISTANCE <= RADIUS + 4, drawn, host), MASK, "solid")


@pytest.mark.parametrize("factor", [0.0, 0.25, 0.5, 1.0, 1.5])
def test_contrast_scales_the_mean_difference(factor: float) -> None:
    host, lesion = made()
    changed = change_contrast(host, lesion, factor, in_place=False)
    before, after = (one.image[0][MASK].mean() + 800.0 for one in (lesion, changed))
    assert before > 650.0
    assert after == pytest.approx(factor * before, abs=8.0)


def test_contrast_leaves_the_grain_and_what_is_far() -> None:
    host, lesion = made()
    changed = change_contrast(host, lesion, 0.25, in_place=False)
    inside = DISTANCE <= RADIUS - 3
    assert changed.image[0][inside].std() == pytest.approx(lesion.image[0][inside].std(), rel=0.15)
    far = DISTANCE > RADIUS + 4
    np.testing.assert_allclose(changed.image[0][far], lesion.image[0][far], atol=0.1)
    np.testing.assert_array_equal(lesion.image, made()[1].image)


def test_every_channel_has_its_own_contrast() -> None:
    host, lesion = made(channels=2)
    image = lesion.image.copy()
    image[1][MASK] += 300.0
    changed = change_contrast(host, Lesion(image, MASK, "solid"), 0.5, in_place=True)
    means = image[:, MASK].mean(axis=1) + 800.0
    np.testing.assert_allclose(changed.image[:, MASK].mean(axis=1) + 800.0, 0.5 * means, atol=8.0)


def edge_width(factor: float | None, *, in_place: bool = False) -> float:
    """Voxels over which the blended profile falls from 80 to 20% of the contrast."""
    host, lesion = made()
    edge = EDGE
    if factor is not None:
        lesion, edge = change_sharpness(host, lesion, edge, factor, in_place=in_place)
    image, _ = blend(host, lesion.image, lesion.mask, edge)
    rings = np.arange(0.5, 22.0, 0.5)
    profile = [image[0][(r - 0.5 <= DISTANCE) & (r + 0.5 > DISTANCE)].mean() for r in rings]
    share = (np.array(profile) + 800.0) / 800.0
    return float(np.interp(-0.2, -share, rings) - np.interp(-0.8, -share, rings))


def test_sharpness_widens_and_narrows_the_edge() -> None:
    widths = [edge_width(factor) for factor in (0.25, 0.5, None, 1.25, 2.0, 4.0)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 1.8 * widths[1] > 3.0 * widths[4]
    assert edge_width(1.0) == edge_width(None)
    assert edge_width(0.25, in_place=True) == pytest.approx(widths[0], rel=0.1)


def test_sharpness_keeps_grain_and_the_amount_of_lesion() -> None:
    host, lesion = made()
    for factor in (0.5, 2.0):
        changed, edge = change_sharpness(host, lesion, EDGE, factor, in_place=False)
        inside = DISTANCE <= RADIUS - 6
        assert changed.image[0][inside].std() == pytest.approx(lesion.image[0][inside].std(), rel=0.2)
        whole = (changed.image - host).sum() / (lesion.image - host).sum()
        assert whole == pytest.approx(1.0, abs=0.1)
        assert edge.end > edge.full
        assert changed.mask is MASK


def test_lesions_of_few_voxels_survive() -> None:
    host, _ = made()
    mask = np.zeros(SHAPE, dtype=bool)
    mask[24, 24, 1] = True
    lesion = Lesion(np.where(mask, 0.0, host).astype(np.float32), mask, "solid")
    for factor in (0.1, 10.0):
        assert np.isfinite(change_contrast(host, lesion, factor / 5, in_place=False).image).all()
        changed, _ = change_sharpness(host, lesion, EDGE, factor, in_place=False)
        assert np.isfinite(changed.image).all()
        assert changed.image[0, 24, 24, 1] > -750.0
