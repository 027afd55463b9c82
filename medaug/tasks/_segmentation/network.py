"""The network: MONAI's U-Net with residual units and instance norm, in 2D and 3D from one definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from monai.networks.nets.unet import UNet
from torch import nn

from medaug.core.errors import ConfigError
from medaug.engine.launch import memory_format

_SMALLEST = 4  # voxels an axis keeps at the bottom of the U
_SLOPE = 0.01


def plan_strides(
    patch: tuple[int, ...], levels: int, *, full_resolution: bool
) -> tuple[tuple[int, ...], ...]:
    """How much each step down shrinks each axis: by 2 until an axis would fall below four voxels.

    Raises:
        ConfigError: If a size of the patch cannot be halved as often as that.
    """
    strides: list[tuple[int, ...]] = []
    sizes = list(patch)
    for level in range(levels - 1):
        keep = full_resolution and level == 0
        stride = tuple(1 if keep or size < 2 * _SMALLEST else 2 for size in sizes)
        odd = [n for n, (size, step) in enumerate(zip(sizes, stride, strict=True)) if size % step]
        if odd:
            raise ConfigError(
                f"size {patch[odd[0]]} cannot be halved on every level",
                where="task.patch_size",
                expected=f"a multiple of {2 ** (level + 1)} or less levels",
            )
        sizes = [size // step for size, step in zip(sizes, stride, strict=True)]
        strides.append(stride)
    return tuple(strides)


def build_network(
    in_channels: int, out_channels: int, widths: tuple[int, ...], strides: tuple[tuple[int, ...], ...]
) -> nn.Module:
    """MONAI's U-Net (Kerfoot et al., STACOM 2018), in the layout that is fast on CPU and GPU.

    Args:
        in_channels: Channels of the image.
        out_channels: Classes, background included.
        widths: Feature channels of every level.
        strides: Of every step down, one number an axis.
    """
    dims = len(strides[0])
    network: nn.Module = UNet(
        spatial_dims=dims,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=widths,
        strides=cast(Sequence[int], strides),  # MONAI takes a tuple a level; its annotation says less
        num_res_units=2,
        norm=("instance", {"affine": True}),
        act=("leakyrelu", {"negative_slope": _SLOPE, "inplace": True}),
    )
    _use_group_norm(network)
    network.to(memory_format=memory_format(dims))  # type: ignore[call-overload]  # missing in torch's annotations
    return network


def _use_group_norm(module: nn.Module) -> None:
    """Replace instance norm by group norm with a group a channel: the same figures, but it keeps channels_last.

    torch computes instance norm by a copy to the contiguous layout and back, a sixth of a training step.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.InstanceNorm2d | nn.InstanceNorm3d):
            setattr(module, name, nn.GroupNorm(child.num_features, child.num_features, eps=child.eps))
        else:
            _use_group_norm(child)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew from ``generator`` (He et al., ICCV 2015), so that a seed names a network."""
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            continue
        nn.init.kaiming_normal_(module.weight, a=_SLOPE, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def parameter_count(network: nn.Module) -> int:
    """How many numbers are learned."""
    return int(np.sum([parameter.numel() for parameter in network.parameters()]))
