from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medaug.generators._diffusion.networks import Denoiser, DiffusionSpec, Place, initialise
from medaug.generators._diffusion.process import MOMENTS, denoised, draw_moments, noised


def place(count: int = 2, size: tuple[int, ...] = (16, 16)) -> Place:
    axes = torch.meshgrid(*(torch.arange(n) - n / 2 for n in size), indexing="ij")
    distance = (4 - torch.stack(axes).square().sum(0).sqrt()).expand(count, 1, *size)
    return Place(torch.zeros(count, 1, *size), distance, torch.zeros(count, dtype=torch.long))


class _Oracle(nn.Module):
    """Knows the clean lesion, and so the velocity at every moment."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean, self.scale, self.limit = clean, torch.tensor(2.0), torch.tensor(9.0)
        self.asked: list[int] = []

    def forward(self, noisy: Tensor, where: Place, moment: Tensor) -> Tensor:
        now = int(moment[0])
        self.asked.append(now)
        _, at_once = noised(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([now]))
        sine = -float(at_once)
        cosine = math.sqrt(1 - sine**2)
        return (cosine * noisy - self.clean) / max(sine, 1e-6)


def test_moments_are_spread_over_the_process() -> None:
    drawn = draw_moments(10, np.random.default_rng(0))
    assert sorted((drawn // (MOMENTS // 10)).tolist()) == list(range(10))


def test_noise_and_velocity_are_the_turned_lesion() -> None:
    clean, noise = torch.randn(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    moment = torch.tensor([0, 500, 999])
    noisy, velocity = noised(clean, noise, moment)
    # both are one rotation of (clean, noise): together they keep their length
    torch.testing.assert_close(noisy**2 + velocity**2, clean**2 + noise**2, atol=1e-4, rtol=0)
    torch.testing.assert_close(noisy[0], clean[0], atol=0.1, rtol=0)
    torch.testing.assert_close(noisy[2], noise[2], atol=0.1, rtol=0)


@pytest.mark.parametrize("steps", [4, 50, 300])
def test_a_network_that_knows_the_lesion_leads_to_it(steps: int) -> None:
    where, generator = place(), torch.Generator().manual_seed(0)
    clean = where.zone * torch.randn(2, 1, 16, 16, generator=generator)
    oracle = _Oracle(clean)
    noise = torch.randn(2, 1, 16, 16, generator=generator)
    drawn = denoised(cast(Denoiser, oracle), where, noise, steps)
    torch.testing.assert_close(drawn, 2 * clean, atol=1e-3, rtol=0)
    assert len(oracle.asked) == steps
    assert oracle.asked == sorted(oracle.asked, reverse=True)
    assert oracle.asked[0] >= MOMENTS - MOMENTS // steps
    assert oracle.asked[-1] >= 0


@pytest.mark.parametrize("size", [(16, 16), (16, 20, 5)])
def test_network_answers_in_the_shape_of_its_input(size: tuple[int, ...]) -> None:
    net = Denoiser(DiffusionSpec(2 if len(size) == 2 else 3, 1, 2, size, 4))
    initialise(net, torch.Generator().manual_seed(0))
    where = place(2, size)
    net.measure(torch.full_like(where.filled, 3.0), where.filled, where.zone)
    assert float(net.scale) == pytest.approx(3.0)
    assert float(net.limit) == 1.0
    found = net(
        torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1)), where, torch.tensor([1, 9])
    )
    assert found.shape == (2, 1, *size)
    assert not found.any()  # the last layer begins at zero: the first guess is no velocity
