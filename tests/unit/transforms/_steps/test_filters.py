"""Blur, sharpening and lost resolution against scipy and numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medaug.core.volume import Unit
from medaug.transforms._steps import filters
from medaug.transforms._steps.step import Facts

# short axes are one product, long ones are blurred block by block
SHAPES = [(30, 21), (97, 130), (90, 14, 8), (1, 40), (7, 1, 5), (200, 3)]
SPACING = (0.7, 1.1, 2.5)


def stack(shape, dtype=torch.float32):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(3, 2, *shape))).to(dtype)


def facts(shape):
    return [Facts(shape, SPACING[: len(shape)], Unit.ARBITRARY)] * 3


def blurred(image, sigma_mm):
    sigmas = np.array(sigma_mm[: image.ndim]) / SPACING[: image.ndim]
    return ndimage.gaussian_filter(image, sigmas, mode="reflect", truncate=4)


WIDTHS = [(0.8, 1.5, 3.0), (0.0, 2.2, 0.0), (3.1, 0.4, 1.0)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_blur_is_that_of_scipy(shape, dtype):
    images = stack(shape, dtype)
    steps = [filters.Blur(sigma_mm=width) for width in WIDTHS]
    changed = filters.Blur.apply(images, steps, facts(shape)).double().numpy()
    for n, step in enumerate(steps):
        for channel in range(2):
            exact = blurred(images[n, channel].double().numpy(), step.sigma_mm)
            assert np.abs(changed[n, channel] - exact).max() < (1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_sharpening_adds_what_a_blur_takes(shape):
    images = stack(shape)
    steps = [filters.Sharpen(amount=a, sigma_mm=w) for a, w in zip((0.3, 1.0, 0.7), WIDTHS, strict=True)]
    changed = filters.Sharpen.apply(images, steps, facts(shape)).double().numpy()
    for n, step in enumerate(steps):
        image = images[n, 1].double().numpy()
        expected = image + step.amount * (image - blurred(image, step.sigma_mm))
        assert np.abs(changed[n, 1] - expected).max() < 2e-5


def thick(image, axis, factor):
    """Means over thicker voxels, by differences of the integral; straight lines between their middles."""
    size = image.shape[axis]
    count = max(1, round(size / factor))
    if count >= size:
        return image

    def one(line):
        edges = np.linspace(0, size, count + 1)
        integral = np.interp(edges, np.arange(size + 1), np.r_[0, np.cumsum(line)])
        return np.interp(
            np.arange(size) + 0.5, (edges[1:] + edges[:-1]) / 2, np.diff(integral) / (size / count)
        )

    return np.apply_along_axis(one, axis, image)


@pytest.mark.parametrize("shape", SHAPES)
def test_lost_resolution_is_a_mean_and_a_straight_line(shape):
    images = stack(shape)
    steps = [filters.LowResolution(factors=f) for f in ((2.0, 1.0, 3.0), (1.0, 2.3, 1.0), (2.5, 2.5, 2.5))]
    changed = filters.LowResolution.apply(images, steps, facts(shape)).double().numpy()
    for n, step in enumerate(steps):
        expected = images[n, 0].double().numpy()
        for axis in range(len(shape)):
            expected = thick(expected, axis, step.factors[axis])
        assert np.abs(changed[n, 0] - expected).max() < 1e-5


def test_draws_stay_within_their_limits():
    rng, one = np.random.default_rng(0), Facts((20, 20, 9), SPACING, Unit.ARBITRARY)
    alone = set()
    for _ in range(200):
        widths = filters.Blur.draw(1.0, rng, one).sigma_mm
        assert all(0 <= w <= limit * 0.7 for w, limit in zip(widths, (1.2, 1.2, 0.6), strict=True))
        assert filters.Sharpen.draw(1.0, rng, one).amount <= 1
        factors = filters.LowResolution.draw(1.0, rng, one).factors
        assert all(1 <= f <= limit for f, limit in zip(factors, (2.5, 2.5, 3.0), strict=True))
        alone.add(sum(f > 1 for f in factors))
    assert alone == {1, 3}
