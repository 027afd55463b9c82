"""Drawn lesions have the figures they were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medaug.generators._procedural.draw import draw_lesion, texture_field
from medaug.generators._procedural.figures import CORE, COUNT, GRAIN, HALO, LEVEL, PROFILE, RIM, measure
from medaug.generators._procedural.region import REACH, Region
from tests.made_lesions import ball

SPACING = (0.7, 0.7, 2.0)


def host(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-1.0, 0.05, (2, *shape)).astype(np.float32)


def wanted() -> np.ndarray:
    figures = np.zeros((2, COUNT))
    figures[:, LEVEL] = 0.5, -0.4
    figures[:, PROFILE] = np.linspace(-0.2, 0.2, 4)
    figures[:, HALO] = 0.2
    figures[:, [RIM, CORE]] = np.log(0.1)
    figures[:, GRAIN] = np.log(0.8)
    return figures


def drawn(image: np.ndarray, mask: np.ndarray, seed: int = 1) -> tuple[np.ndarray, Region, np.ndarray]:
    region = Region.around(mask, SPACING)
    figures = wanted()
    white = np.random.default_rng(seed).standard_normal(region.cut(image).shape)
    texture = texture_field(region, np.exp(figures[:, GRAIN]), SPACING, white)
    part, changed = draw_lesion(region.cut(image), region, figures, texture)
    whole = image.copy()
    region.cut(whole)[:, changed] = part[:, changed]
    return whole, region, texture


@pytest.mark.parametrize("shape", [(64, 64, 1), (64, 64, 12)])
def test_figures_are_found_again(shape):
    mask = ball(shape, 14)
    image, _, _ = drawn(host(shape), mask)
    found = measure(image, mask, np.zeros_like(mask), SPACING).figures
    np.testing.assert_allclose(found[:, LEVEL], [0.5, -0.4], atol=0.02)
    assert (np.diff(found[:, PROFILE], axis=1) > 0).all()
    np.testing.assert_allclose(np.exp(found[:, CORE]), 0.1, rtol=0.5)


def test_texture_is_centred_and_of_unit_deviation():
    mask = ball((64, 64, 6), 12)
    _, region, texture = drawn(host((64, 64, 6)), mask)
    inside = texture[:, region.mask]
    np.testing.assert_allclose(inside.mean(axis=1), 0.0, atol=1e-9)
    np.testing.assert_allclose(inside.std(axis=1), 1.0, atol=1e-6)


def test_the_host_is_left_alone_away_from_the_lesion():
    mask, image = ball((64, 64, 6), 12), host((64, 64, 6))
    whole, _, _ = drawn(image, mask)
    away = ndimage.distance_transform_edt(~mask, sampling=(1, 1, 2.0 / 0.7)) > REACH
    np.testing.assert_array_equal(whole[:, away], image[:, away])


def test_a_lesion_that_was_there_is_painted_over():
    mask = ball((64, 64, 1), 10)
    image = host((64, 64, 1))
    image[:, ball((64, 64, 1), 12)] = 3.0  # larger than the new one
    whole, region, _ = drawn(image, mask)
    rim = (region.outside > 0) & (region.outside < REACH)
    assert region.cut(whole)[:, rim].mean() < 0.5
