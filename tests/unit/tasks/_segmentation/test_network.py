"""The network: strides that fit the patch, weights that follow from the seed."""

from __future__ import annotations

import pytest
import torch

from medaug.core.errors import ConfigError
from medaug.tasks._segmentation.network import build_network, initialise, parameter_count, plan_strides


@pytest.mark.parametrize(
    ("patch", "levels", "full", "expected"),
    [
        ((32, 32), 4, False, ((2, 2), (2, 2), (2, 2))),
        ((32, 32), 3, True, ((1, 1), (2, 2))),
        ((40, 56, 8), 4, False, ((2, 2, 2), (2, 2, 1), (2, 2, 1))),
        ((16, 16), 5, False, ((2, 2), (2, 2), (1, 1), (1, 1))),
    ],
)
def test_strides(patch, levels, full, expected):
    assert plan_strides(patch, levels, full_resolution=full) == expected


def test_a_patch_that_cannot_be_halved_is_refused():
    with pytest.raises(
        ConfigError, match=r"task.patch_size: size 36 cannot be halved on every level.*multiple of 8"
    ):
        plan_strides((36, 32), 4, full_resolution=False)


@pytest.mark.parametrize("patch", [(16, 24), (16, 24, 8)])
def test_scores_lie_on_the_patch(patch):
    network = build_network(2, 3, (4, 8, 16), plan_strides(patch, 3, full_resolution=False))
    with torch.no_grad():
        assert network(torch.zeros(1, 2, *patch)).shape == (1, 3, *patch)


def test_weights_follow_from_the_seed_alone():
    networks = []
    for seed in (1, 1, 2):
        torch.rand(3)
        network = build_network(1, 2, (4, 8), ((2, 2),))
        initialise(network, torch.Generator().manual_seed(seed))
        networks.append(torch.cat([p.detach().ravel() for p in network.parameters()]))
    assert torch.equal(networks[0], networks[1])
    assert not torch.equal(networks[0], networks[2])
    assert parameter_count(network) == networks[0].numel()


def test_group_norm_is_instance_norm():
    network = build_network(1, 2, (4, 8), ((2, 2),))
    found = [module for module in network.modules() if isinstance(module, torch.nn.GroupNorm)]
    image = torch.randn(2, found[0].num_channels, 6, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found[0](image), torch.nn.functional.instance_norm(image), atol=1e-5)
    assert not any(isinstance(module, torch.nn.InstanceNorm2d) for module in network.modules())
