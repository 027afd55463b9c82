from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.generators._vae.prior import Codes, Prior, fit_prior


def codes(counts: tuple[int, int] = (4000, 4000)) -> Codes:
    """Two classes of codes; the first axis follows the size, the second class lies elsewhere and is narrower."""
    generator = torch.Generator().manual_seed(0)
    index = torch.repeat_interleave(torch.arange(2), torch.tensor(counts))
    count = len(index)
    sizes = 4 + index + torch.randn(count, generator=generator)
    rest = torch.randn(count, 3, generator=generator) * torch.where(index == 0, 2.0, 0.5)[:, None]
    means = rest + 5 * index[:, None] + torch.tensor([1.5, 0, 0]) * (sizes - 4 - index)[:, None]
    share = torch.where(index == 0, 1 / counts[0], 1 / counts[1])
    return Codes(means, torch.full((count, 3), 0.25), sizes, index, share)


def drawn(prior: Prior, number: int, log_size: float) -> torch.Tensor:
    rng = np.random.default_rng(1)
    return torch.cat([prior.draw(number, log_size, rng) for _ in range(2000)])


def test_codes_are_drawn_as_those_of_the_class_lie() -> None:
    prior = fit_prior(codes(), 2)
    for number, spread in ((0, 2.0), (1, 0.5)):
        found = drawn(prior, number, 4.0 + number)
        torch.testing.assert_close(found.mean(dim=0), torch.full((3,), 5.0 * number), atol=0.2, rtol=0)
        # means of posteriors and their own width together
        torch.testing.assert_close(
            found.std(dim=0), torch.full((3,), (spread**2 + 0.25) ** 0.5), atol=0.15, rtol=0
        )


def test_codes_follow_the_size_but_not_beyond_the_sizes_seen() -> None:
    prior = fit_prior(codes(), 2)
    middle, larger, giant, monster = (drawn(prior, 0, size).mean(dim=0) for size in (4.0, 5.0, 7.0, 70.0))
    torch.testing.assert_close(larger - middle, torch.tensor([1.5, 0, 0]), atol=0.1, rtol=0)
    assert float((giant - middle)[0]) == pytest.approx(3.0, abs=0.2)
    torch.testing.assert_close(giant, monster)


def test_a_scarce_class_borrows_its_spread() -> None:
    alone = fit_prior(codes(), 2)
    scarce = fit_prior(codes((4000, 2)), 2)
    assert float(scarce.roots[1].diagonal().mean()) > 1.5 * float(alone.roots[1].diagonal().mean())
    assert torch.isfinite(drawn(scarce, 1, 5.0)).all()


def test_one_lesion_is_enough_to_draw_from() -> None:
    prior = fit_prior(codes((1, 1)), 2)
    assert torch.isfinite(drawn(prior, 0, 100.0)).all()
