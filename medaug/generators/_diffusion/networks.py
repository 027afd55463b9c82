"""The network of the diffusion generator: a U-Net of MONAI's diffusion blocks, told class, mask, host and moment.

MONAI's own ``DiffusionModelUNet`` always has attention at the bottom, which needs a further package, and halves every
axis; here thin axes (slices) are left as they are, as in the other generators.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float, Int
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional

from medaug.generators._patches.coarse import zone_of
from medaug.generators._patches.layers import Conditions, Dims, conv, enlarged, halvings, pooled

_GROUPS = 4
_LEVELS = (1, 2, 4)  # widths, in units of the first level's
_TOLD = 4  # width of what says class and moment, in the same


@final
@dataclass(frozen=True, slots=True)
class DiffusionSpec:
    """What the network is built from.

    Attributes:
        dims: Spatial axes, 2 or 3.
        channels: Image channels.
        classes: Length of the class table.
        size: Voxels of a patch along each of the ``dims`` axes.
        base: Channels of the first level.
    """

    dims: Dims
    channels: int
    classes: int
    size: tuple[int, ...]
    base: int


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where lesions are drawn, and as what.

    Attributes:
        filled: (B, C, *S) the host without a lesion, normalised.
        distance: (B, 1, *S) signed distance to the lesion's edge in in-plane voxels, positive inside.
        class_index: (B,) index into the class table.
    """

    filled: Float[Tensor, "B C *S"]
    distance: Float[Tensor, "B 1 *S"]
    class_index: Int[Tensor, " B"]

    @property
    def zone(self) -> Float[Tensor, "B 1 *S"]:
        """1 where voxels are drawn anew."""
        return zone_of(self.distance)


@final
class Denoiser(nn.Module):
    """From a noisy lesion to the velocity that leads to the clean one (Salimans and Ho, ICLR 2022, section 4).

    What diffuses is the difference of the patch to its filled host, in units of its deviation over the training
    lesions; it is 0 outside the zone at all times, so that known voxels are never noised (Palette, Saharia et al.,
    SIGGRAPH 2022, section 3). Filled host, mask and distance are further input channels.
    """

    scale: Tensor
    limit: Tensor

    def __init__(self, spec: DiffusionSpec) -> None:
        super().__init__()
        self.spec = spec
        dims, widths = spec.dims, [spec.base * level for level in _LEVELS]
        told = _TOLD * spec.base
        self.strides = halvings(spec.size, len(widths) - 1)
        self.moment = nn.Sequential(nn.Linear(spec.base, told), nn.SiLU(), nn.Linear(told, told))
        self.embedding = nn.Embedding(spec.classes, told)
        self.stem = conv(dims, 2 * spec.channels + 2, widths[0])
        self.down = nn.ModuleList(
            _block(spec, before, after) for before, after in pairwise([widths[0], *widths])
        )
        self.middle = _block(spec, widths[-1], widths[-1])
        self.up = nn.ModuleList(_block(spec, above + below, above) for above, below in _rising(widths))
        self.norm = nn.GroupNorm(_GROUPS, widths[0])
        self.head = conv(dims, widths[0], spec.channels)
        nn.init.zeros_(self.head.weight)  # type: ignore[arg-type]
        self.register_buffer("scale", torch.ones(1, spec.channels, *(1,) * dims))
        self.register_buffer("limit", torch.ones(()))

    def measure(self, image: Float[Tensor, "N C *S"], filled: Float[Tensor, "N C *S"], zone: Tensor) -> None:
        """Learn in what units the differences of the training lesions are, and how large they get."""
        change = (image - filled) * zone
        axes = [0, *range(2, image.ndim)]
        square = change.square().sum(dim=axes) / zone.sum().clamp(min=1)
        self.scale.copy_(square.sqrt().clamp(min=1e-3).reshape(self.scale.shape))
        self.limit.copy_((change / self.scale).abs().max().clamp(min=1))

    def forward(self, noisy: Float[Tensor, "B C *S"], place: Place, moment: Int[Tensor, " B"]) -> Tensor:
        """The velocity (B, C, *S) at a moment of the diffusion; what it says outside the zone means nothing."""
        told = self.moment(get_timestep_embedding(moment, self.spec.base)) + self.embedding(place.class_index)
        maps = Conditions(place.class_index, 1.0, place.distance).maps
        x = self.stem(torch.cat([noisy, place.filled, maps], dim=1))
        skips: list[Tensor] = []
        for block, stride in zip(self.down, [(1,), *self.strides], strict=True):
            x = block(pooled(x, stride), told)
            skips.append(x)
        x = self.middle(skips.pop(), told)
        for block in self.up:
            skip = skips.pop()
            x = block(torch.cat([enlarged(x, skip), skip], dim=1), told)
        velocity: Tensor = self.head(functional.silu(self.norm(x)))
        return velocity


def _block(spec: DiffusionSpec, inputs: int, outputs: int) -> nn.Module:
    return DiffusionUNetResnetBlock(spec.dims, inputs, _TOLD * spec.base, outputs, norm_num_groups=_GROUPS)


def _rising(widths: list[int]) -> list[tuple[int, int]]:
    """Width of each level and of the one below it, from the bottom up."""
    return list(pairwise(widths))[::-1]


def initialise(net: Denoiser, generator: torch.Generator) -> None:
    """Draw the weights anew from a generator of random numbers (He et al., ICCV 2015).

    What MONAI sets to zero or one stays so: gains of the norms, and the last layer of each residual block.
    """
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.ndim >= 2 and bool(weight.any()):
                fan_in = weight.shape[1] if "embedding" in name else weight[0].numel()
                weight.normal_(0, fan_in**-0.5, generator=generator)
