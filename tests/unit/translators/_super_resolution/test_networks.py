from __future__ import annotations

import math

import pytest
import torch

from medaug.core.seeding import SeedTree
from medaug.translators._super_resolution.networks import Dims, ThinNet, initialise


@pytest.mark.parametrize(("dims", "shape"), [(2, (5, 3)), (3, (5, 4, 3))])
def test_untrained_it_adds_nothing_and_draws_slices_apart_in_order(
    dims: Dims, shape: tuple[int, ...]
) -> None:
    net = ThinNet(dims, 2, 4, 8, 1)
    initialise(net, SeedTree(0))
    thick = torch.arange(2.0 * math.prod(shape)).reshape(1, 2, *shape)
    with torch.no_grad():
        drawn = net(thick)
        assert drawn.shape == (1, 2, *shape[:-1], shape[-1] * 4)
        assert not drawn.any()
        dict(net.named_parameters())["last.bias"].copy_(torch.arange(8.0))
        drawn = net(thick)
    # channel 0 answers 0..3 for each thick slice, channel 1 4..7
    assert drawn[0, 0].flatten()[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert drawn[0, 1].flatten()[:5].tolist() == [4, 5, 6, 7, 4]


def test_same_seed_same_weights() -> None:
    nets = [ThinNet(3, 1, 2, 4, 1) for _ in range(3)]
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        initialise(net, SeedTree(seed))
    assert nets[0].first.weight.equal(nets[1].first.weight)
    assert not nets[0].first.weight.equal(nets[2].first.weight)
