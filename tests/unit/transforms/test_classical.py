"""Classical augmentation: labels move with the image, grey values change within what a unit bears."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.core.errors import ConfigError
from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.transforms.base import parse_transforms
from medaug.transforms.classical import Config


def ball(dims: int, size: int = 20, unit: Unit = Unit.ARBITRARY) -> PatchBatch:
    """Smooth images whose labels say where they are above 0."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in (24, 20, 16)[:dims]], indexing="ij")
    image = (0.6 - np.sqrt(sum((axis - 0.2) ** 2 for axis in axes))).astype(np.float32)
    images = torch.from_numpy(np.repeat(image[None, None] * 4, size, axis=0))
    return PatchBatch(images, (images[:, 0] > 0).int(), ((1.0, 1.0, 1.0)[:dims],) * size, unit)


def augment(batch, **settings):
    rngs = [np.random.default_rng(n) for n in range(len(batch.images))]
    return Config.model_validate(settings).build(batch.unit)(batch, rngs)


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_asked_nothing_changed(dims):
    batch = ball(dims)
    changed = augment(batch, steps=())
    assert torch.equal(changed.images, batch.images)
    assert torch.equal(changed.labels, batch.labels)


@pytest.mark.parametrize("dims", [2, 3])
def test_labels_move_with_the_image(dims):
    batch = ball(dims)
    steps = [{"step": name} for name in ("rotate", "scale", "elastic")]
    changed = augment(batch, steps=steps)
    for image, labels, before in zip(changed.images, changed.labels, batch.labels, strict=True):
        # linear against nearest interpolation may differ by a voxel at the boundary
        assert ((image[0] > 0) != (labels > 0)).float().mean() < 0.05
        assert labels.any()
        assert not torch.equal(labels, before)


def test_hounsfield_units_are_changed_far_less_than_grey_values():
    grey = [{"step": name} for name in ("gamma", "brightness", "contrast", "gaussian_noise")]
    change = {
        unit: float((augment(ball(2, 60, unit), steps=grey).images - ball(2, 60).images).abs().mean())
        for unit in (Unit.HU, Unit.ARBITRARY)
    }
    assert 0 < change[Unit.HU] < 0.08  # 40 HU of 500 a unit, all at full strength
    assert change[Unit.ARBITRARY] > 3 * change[Unit.HU]


def test_a_probability_is_a_share_of_patches():
    batch = ball(2, 200)
    changed = augment(batch, steps=[{"step": "brightness", "probability": 0.3}])
    share = (changed.images != batch.images).flatten(1).any(dim=1).float().mean()
    assert 0.2 < share < 0.4


def test_misspelt_step_is_named():
    with pytest.raises(ConfigError, match="did you mean rotate"):
        parse_transforms({"kind": "classical", "steps": [{"step": "rotat"}]})


def test_magnitude_stays_within_0_to_1():
    with pytest.raises(ConfigError, match="within 0 to 1"):
        parse_transforms({"kind": "classical", "steps": [{"step": "rotate", "magnitude": [0, 2]}]})
