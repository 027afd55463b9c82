"""A donor's patch is made to fit its host, and noise is never taken away."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.lesions.harmonise import (
    fine_part,
    match_level,
    match_noise,
    match_tissue,
    ring_around,
    robust_deviation,
)
from tests.made_lesions import ball

SHAPE = (48, 48, 3)
MASK = ball(SHAPE, 8)


def patch(level: float, noise: float, seed: int = 0) -> np.ndarray:
    """Two channels of noise around a level, with a lesion 50 brighter."""
    image = np.random.default_rng(seed).normal(level, noise, (2, *SHAPE)).astype(np.float32)
    image[:, MASK] += 50
    return image


def noise_of(image: np.ndarray) -> np.ndarray:
    return robust_deviation(fine_part(image)[:, ring_around(MASK)])


def test_ring_is_clear_of_the_lesion():
    ring = ring_around(MASK)
    assert ring.any()
    assert not (ring & MASK).any()
    assert ring_around(np.ones((4, 4, 1), dtype=bool)).sum() == 0


def test_deviation_is_not_moved_by_a_vessel():
    values = np.random.default_rng(0).normal(0, 2.0, (1, 4000))
    values[0, :200] = 500
    assert robust_deviation(values)[0] == pytest.approx(2.0, rel=0.1)


def test_tissue_gets_level_and_contrast_of_the_hosts():
    host, donor = patch(10, 4.0), patch(200, 2.0, seed=1)
    fitted = match_tissue(host, donor, MASK)
    ring = ring_around(MASK)
    np.testing.assert_allclose(np.median(fitted[:, ring], axis=1), np.median(host[:, ring], axis=1), atol=0.1)
    step = fitted[:, MASK].mean(axis=1) - np.median(fitted[:, ring], axis=1)
    np.testing.assert_allclose(step, 100.0, rtol=0.1)  # 50 at twice the contrast
    assert donor[0, 0, 0, 0] != fitted[0, 0, 0, 0]


def test_missing_noise_is_added():
    host, donor = patch(0, 10.0), patch(0, 3.0, seed=1)
    np.testing.assert_allclose(noise_of(match_noise(host, donor, MASK)), noise_of(host), rtol=0.2)


def test_noise_is_never_taken_away():
    host, donor = patch(0, 3.0), patch(0, 10.0, seed=1)
    np.testing.assert_array_equal(match_noise(host, donor, MASK), donor)


@pytest.mark.parametrize("fit", [match_tissue, match_noise])
def test_a_patch_that_is_all_lesion_stays(fit):
    donor = patch(0, 1.0)
    everything = np.ones(SHAPE, dtype=bool)
    fitted = fit(patch(5, 1.0), donor, everything)
    np.testing.assert_array_equal(fitted, donor)
    assert fitted is not donor


def test_level_is_that_of_the_host_along_the_outline():
    rng = np.random.default_rng(0)
    host, patch = (rng.normal(level, 5, (2, 32, 32, 3)).astype(np.float32) for level in (-800, -850))
    i, j, _ = np.indices((32, 32, 3))
    mask = np.hypot(i - 16, j - 16) < 7
    patch[:, mask] += 300
    matched = match_level(host, patch, mask)
    rim = (np.hypot(i - 16, j - 16) < 10) & ~mask
    assert np.median(matched[:, rim]) == pytest.approx(-800, abs=2)
    np.testing.assert_allclose(np.diff(matched[0, :, 16, 1]), np.diff(patch[0, :, 16, 1]), atol=1e-3)
    whole = np.ones_like(mask)
    np.testing.assert_array_equal(match_level(host, patch, whole), patch)
