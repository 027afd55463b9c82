"""The two networks, one definition for 2D and 3D: the number of spatial axes is a parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from medaug.generators._cgan.attention import Attention
from medaug.generators._patches.layers import (
    STYLE,
    Conditions,
    Dims,
    Modulation,
    conv,
    enlarged,
    halvings,
    pooled,
    resized,
    spread,
    zone_mean,
)

_CLASS_PLANES = 6
_PATTERN = {2: 24, 3: 12}  # voxels of the pattern of z along an axis at most
_SHARED = 0.5  # amplitude of the noise beside the pattern of z
_GAIN = 4.0
_FINE_GAIN = 5.0  # the grain is small beside the levels, and spectral norm forbids the critic to enlarge it


@final
@dataclass(frozen=True, slots=True)
class NetSpec:
    """What both networks are built from.

    Attributes:
        dims: Spatial axes, 2 or 3.
        channels: Image channels.
        classes: Length of the class table.
        size: Voxels of a patch along each of the ``dims`` axes.
        base: Channels of the generator's first level.
        critic_base: Channels of the discriminator's first level.
        z_size: Length of z.
        attention: Transformer blocks at the bottleneck.
    """

    dims: Dims
    channels: int
    classes: int
    size: tuple[int, ...]
    base: int
    critic_base: int
    z_size: int
    attention: int = 0


@final
class DecoderBlock(nn.Module):
    """Convolve, add noise, modulate."""

    def __init__(self, dims: Dims, channels: int, planes: int) -> None:
        super().__init__()
        self.conv = conv(dims, channels, channels)
        self.noise_gain = nn.Parameter(torch.full((1, channels, *(1,) * dims), 0.1))
        self.loudness = nn.Linear(STYLE, channels)
        self.modulation = Modulation(dims, channels, planes)

    def forward(self, x: Tensor, maps: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """(B, channels, *S) to the same; noise is (B, 1, *S)."""
        loud = 1 + 0.5 * spread(torch.tanh(self.loudness(style)), x.ndim)
        noisy = self.conv(x) + self.noise_gain * loud * noise
        return functional.leaky_relu(self.modulation(noisy, resized(maps, x), style), 0.2)


@final
class LesionNet(nn.Module):
    """U-Net encoder and SPADE decoder; from a patch with a coarse lesion to the residual that refines it."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        dims, base, planes = spec.dims, spec.base, 2 + _CLASS_PLANES
        widths = [base, 2 * base, 6 * base]
        self.strides = halvings(spec.size, 2)
        self.embedding = nn.Embedding(spec.classes, 32)
        self.class_planes = nn.Linear(32, _CLASS_PLANES)
        self.style = nn.Sequential(
            nn.Linear(32 + spec.z_size, STYLE), nn.LeakyReLU(0.2), nn.Linear(STYLE, STYLE)
        )
        self.stem = conv(dims, spec.channels + 2, base)
        self.down = nn.ModuleList(conv(dims, widths[n], widths[n + 1]) for n in (0, 1))
        self.middle = nn.ModuleList(DecoderBlock(dims, widths[2], planes) for _ in (0, 1))
        self.attention: nn.Module | None = None
        self.narrow = nn.ModuleList(conv(dims, widths[n + 1], widths[n]) for n in (1, 0))
        self.up = nn.ModuleList(DecoderBlock(dims, widths[n], planes) for n in (1, 0))
        self.head = conv(dims, base, spec.channels)
        half = tuple(n // s for n, s in zip(spec.size, self.strides[0], strict=True))
        quarter = tuple(n // s for n, s in zip(half, self.strides[1], strict=True))
        self.noise_shapes = (quarter, quarter, half, tuple(spec.size))
        if spec.attention:
            self.attention = Attention(widths[2], quarter, spec.attention)
        most = _PATTERN[dims]
        self.pattern_shapes = [tuple(min(n, most) for n in shape) for shape in (quarter, half)]
        self.patterns = nn.ModuleList(nn.Linear(spec.z_size, math.prod(s)) for s in self.pattern_shapes)

    def forward(self, coarse: Tensor, conditions: Conditions, z: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """The residual to add to the coarse patch.

        Args:
            coarse: (B, C, *S) normalised patch with the coarse lesion.
            conditions: Class and mask.
            z: (B, z_size) standard normal.
            noise: One (B, 1, *S) standard normal map for each of ``noise_shapes``.
        """
        embedded = conditions.class_weight * self.embedding(conditions.class_index)
        style = self.style(torch.cat([embedded, z], dim=1))
        told = conditions.maps
        maps = torch.cat([told, told[:, :1] * spread(self.class_planes(embedded), told.ndim)], dim=1)
        x = functional.leaky_relu(self.stem(torch.cat([coarse, told], dim=1)), 0.2)
        skips = []
        for step_down, stride in zip(self.down, self.strides, strict=True):
            skips.append(x)
            x = functional.leaky_relu(step_down(pooled(x, stride)), 0.2)
        fields = self._patterned(z, noise)
        for block, field in zip(self.middle, fields[:2], strict=True):
            x = block(x, maps, style, field)
        x = x if self.attention is None else self.attention(x)
        for narrow, block, skip, field in zip(self.narrow, self.up, reversed(skips), fields[2:], strict=True):
            x = enlarged(narrow(x), skip)
            x = block(x + skip, maps, style, field)
        residual: Tensor = self.head(x)
        return residual

    def _patterned(self, z: Tensor, noise: Sequence[Tensor]) -> list[Tensor]:
        """The broad noise maps with the pattern that belongs to z added, so that z tells where a lesion is mottled."""
        fields = list(noise)
        for number, (pattern, shape) in enumerate(zip(self.patterns, self.pattern_shapes, strict=True), 1):
            drawn = pattern(z).reshape(len(z), 1, *shape)
            fields[number] = _SHARED * fields[number] + (1 - _SHARED**2) ** 0.5 * enlarged(
                drawn, fields[number]
            )
        return fields


@final
class Critic(nn.Module):
    """Patch-wise discriminator with spectral norm and class projection; sees image and mask.

    Projection as in Miyato and Koyama (ICLR 2018), at every place of the last map; the places are weighted by
    how much of the edited zone they see, since everything else is the same in a real and a made patch.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        widths = [2 * spec.channels + 2, spec.critic_base, 2 * spec.critic_base, 4 * spec.critic_base]
        strides = [*halvings(spec.size, 2), (1,) * spec.dims]
        self.layers = nn.ModuleList(
            spectral_norm(conv(spec.dims, widths[n], widths[n + 1], stride=strides[n])) for n in range(3)
        )
        self.score = spectral_norm(conv(spec.dims, widths[3], 1, kernel=1))
        self.embedding = spectral_norm(nn.Embedding(spec.classes, widths[3]))
        # three normalised layers change little over a lesion of a few voxels: without a gain the hinge stays idle
        self.log_gain = nn.Parameter(torch.tensor(_GAIN).log())

    def forward(self, image: Tensor, conditions: Conditions, zone: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (B,) and the features of each level.

        Args:
            image: (B, C, *S) normalised, real or made.
            conditions: Class and mask of the lesion.
            zone: (B, 1, *S) 0..1, where a made image may differ from its host.
        """
        fine = _FINE_GAIN * (image - _blurred(image))
        x = torch.cat([image, fine, conditions.maps], dim=1)
        features = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            features.append(x)
        told = conditions.class_weight * self.embedding(conditions.class_index)
        placed = (x * spread(told, x.ndim)).sum(dim=1, keepdim=True)
        return self.log_gain.exp() * zone_mean(self.score(x) + placed, zone).squeeze(1), features


def _blurred(image: Tensor) -> Tensor:
    """Mean over 3 voxels along every axis."""
    pool = functional.avg_pool2d if image.ndim == 4 else functional.avg_pool3d
    return pool(image, 3, stride=1, padding=1, count_include_pad=False)
