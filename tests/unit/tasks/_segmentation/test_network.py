"""The network: strides that fit the patch, weights that follow from the seed."""

from __future__ import annotations

import pytest
import torch

from medaug.core.errors import ConfigError, DependencyError
from medaug.tasks._segmentation import network as networks
from medaug.tasks._segmentation.network import (
    Style,
    build_network,
    even_strides,
    initialise,
    plan_strides,
)
from medaug.tasks._training.optimiser import parameter_count

SMALL = {
    "unet": ((4, 8, 16), 2),
    "dynunet": ((4, 8, 16), 2),
    "segresnet": ((4, 8, 16), 2),
    "swinunetr": ((12, 12, 24, 48, 96, 192), 5),
}


def small(kind, patch, *, deep=False):
    widths, steps = SMALL[kind]
    return build_network(2, 3, widths, even_strides(patch, steps), Style(kind, deep_supervision=deep))


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


@pytest.mark.parametrize("size", [36, 8])
def test_a_patch_that_cannot_be_halved_evenly_is_refused(size):
    with pytest.raises(ConfigError, match=rf"task.patch_size: size {size} cannot be halved 4 times; .*of 16"):
        even_strides((32, size), 4)


def test_a_patch_that_would_end_as_one_voxel_is_refused():
    with pytest.raises(
        ConfigError, match=r"task\.patch_size: a patch of 32 is halved 5 times to a single voxel"
    ):
        even_strides((32, 32, 32), 5)
    assert even_strides((32, 64), 5) == ((2, 2),) * 5


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("patch", [(32, 64), (32, 32, 64)])
def test_scores_lie_on_the_patch(kind, patch):
    network = small(kind, patch).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 2, *patch)).shape == (1, 3, *patch)


@pytest.mark.parametrize("kind", SMALL)
def test_weights_follow_from_the_seed_alone(kind):
    drawn = []
    for seed in (1, 1, 2):
        torch.rand(3)
        network = small(kind, (32, 64))
        initialise(network, torch.Generator().manual_seed(seed))
        drawn.append(torch.cat([p.detach().ravel() for p in network.parameters()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert parameter_count(network) == drawn[0].numel()


@pytest.mark.parametrize("kind", SMALL)
def test_no_network_computes_instance_norm(kind):
    names = {type(module).__name__ for module in small(kind, (32, 32, 64)).modules()}
    assert "GroupNorm" in names
    assert not any(name.startswith("InstanceNorm") for name in names)


def test_deep_supervision_answers_from_coarser_levels_while_training_alone():
    network, image = small("dynunet", (16, 16), deep=True), torch.zeros(2, 2, 16, 16)
    with torch.no_grad():
        assert network.train()(image).shape == (2, 2, 3, 16, 16)
        assert network.eval()(image).shape == (2, 3, 16, 16)


def test_dynunet_leaves_a_coarse_axis_alone_where_the_plan_says_so():
    kernels = ((3, 3, 1), (3, 3, 3), (3, 3, 3))
    network = build_network(1, 2, (4, 8, 16), ((2, 2, 1), (2, 2, 2)), Style("dynunet", kernels=kernels))
    first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv3d))
    assert first.kernel_size == (3, 3, 1)
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 16, 16, 8)).shape == (1, 2, 16, 16, 8)


def test_without_einops_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(networks, "optional_import", lambda name: (None, False))
    with pytest.raises(DependencyError, match=r"swinunetr needs einops.*medaug\[swin\]"):
        small("swinunetr", (32, 64))


def test_group_norm_is_instance_norm():
    network = build_network(1, 2, (4, 8), ((2, 2),))
    found = [module for module in network.modules() if isinstance(module, torch.nn.GroupNorm)]
    image = torch.randn(2, found[0].num_channels, 6, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found[0](image), torch.nn.functional.instance_norm(image), atol=1e-5)
    assert not any(isinstance(module, torch.nn.InstanceNorm2d) for module in network.modules())
