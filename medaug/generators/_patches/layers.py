"""The layers of the generators' networks, one definition for 2D and 3D: the number of spatial axes is a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

Dims = Literal[2, 3]
STYLE = 64  # length of the vector that says class and z
_SMALLEST = 6  # voxels: an axis is not halved below it


@final
@dataclass(frozen=True, slots=True)
class Conditions:
    """What both networks are conditioned on, for a batch.

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
        self.shared = conv(dims, planes, hidden)
        self.spatial = conv(dims, hidden, 2 * channels)
        self.style = nn.Linear(STYLE, 2 * channels)

    def forward(self, x: Tensor, maps: Tensor, style: Tensor) -> Tensor:
        """Modulate (B, channels, *S) by maps (B, planes, *S) and style (B, 64)."""
        everywhere = spread(self.style(style), x.ndim)
        gain, bias = (self.spatial(functional.relu(self.shared(maps))) + everywhere).chunk(2, dim=1)
        modulated: Tensor = self.norm(x) * (1 + gain) + bias
        return modulated


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew from a generator of random numbers (He et al., ICCV 2015); biases become 0."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("_gain") or ("norm" in name and name.endswith("weight")):
                continue  # they begin as they were built
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


def conv(
    dims: Dims, inputs: int, outputs: int, *, kernel: int = 3, stride: tuple[int, ...] | int = 1
) -> nn.Module:
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    return kind(inputs, outputs, kernel, stride=stride, padding=kernel // 2)  # type: ignore[arg-type]


def halvings(size: Sequence[int], depth: int) -> list[tuple[int, ...]]:
    """How each level halves the axes; thin axes (slices) are left as they are."""
    strides, now = [], list(size)
    for _ in range(depth):
        stride = tuple(2 if n % 2 == 0 and n // 2 >= _SMALLEST else 1 for n in now)
        strides.append(stride)
        now = [n // s for n, s in zip(now, stride, strict=True)]
    return strides


def spread(vector: Tensor, ndim: int) -> Tensor:
    """(B, C) to (B, C, 1, ...) of ``ndim`` axes."""
    return vector.reshape(*vector.shape, *(1,) * (ndim - 2))


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Interpolated linearly; repeating voxels instead leaves a grid in large lesions."""
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return functional.interpolate(x, size=like.shape[2:], mode=mode, align_corners=False)


def pooled(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    if max(stride) == 1:
        return x
    return functional.avg_pool2d(x, stride) if x.ndim == 4 else functional.avg_pool3d(x, stride)


def normal(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Standard normal float32."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
