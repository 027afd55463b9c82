"""Label map to image: a SPADE decoder (Park et al., CVPR 2019) and a patch discriminator, for 2D and 3D.

The decoder begins with the label map on its coarsest level and z. What it draws is added to the mean level of each
label, so that training begins at a cartoon of the image and learns what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

Dims = Literal[2, 3]
_LEVELS = 4
_STYLE = 48
_FINE_GAIN = 4.0
_SMALLEST = 4


@final
@dataclass(frozen=True, slots=True)
class NetSpec:
    """What both networks are built from.

    Attributes:
        dims: Spatial axes.
        channels: Of the images.
        planes: Labels of the maps, the outside of the body included.
        size: Of the images, voxels.
        base: Channels of the decoder's finest level.
        critic_base: Channels of the discriminator's finest level.
        z_size: Length of z.
    """

    dims: Dims
    channels: int
    planes: int
    size: tuple[int, ...]
    base: int
    critic_base: int
    z_size: int


@final
@dataclass(frozen=True, slots=True)
class Chance:
    """All that is random in a batch of images.

    Attributes:
        z: (B, z_size) standard normal.
        grain: (B, C) strength of the scan's fine texture, standardised over the training cases.
        fields: (B, 1, *S) standard normal, one for each noise input of the decoder, coarse to fine.
    """

    z: Float[Tensor, "B Z"]
    grain: Float[Tensor, "B C"]
    fields: tuple[Tensor, ...]

    def to(self, device: torch.device) -> Chance:
        """The same on a device."""
        return Chance(
            self.z.to(device), self.grain.to(device), tuple(field.to(device) for field in self.fields)
        )


@final
class _Modulation(nn.Module):
    """Instance norm whose gain and bias come from the map, place by place, and from the style; each sample alone."""

    def __init__(self, dims: Dims, channels: int, planes: int) -> None:
        super().__init__()
        hidden = max(16, channels // 2)
        self.norm = nn.InstanceNorm2d(channels) if dims == 2 else nn.InstanceNorm3d(channels)
        self.shared = _conv(dims, planes, hidden)
        self.spatial = _conv(dims, hidden, 2 * channels)
        self.style = nn.Linear(_STYLE, 2 * channels)

    def forward(self, x: Tensor, maps: Tensor, style: Tensor) -> Tensor:
        """Modulate (B, channels, *S)."""
        gain, bias = (
            self.spatial(functional.relu(self.shared(maps))) + _spread(self.style(style), x.ndim)
        ).chunk(2, 1)
        modulated: Tensor = self.norm(x) * (1 + gain) + bias
        return modulated


@final
class _Block(nn.Module):
    """Noise, modulation and convolution, twice, around a shortcut."""

    def __init__(self, dims: Dims, inputs: int, outputs: int, planes: int) -> None:
        super().__init__()
        self.first, self.second = _Modulation(dims, inputs, planes), _Modulation(dims, outputs, planes)
        self.conv_first, self.conv_second = _conv(dims, inputs, outputs), _conv(dims, outputs, outputs)
        self.shortcut = _conv(dims, inputs, outputs, kernel=1) if inputs != outputs else nn.Identity()
        self.noise_gain = nn.Parameter(torch.full((1, outputs, *(1,) * dims), 0.1))

    def forward(self, x: Tensor, maps: tuple[Tensor, Tensor], style: Tensor, noise: Tensor) -> Tensor:
        """(B, inputs, *R) to (B, outputs, *S): narrowed on the coarse level already, which is several times faster.

        Args:
            x: Of the level before.
            maps: Labels on the level before, and on this one.
            style: (B, 48).
            noise: (B, 1, *S).
        """
        shape = tuple(noise.shape[2:])
        y = self.conv_first(functional.leaky_relu(self.first(x, maps[0], style), 0.2))
        y = _enlarged(y, shape) + self.noise_gain * noise
        y = self.conv_second(functional.leaky_relu(self.second(y, maps[1], style), 0.2))
        drawn: Tensor = _enlarged(self.shortcut(x), shape) + y
        return drawn


@final
class ImageNet(nn.Module):
    """Draws an image of a label map.

    Args:
        spec: What it is built from.
        levels: (planes, C) mean of each label, normalised; the cartoon that it adds to.
    """

    levels: Tensor

    def __init__(self, spec: NetSpec, levels: Float[Tensor, "planes C"]) -> None:
        super().__init__()
        self.spec = spec
        self.shapes = pyramid(spec.size)
        widths = [min(spec.base * 2**n, 6 * spec.base) for n in range(_LEVELS + 1)][::-1]
        self.register_buffer("levels", levels)
        self.told = nn.Linear(spec.z_size + spec.channels, _STYLE)
        self.stem = _conv(spec.dims, spec.planes, widths[0])
        self.place = nn.Linear(_STYLE, widths[0])
        steps = zip([widths[0], *widths[:-1]], widths, strict=True)
        self.blocks = nn.ModuleList(_Block(spec.dims, a, b, spec.planes) for a, b in steps)
        self.head = _conv(spec.dims, widths[-1], spec.channels)
        self.head_gain = nn.Parameter(torch.full((1, spec.channels, *(1,) * spec.dims), 0.05))

    def forward(self, maps: Float[Tensor, "B P *S"], chance: Chance) -> Float[Tensor, "B C *S"]:
        """Images of one-hot maps, normalised."""
        small = [_resized(maps, shape) for shape in self.shapes]
        style = functional.leaky_relu(self.told(torch.cat([chance.z, chance.grain], dim=1)), 0.2)
        x = self.stem(small[0]) + _spread(self.place(style), maps.ndim)
        pairs = zip([small[0], *small[:-1]], small, strict=True)
        for block, told, noise in zip(self.blocks, pairs, chance.fields, strict=True):
            x = block(x, told, style, noise)
        cartoon = torch.einsum("bp...,pc->bc...", _softened(maps), self.levels)
        fine = self.head_gain * chance.fields[-1] * torch.exp(0.5 * _spread(chance.grain, maps.ndim))
        drawn: Tensor = cartoon + self.head(functional.leaky_relu(x, 0.2)) + fine
        return drawn


@final
class PatchCritic(nn.Module):
    """Patch-wise discriminator with spectral norm; sees image, its fine part and the label map."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        widths = [
            2 * spec.channels + spec.planes,
            spec.critic_base,
            2 * spec.critic_base,
            4 * spec.critic_base,
        ]
        shape, strides = list(spec.size), []
        for _ in range(3):
            strides.append(tuple(2 if n >= 2 * _SMALLEST and n % 2 == 0 else 1 for n in shape))
            shape = [n // s for n, s in zip(shape, strides[-1], strict=True)]
        self.layers = nn.ModuleList(
            spectral_norm(_conv(spec.dims, widths[n], widths[n + 1], stride=strides[n])) for n in range(3)
        )
        self.score = spectral_norm(_conv(spec.dims, widths[3], 1))

    def forward(self, image: Tensor, maps: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (B, 1, *T) and the features of each level."""
        pool = functional.avg_pool2d if image.ndim == 4 else functional.avg_pool3d
        fine = _FINE_GAIN * (image - pool(image, 3, stride=1, padding=1, count_include_pad=False))
        x, features = torch.cat([image, fine, maps], dim=1), []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            features.append(x)
        return 4.0 * self.score(x), features


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew from a generator of random numbers (He et al., ICCV 2015); biases become 0."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("_gain"):
                continue
            if weight.ndim < 2:
                weight.zero_()
                continue
            deviation = (2 / weight[0].numel()) ** 0.5
            weight.normal_(0, 0.1 * deviation if name.startswith("head") else deviation, generator=generator)
        for name, vector in module.named_buffers():
            if name.endswith(("._u", "._v")):  # the power iteration of spectral_norm
                vector.copy_(functional.normalize(vector.normal_(generator=generator), dim=0))


def pyramid(size: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Shapes of the decoder's levels, coarse to fine; thin axes (slices) are halved no further than four voxels."""
    shapes = [tuple(size)]
    for _ in range(_LEVELS):
        shapes.append(tuple(n // 2 if n % 2 == 0 and n >= 2 * _SMALLEST else n for n in shapes[-1]))
    return tuple(shapes[::-1])


def draw_fields(
    spec: NetSpec, count: int, kept: float, rng: np.random.Generator
) -> tuple[Float[Tensor, "B 1 *S"], ...]:
    """Noise for the decoder's levels; but for the finest, neighbouring images resemble each other by ``kept``."""
    fields = []
    for shape in pyramid(spec.size):
        rows = rng.standard_normal((count, 1, *shape), dtype=np.float32)
        if shape != spec.size:
            for n in range(1, count):
                rows[n] = kept * rows[n - 1] + (1 - kept**2) ** 0.5 * rows[n]
        fields.append(torch.from_numpy(rows))
    return tuple(fields)


def _conv(
    dims: Dims, inputs: int, outputs: int, *, kernel: int = 3, stride: tuple[int, ...] | int = 1
) -> nn.Module:
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    return kind(inputs, outputs, kernel, stride=stride, padding=kernel // 2)  # type: ignore[arg-type]


def _spread(vector: Tensor, ndim: int) -> Tensor:
    return vector.reshape(*vector.shape, *(1,) * (ndim - 2))


def _resized(maps: Tensor, shape: tuple[int, ...]) -> Tensor:
    return maps if tuple(maps.shape[2:]) == shape else functional.interpolate(maps, size=shape, mode="area")


def _softened(maps: Tensor) -> Tensor:
    """Labels with edges about as wide as a scanner's: means over three voxels in plane."""
    if maps.ndim == 4:
        return functional.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
    return functional.avg_pool3d(maps, (3, 3, 1), 1, (1, 1, 0), count_include_pad=False)


def _enlarged(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(x.shape[2:]) == shape:
        return x
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return functional.interpolate(x, size=shape, mode=mode, align_corners=False)
