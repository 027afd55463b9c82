"""What ultrasound does: grain that grows with the signal, and the dark behind bone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.core.volume import Unit
from medaug.transforms._steps import us
from medaug.transforms._steps.step import Facts


def facts(shape, count=1):
    return [Facts(shape, (0.7, 1.1, 2.5)[: len(shape)], Unit.ARBITRARY)] * count


@pytest.mark.parametrize("shape", [(120, 110), (30, 28, 20)])
def test_speckle_multiplies_the_signal_by_a_grain_of_its_width(shape):
    images = torch.ones(2, 1, *shape) * 3
    images[:, :, 0, 0] = 1.0
    steps = [us.Speckle(sigma=s, grain_voxels=g, seed=n) for n, (s, g) in enumerate(((0.2, 0.5), (0.4, 1.5)))]
    seen = us.Speckle.apply(images, steps, facts(shape, 2))
    near = []
    for one, step in zip(seen, steps, strict=True):
        grain = (one[0].numpy()[1:] - 1) / 2 - 1
        assert grain.std() == pytest.approx(step.sigma, rel=0.05)
        near.append((grain[1:] * grain[:-1]).mean() / grain.var())
        # the lowest value of a channel has no signal to multiply
        assert np.array_equal(one[0, 0, 0].numpy(), images[0, 0, 0, 0].numpy())
    assert near[0] < 0.6 < near[1]


@pytest.mark.parametrize("is_upward", [True, False])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_a_shadow_begins_at_its_depth(shape, is_upward):
    images = torch.ones(1, 2, *shape) * 2
    images[:, :, 0] = -1.0
    step = us.Shadow(place=0.4, width=0.1, depth=0.3, is_upward=is_upward, loss=0.8)
    seen = us.Shadow.apply(images, [step], facts(shape))[0, 1].numpy().reshape(40, 50, -1)
    expected = np.full((40, 50), -1.0)
    for i in range(1, 40):
        for j in range(50):
            depth = (j + 0.5) / 50
            depth = 1 - depth if is_upward else depth
            lost = 0.8 * np.exp(-(((i + 0.5) / 40 - 0.4) ** 2) / (2 * 0.1**2))
            lost /= 1 + np.exp(-(depth - 0.3) / 0.02)
            expected[i, j] = -1 + 3 * (1 - lost)
    assert np.abs(seen - expected[..., None]).max() < 1e-5
    assert (seen[16, :10] < 0).all() == is_upward == bool((seen[16, -10:] > 1.5).all())


def test_draws_stay_within_their_limits():
    rng, one = np.random.default_rng(0), facts((40, 30))[0]
    for _ in range(100):
        speckle = us.Speckle.draw(1.0, rng, one)
        assert speckle.sigma <= 0.4
        assert 0.5 <= speckle.grain_voxels <= 1.5
        assert us.Shadow.draw(1.0, rng, one).loss <= 0.9
