"""Texture figures against their formulas, written out plainly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medaug.lesions.texture import cooccurrence, describe_texture
from tests.made_lesions import ball

SHAPE = (24, 24, 5)
SPACING = (0.5, 0.5, 2.0)


def plain_cooccurrence(levels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    count = int(levels[mask].max()) + 1
    matrix = np.zeros((count, count))
    for i, j, k in np.argwhere(mask):
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                a, b = i + di, j + dj
                inside = 0 <= a < mask.shape[0] and 0 <= b < mask.shape[1]
                if (di or dj) and inside and mask[a, b, k]:
                    matrix[levels[i, j, k], levels[a, b, k]] += 1
    return np.asarray(matrix / matrix.sum())


@pytest.mark.parametrize("shape", [SHAPE, (9, 7, 1)])
def test_cooccurrence_counts_all_eight_neighbours_in_plane(shape):
    rng = np.random.default_rng(0)
    levels, mask = rng.integers(0, 6, shape), rng.random(shape) < 0.6
    np.testing.assert_allclose(cooccurrence(levels, mask), plain_cooccurrence(levels, mask))


def test_first_order_figures_are_those_of_scipy():
    mask = ball(SHAPE, 8)
    image = np.random.default_rng(1).gamma(2.0, 0.3, SHAPE).astype(np.float32)
    found, inside = describe_texture(image, mask, SPACING), image[mask].astype(np.float64)
    assert found.mean == pytest.approx(inside.mean(), rel=1e-4)
    assert found.std == pytest.approx(inside.std(), rel=1e-4)
    assert found.skew == pytest.approx(stats.skew(inside), rel=1e-3)


def test_contrast_and_entropy_follow_the_matrix():
    mask = ball(SHAPE, 8)
    levels = np.random.default_rng(2).integers(0, 10, SHAPE)
    levels[12, 12, 2] = 0
    matrix = plain_cooccurrence(levels, mask)
    a, b = np.indices(matrix.shape)
    found = describe_texture((levels * 25.0 + 0.1 - 400).astype(np.float32), mask, SPACING, unit=500.0)
    assert found.glcm_contrast == pytest.approx((matrix * (a - b) ** 2).sum() * 25.0**2, rel=1e-4)
    shares = matrix[matrix > 0]
    assert found.glcm_entropy == pytest.approx(-(shares * np.log2(shares)).sum(), rel=1e-4)


def test_a_ramp_is_as_steep_as_it_was_made():
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32)[:, None, None] * 3.0, SHAPE)
    assert describe_texture(ramp, ball(SHAPE, 8), SPACING).gradient_per_mm == pytest.approx(6.0)
    through = np.broadcast_to(np.arange(5, dtype=np.float32) * 4.0, SHAPE)
    middle = np.zeros(SHAPE, dtype=bool)
    middle[8:12, 8:12, 2] = True
    assert describe_texture(through, middle, SPACING).gradient_per_mm == pytest.approx(2.0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 4, 1)])
def test_a_flat_or_single_voxel_has_no_texture(shape):
    found = describe_texture(np.full(shape, 7.0, np.float32), np.ones(shape, dtype=bool), SPACING)
    assert (found.mean, found.std, found.skew, found.glcm_contrast, found.glcm_entropy) == (7.0, 0, 0, 0, 0)


def test_very_bright_voxels_share_the_last_level():
    image = np.zeros(SHAPE, np.float32)
    image[12, 12, 2] = 1e6
    assert describe_texture(image, ball(SHAPE, 8), SPACING).glcm_contrast < 1.0
