"""The network: a small residual or densely connected one of MONAI, in 2D and 3D from one definition."""

from __future__ import annotations

import torch
from monai.networks.nets.densenet import DenseNet
from monai.networks.nets.resnet import ResNet
from torch import nn

from medaug.core.errors import ConfigError
from medaug.tasks._classification.planning import NetworkKind

_LEAST = {"resnet": 8, "densenet": 16}  # voxels an axis needs to be halved as often


def build_network(
    kind: NetworkKind, dims: int, in_channels: int, classes: int, base_channels: int
) -> nn.Module:
    """A classifier with batch norm: unlike the norm of a sample, it keeps how bright a lesion is.

    Args:
        kind: ``resnet`` (He et al., CVPR 2016) of four blocks, or ``densenet`` (Huang et al., CVPR 2017) of nine layers.
        dims: 2 or 3.
        in_channels: Channels of the input.
        classes: Numbers it answers with.
        base_channels: Features at full resolution; doubled on every level of the ``resnet``.
    """
    network: nn.Module
    if kind == "densenet":
        network = DenseNet(
            spatial_dims=dims,
            in_channels=in_channels,
            out_channels=classes,
            init_features=2 * base_channels,
            growth_rate=base_channels,
            block_config=(3, 3, 3),
        )
    else:
        network = ResNet(
            "basic",
            [1, 1, 1, 1],
            [base_channels * 2**level for level in range(4)],
            spatial_dims=dims,
            n_input_channels=in_channels,
            conv1_t_size=3,
            no_max_pool=True,
            num_classes=classes,
        )
    return network


def check_patch(kind: NetworkKind, patch: tuple[int, ...]) -> None:
    """Raise ConfigError where an axis of the patch is too small for the network."""
    if min(patch) < _LEAST[kind]:
        raise ConfigError(
            f"patches of {' x '.join(map(str, patch))} voxels are too small for a {kind}",
            where="task.patch_size",
            expected=f"at least {_LEAST[kind]} an axis",
        )


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew from ``generator``, so that a seed names a network; norms begin as they were built."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
