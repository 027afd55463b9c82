"""Classical augmentation: labels move with the image, intensities change within what a unit bears."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.volume import Unit
from medaug.transforms.classical import Config

STILL = {"affine_share": 0, "flip_axes": (), "intensity": 0}


def patch(dims: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image whose labels say where it is above 0."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in (24, 20, 16)[:dims]], indexing="ij")
    ball = (0.6 - np.sqrt(sum((axis - 0.2) ** 2 for axis in axes))).astype(np.float32)
    return np.repeat(ball[None] * 4, channels, axis=0), (ball > 0).astype(np.int32)


def augment(dims, seed, unit=Unit.ARBITRARY, **settings):
    image, labels = patch(dims)
    return Config.model_validate(settings).build(unit)(image, labels, np.random.default_rng(seed))


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_asked_nothing_changed(dims):
    image, labels = patch(dims)
    changed, ids = augment(dims, 0, **STILL)
    assert np.array_equal(changed, image)
    assert np.array_equal(ids, labels)


@pytest.mark.parametrize("dims", [2, 3])
def test_labels_move_with_the_image(dims):
    moved = 0
    for seed in range(20):
        image, labels = augment(dims, seed, intensity=0, affine_share=1)
        # linear against nearest interpolation may differ by a voxel at the boundary
        assert ((image[0] > 0) != (labels > 0)).mean() < 0.05
        assert labels.any()
        moved += not np.array_equal(labels, patch(dims)[1])
    assert moved == 20


def test_channels_move_together():
    image, labels = patch(2, channels=3)
    changed, _ = Config(intensity=0, affine_share=1).build(Unit.ARBITRARY)(
        image, labels, np.random.default_rng(5)
    )
    assert changed.shape == image.shape
    assert np.allclose(changed[0], changed[2])
    assert not np.allclose(changed, image)


def test_flips_only_the_named_axis():
    image, labels = patch(2)
    seen = [augment(2, seed, **(STILL | {"flip_axes": (1,)})) for seed in range(20)]
    flipped = [
        np.array_equal(ids, labels[:, ::-1]) and np.array_equal(found, image[:, :, ::-1])
        for found, ids in seen
    ]
    same = [np.array_equal(ids, labels) for _, ids in seen]
    assert all(a or b for a, b in zip(flipped, same, strict=True))
    assert 3 <= sum(flipped) <= 17


def change(unit):
    """Typical change of the intensities, over many patches."""
    image, _ = patch(2)
    settings = {"affine_share": 0, "flip_axes": ()}
    return np.mean([np.abs(augment(2, seed, unit, **settings)[0] - image).mean() for seed in range(60)])


def test_hounsfield_units_are_changed_far_less_than_grey_values():
    assert 0 < change(Unit.HU) < 0.06  # 30 HU of 500 a unit
    assert change(Unit.ARBITRARY) > 3 * change(Unit.HU)


def test_gamma_bears_values_below_zero():
    image, labels = patch(2)
    build = Config(intensity=3).build(Unit.ARBITRARY)
    for seed in range(30):
        changed, _ = build(image - 5, labels, np.random.default_rng(seed))
        assert np.isfinite(changed).all()
