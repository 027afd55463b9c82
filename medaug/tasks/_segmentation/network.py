"""The networks: MONAI's U-Net, DynUNet, SegResNet and Swin UNETR, in 2D and 3D, one builder each.

Instance norm is computed as group norm where a network has it, the layout in memory is the one that is fast on CPU and
GPU, and :func:`initialise` draws all weights from one generator, so that a seed names a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final, Literal, cast, final

import torch
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.swin_unetr import SwinUNETR
from monai.networks.nets.unet import UNet
from monai.utils.module import optional_import
from torch import nn

from medaug.core.errors import ConfigError, DependencyError
from medaug.engine.launch import memory_format

NetworkKind = Literal["unet", "dynunet", "segresnet", "swinunetr"]
Steps = tuple[tuple[int, ...], ...]

SWIN_STEPS: Final = 5  # one by the embedding, four by merging
SWIN_WIDTHS: Final = 12
_SMALLEST = 4  # voxels an axis keeps at the bottom of the U
_SLOPE = 0.01
_NORM = ("instance", {"affine": True})
_ACT = ("leakyrelu", {"negative_slope": _SLOPE, "inplace": True})
_GROUPS = 8
_HEADS = (3, 6, 12, 24)
_DEVIATION = 0.02  # of a transformer's first weights


@final
@dataclass(frozen=True, slots=True)
class Style:
    """Which network, and what only some of them take.

    Attributes:
        kind: The network.
        kernels: Of every level, one number an axis (DynUNet); empty: 3 everywhere.
        deep_supervision: While training, answer from coarser levels, too (DynUNet).
    """

    kind: NetworkKind = "unet"
    kernels: Steps = ()
    deep_supervision: bool = False


def plan_strides(patch: tuple[int, ...], levels: int, *, full_resolution: bool) -> Steps:
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


def even_strides(patch: tuple[int, ...], steps: int) -> Steps:
    """Every axis halved at every step, as SegResNet and Swin UNETR do.

    Raises:
        ConfigError: If a size of the patch cannot be halved as often as that.
    """
    odd = [size for size in patch if size % 2**steps]
    if odd:
        raise ConfigError(
            f"size {odd[0]} cannot be halved {steps} times",
            where="task.patch_size",
            expected=f"a multiple of {2**steps}",
        )
    if max(patch) == 2**steps:
        raise ConfigError(
            f"a patch of {max(patch)} is halved {steps} times to a single voxel",
            where="task.patch_size",
            expected=f"a side of at least {2 ** (steps + 1)}",
        )
    return ((2,) * len(patch),) * steps


def build_network(
    in_channels: int,
    out_channels: int,
    widths: tuple[int, ...],
    strides: Steps,
    style: Style = Style(),
) -> nn.Module:
    """The network, in the layout that is fast on CPU and GPU.

    Args:
        in_channels: Channels of the image.
        out_channels: Classes, background included.
        widths: Feature channels of every level.
        strides: Of every step down, one number an axis.
        style: Which network.

    Raises:
        DependencyError: If the network needs a package that is not here.
    """
    network = _BUILDERS[style.kind](in_channels, out_channels, widths, strides, style)
    _use_group_norm(network)
    network.to(memory_format=memory_format(len(strides[0])))  # type: ignore[call-overload]  # missing in torch's annotations
    return network


def _unet(
    in_channels: int, out_channels: int, widths: tuple[int, ...], strides: Steps, _: Style
) -> nn.Module:
    """With residual units (Kerfoot et al., STACOM 2018)."""
    return UNet(
        spatial_dims=len(strides[0]),
        in_channels=in_channels,
        out_channels=out_channels,
        channels=widths,
        strides=cast(Sequence[int], strides),  # MONAI takes a tuple a level; its annotation says less
        num_res_units=2,
        norm=_NORM,
        act=_ACT,
    )


def _dynunet(
    in_channels: int, out_channels: int, widths: tuple[int, ...], strides: Steps, style: Style
) -> nn.Module:
    """The U-Net that nnU-Net plans (Isensee et al., Nat Methods 2021); its first level has full resolution."""
    dims = len(strides[0])
    kernels = style.kernels or ((3,) * dims,) * len(widths)
    return DynUNet(
        spatial_dims=dims,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernels,
        strides=((1,) * dims, *strides),
        upsample_kernel_size=strides,
        filters=widths,
        norm_name=_NORM,
        act_name=_ACT,
        deep_supervision=style.deep_supervision,
        deep_supr_num=max(1, len(strides) - 1),
    )


def _segresnet(
    in_channels: int, out_channels: int, widths: tuple[int, ...], strides: Steps, _: Style
) -> nn.Module:
    """Residual encoder with a slight decoder (Myronenko, BrainLes 2018), without its autoencoder."""
    steps = len(strides)
    return SegResNet(
        spatial_dims=len(strides[0]),
        in_channels=in_channels,
        out_channels=out_channels,
        init_filters=widths[0],
        norm=("group", {"num_groups": gcd(_GROUPS, widths[0])}),
        blocks_down=(1, *(2,) * (steps - 1), 4),
        blocks_up=(1,) * steps,
    )


def _swinunetr(
    in_channels: int, out_channels: int, widths: tuple[int, ...], strides: Steps, _: Style
) -> nn.Module:
    """Transformer of shifted windows with a convolutional decoder (Hatamizadeh et al., BrainLes 2021)."""
    if not optional_import("einops")[1]:
        raise DependencyError("network swinunetr needs einops", hint="pip install 'medaug[swin]'")
    return SwinUNETR(
        spatial_dims=len(strides[0]),
        in_channels=in_channels,
        out_channels=out_channels,
        feature_size=widths[0],
        num_heads=_HEADS,
        norm_name=_NORM,
    )


_Builder = Callable[[int, int, tuple[int, ...], Steps, Style], nn.Module]
_BUILDERS: Final[dict[NetworkKind, _Builder]] = {
    "unet": _unet,
    "dynunet": _dynunet,
    "segresnet": _segresnet,
    "swinunetr": _swinunetr,
}


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
    """Draw all weights anew from ``generator``, so that a seed names a network.

    Convolutions after He et al. (ICCV 2015), what a transformer has besides from a narrow normal distribution; norms begin
    as they were built.
    """
    drawn: set[int] = set()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=_SLOPE, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=_DEVIATION, generator=generator)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm):
            drawn.update(id(parameter) for parameter in module.parameters())
            continue
        else:
            continue
        drawn.add(id(module.weight))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
            drawn.add(id(module.bias))
    for parameter in network.parameters():
        if id(parameter) not in drawn:  # tables of relative positions
            nn.init.trunc_normal_(parameter, std=_DEVIATION, generator=generator)
