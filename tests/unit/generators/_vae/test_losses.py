from __future__ import annotations

import torch

from medaug.generators._vae import losses


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_error_is_of_the_zone_alone() -> None:
    real = normal(2, 1, 8, 8)
    zone = torch.zeros(2, 1, 8, 8)
    zone[..., :4] = 1
    drawn = real + 0.5 * zone + 9 * (1 - zone)
    torch.testing.assert_close(
        losses.absolute_error(drawn, real, zone), torch.full((2,), 0.5), atol=1e-3, rtol=0
    )
    assert float(losses.gradient_error(drawn, real, zone).max()) < 1e-2


def test_gradient_error_sees_edges_not_levels() -> None:
    real, zone = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    step = real.clone()
    step[..., 4:] = 1
    assert float(losses.gradient_error(real + 3, real, zone)) < 1e-6
    assert float(losses.gradient_error(step, real, zone)) > 0.01


def test_divergence_is_nothing_for_the_prior_and_known_elsewhere() -> None:
    zeros = torch.zeros(4, 3)
    assert not losses.divergence(zeros, zeros).any()
    torch.testing.assert_close(losses.divergence(zeros + 2, zeros), torch.full((4, 3), 2.0))


def test_free_bits_cost_nothing_more() -> None:
    nats = torch.tensor([0.0, 0.02, 0.5], requires_grad=True)
    losses.priced(nats, 0.05).backward()
    assert nats.grad is not None
    assert nats.grad.tolist() == [0, 0, 1]
