"""The two networks, one definition for 2D and 3D: the number of spatial axes is a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

Dims = Literal[2, 3]
_STYLE = 64
_CLASS_PLANES = 6
_GAIN = 4.0
_FINE_GAIN = 5.0  # the grain is small beside the levels, and spectral norm forbids the critic to enlarge it
_SMALLEST = 6  # voxels: an axis is not halved below it


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
    """

    dims: Dims
    channels: int
    classes: int
    size: tuple[int, ...]
    base: int
    critic_base: int
    z_size: int


@final
@dataclass(frozen=True, slots=True)
class Conditions:
    """What both networks are told about a batch.

    Attributes:
        class_index: (B,) index into the class table.
        class_weight: 0..1, how much of the class is told; ramped up at the start of training.
        distance: (B, 1, *S) signed distance to the lesion's edge in in-plane voxels, positive inside.
    """

    class_index: Int[Tensor, " B"]
    class_weight: float
    distance: Float[Tensor, "B 1 *S"]

    @property
    def maps(self) -> Float[Tensor, "B 2 *S"]:
        """Mask with a soft edge, and the distance squeezed to -1..1."""
        return torch.cat([torch.sigmoid(4 * self.distance), torch.tanh(self.distance / 6)], dim=1)


@final
class Modulation(nn.Module):
    """Instance norm whose gain and bias come from the maps, place by place, and from the style.

    SPADE of Park et al. (CVPR 2019), with a style term for class and z; the norm is over each sample alone,
    so that a lesion does not depend on what else is in its batch.
    """

    def __init__(self, dims: Dims, channels: int, planes: int) -> None:
        super().__init__()
        hidden = max(12, channels // 2)
        self.norm = nn.InstanceNorm2d(channels) if dims == 2 else nn.InstanceNorm3d(channels)
        self.shared = _conv(dims, planes, hidden)
        self.spatial = _conv(dims, hidden, 2 * channels)
        self.style = nn.Linear(_STYLE, 2 * channels)

    def forward(self, x: Tensor, maps: Tensor, style: Tensor) -> Tensor:
        """Modulate (B, channels, *S) by maps (B, planes, *S) and style (B, 64)."""
        spread = _spread(self.style(style), x.ndim)
        gain, bias = (self.spatial(functional.relu(self.shared(maps))) + spread).chunk(2, dim=1)
        modulated: Tensor = self.norm(x) * (1 + gain) + bias
        return modulated


@final
class DecoderBlock(nn.Module):
    """Convolve, add noise, modulate."""

    def __init__(self, dims: Dims, channels: int, planes: int) -> None:
        super().__init__()
        self.conv = _conv(dims, channels, channels)
        self.noise_gain = nn.Parameter(torch.full((1, channels, *(1,) * dims), 0.1))
        self.modulation = Modulation(dims, channels, planes)

    def forward(self, x: Tensor, maps: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """(B, channels, *S) to the same; noise is (B, 1, *S)."""
        noisy = self.conv(x) + self.noise_gain * noise
        return functional.leaky_relu(self.modulation(noisy, resized(maps, x), style), 0.2)


@final
class LesionNet(nn.Module):
    """U-Net encoder and SPADE decoder; from a patch with a coarse lesion to the residual that refines it."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        dims, base, planes = spec.dims, spec.base, 2 + _CLASS_PLANES
        widths = [base, 2 * base, 6 * base]
        self.strides = _strides(spec.size, 2)
        self.embedding = nn.Embedding(spec.classes, 32)
        self.class_planes = nn.Linear(32, _CLASS_PLANES)
        self.style = nn.Sequential(
            nn.Linear(32 + spec.z_size, _STYLE), nn.LeakyReLU(0.2), nn.Linear(_STYLE, _STYLE)
        )
        self.stem = _conv(dims, spec.channels + 2, base)
        self.down = nn.ModuleList(_conv(dims, widths[n], widths[n + 1]) for n in (0, 1))
        self.middle = nn.ModuleList(DecoderBlock(dims, widths[2], planes) for _ in (0, 1))
        self.narrow = nn.ModuleList(_conv(dims, widths[n + 1], widths[n]) for n in (1, 0))
        self.up = nn.ModuleList(DecoderBlock(dims, widths[n], planes) for n in (1, 0))
        self.head = _conv(dims, base, spec.channels)
        half = tuple(n // s for n, s in zip(spec.size, self.strides[0], strict=True))
        quarter = tuple(n // s for n, s in zip(half, self.strides[1], strict=True))
        self.noise_shapes = (quarter, quarter, half, tuple(spec.size))

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
        maps = torch.cat([told, told[:, :1] * _spread(self.class_planes(embedded), told.ndim)], dim=1)
        x = functional.leaky_relu(self.stem(torch.cat([coarse, told], dim=1)), 0.2)
        skips = []
        for conv, stride in zip(self.down, self.strides, strict=True):
            skips.append(x)
            x = functional.leaky_relu(conv(_pool(x, stride)), 0.2)
        for block, field in zip(self.middle, noise[:2], strict=True):
            x = block(x, maps, style, field)
        for narrow, block, skip, field in zip(self.narrow, self.up, reversed(skips), noise[2:], strict=True):
            x = _enlarged(narrow(x), skip)
            x = block(x + skip, maps, style, field)
        residual: Tensor = self.head(x)
        return residual


@final
class Critic(nn.Module):
    """Patch-wise discriminator with spectral norm and class projection; sees image and mask.

    Projection as in Miyato and Koyama (ICLR 2018), at every place of the last map; the places are weighted by
    how much of the edited zone they see, since everything else is the same in a real and a made patch.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        widths = [2 * spec.channels + 2, spec.critic_base, 2 * spec.critic_base, 4 * spec.critic_base]
        strides = [*_strides(spec.size, 2), (1,) * spec.dims]
        self.layers = nn.ModuleList(
            spectral_norm(_conv(spec.dims, widths[n], widths[n + 1], stride=strides[n])) for n in range(3)
        )
        self.score = spectral_norm(_conv(spec.dims, widths[3], 1, kernel=1))
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
        placed = (x * _spread(told, x.ndim)).sum(dim=1, keepdim=True)
        return self.log_gain.exp() * zone_mean(self.score(x) + placed, zone).squeeze(1), features


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew from a generator of random numbers (He et al., ICCV 2015); biases become 0."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("_gain"):
                continue
            if weight.ndim < 2:
                weight.zero_()
            else:
                fan_in = weight[0].numel()
                deviation = 1.0 if "embedding" in name else (2 / fan_in) ** 0.5
                weight.normal_(
                    0, 0.1 * deviation if name.startswith("head") else deviation, generator=generator
                )
        for name, vector in module.named_buffers():
            if name.endswith(("._u", "._v")):  # the power iteration of spectral_norm
                vector.copy_(functional.normalize(vector.normal_(generator=generator), dim=0))


def zone_mean(values: Float[Tensor, "B C *S"], zone: Float[Tensor, "B 1 *T"]) -> Float[Tensor, "B C"]:
    """Mean of each channel over the zone, which is brought to the size of the values."""
    weight = resized(zone, values) + 1e-6
    axes = tuple(range(2, values.ndim))
    return (values * weight).sum(dim=axes) / weight.sum(dim=axes)


def resized(maps: Float[Tensor, "B C *S"], like: Float[Tensor, "B D *T"]) -> Float[Tensor, "B C *T"]:
    """Maps averaged down to the size of another tensor."""
    size = like.shape[2:]
    if maps.shape[2:] == size:
        return maps
    return functional.interpolate(maps, size=size, mode="area")


def _conv(
    dims: Dims, inputs: int, outputs: int, *, kernel: int = 3, stride: tuple[int, ...] | int = 1
) -> nn.Module:
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    return kind(inputs, outputs, kernel, stride=stride, padding=kernel // 2)  # type: ignore[arg-type]


def _strides(size: Sequence[int], depth: int) -> list[tuple[int, ...]]:
    """How each level halves the axes; thin axes (slices) are left as they are."""
    strides, now = [], list(size)
    for _ in range(depth):
        stride = tuple(2 if n % 2 == 0 and n // 2 >= _SMALLEST else 1 for n in now)
        strides.append(stride)
        now = [n // s for n, s in zip(now, stride, strict=True)]
    return strides


def _spread(vector: Tensor, ndim: int) -> Tensor:
    """(B, C) to (B, C, 1, ...) of ``ndim`` axes."""
    return vector.reshape(*vector.shape, *(1,) * (ndim - 2))


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Interpolated linearly; repeating voxels instead leaves a grid in large lesions."""
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return functional.interpolate(x, size=like.shape[2:], mode=mode, align_corners=False)


def _blurred(image: Tensor) -> Tensor:
    """Mean over 3 voxels along every axis."""
    pool = functional.avg_pool2d if image.ndim == 4 else functional.avg_pool3d
    return pool(image, 3, stride=1, padding=1, count_include_pad=False)


def _pool(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    if max(stride) == 1:
        return x
    return functional.avg_pool2d(x, stride) if x.ndim == 4 else functional.avg_pool3d(x, stride)
