"""Encoder and decoder of the variational autoencoder, one definition for 2D and 3D."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

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

CLASS_SIZE = 32  # length of the vector that stands for a class
_CLASS_PLANES = 6
_SEED_PLANES = 4
_DEPTH = 3  # halvings in the encoder
_WIDEST = 256


@final
@dataclass(frozen=True, slots=True)
class VaeSpec:
    """What the network is built from.

    Attributes:
        dims: Spatial axes, 2 or 3.
        channels: Image channels.
        classes: Length of the class table.
        size: Voxels of a patch along each of the ``dims`` axes.
        base: Channels of the first level.
        z_size: Length of a latent code.
    """

    dims: Dims
    channels: int
    classes: int
    size: tuple[int, ...]
    base: int
    z_size: int


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a lesion is drawn, and as what.

    Attributes:
        filled: (B, C, *S) the host without a lesion, normalised.
        distance: (B, 1, *S) signed distance to the lesion's edge in in-plane voxels, positive inside.
        embedded: (B, 32) of :meth:`LesionVae.embed`; may lie between classes.
    """

    filled: Float[Tensor, "B C *S"]
    distance: Float[Tensor, "B 1 *S"]
    embedded: Float[Tensor, "B 32"]

    @property
    def maps(self) -> Float[Tensor, "B 2 *S"]:
        """Mask with a soft edge, and the distance squeezed to -1..1."""
        nothing = torch.zeros(len(self.distance), dtype=torch.long, device=self.distance.device)
        return Conditions(nothing, 0.0, self.distance).maps


@final
class _Block(nn.Module):
    """Convolve and modulate."""

    def __init__(self, dims: Dims, channels: int, planes: int) -> None:
        super().__init__()
        self.conv = conv(dims, channels, channels)
        self.modulation = Modulation(dims, channels, planes)

    def forward(self, x: Tensor, maps: Tensor, style: Tensor) -> Tensor:
        """(B, channels, *S) to the same."""
        return functional.leaky_relu(self.modulation(self.conv(x), resized(maps, x), style), 0.2)


@final
class LesionVae(nn.Module):
    """Lesion to latent code and back, given class, mask and host (Kingma and Welling 2014; Sohn et al. 2015).

    The encoder keeps levels (no norm in it), since these tell lesions apart. The code reaches the decoder twice:
    in the style of every layer, and as a few coarse planes, so that it can say where a lesion is bright.
    """

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        self.spec = spec
        dims, base = spec.dims, spec.base
        self.embedding = nn.Embedding(spec.classes, CLASS_SIZE)
        self.class_planes = nn.Linear(CLASS_SIZE, _CLASS_PLANES)
        self._build_encoder(dims, base)
        self._build_decoder(dims, base)

    def _build_encoder(self, dims: Dims, base: int) -> None:
        spec = self.spec
        widths = [2 * spec.channels + 2, base, 2 * base, 4 * base, 4 * base]
        self.seen_strides = halvings(spec.size, _DEPTH)
        self.seen = nn.ModuleList(conv(dims, widths[n], widths[n + 1]) for n in range(_DEPTH + 1))
        left = _halved(spec.size, self.seen_strides)
        hidden = min(_WIDEST, 8 * base)
        self.gathered = nn.Linear(widths[-1] * math.prod(left) + CLASS_SIZE, hidden)
        self.posterior = nn.Linear(hidden, 2 * spec.z_size)

    def _build_decoder(self, dims: Dims, base: int) -> None:
        spec = self.spec
        planes, widths = 2 + _CLASS_PLANES, [base, 2 * base, 4 * base]
        self.strides = halvings(spec.size, 2)
        self.seed_size = _halved(spec.size, self.strides)
        told = CLASS_SIZE + spec.z_size + spec.channels
        self.style = nn.Sequential(nn.Linear(told, STYLE), nn.LeakyReLU(0.2), nn.Linear(STYLE, STYLE))
        self.seed = nn.Linear(spec.z_size, _SEED_PLANES * math.prod(self.seed_size))
        self.seeded = conv(dims, _SEED_PLANES, widths[2])
        self.stem = conv(dims, spec.channels + 2, base)
        self.down = nn.ModuleList(conv(dims, widths[n], widths[n + 1]) for n in (0, 1))
        self.middle = nn.ModuleList(_Block(dims, widths[2], planes) for _ in (0, 1))
        self.narrow = nn.ModuleList(conv(dims, widths[n + 1], widths[n]) for n in (1, 0))
        self.up = nn.ModuleList(_Block(dims, widths[n], planes) for n in (1, 0))
        self.head = conv(dims, base, spec.channels)
        self.level = nn.Linear(STYLE, spec.channels)

    def embed(self, class_index: Int[Tensor, " B"]) -> Float[Tensor, "B 32"]:
        """The vectors of classes."""
        embedded: Tensor = self.embedding(class_index)
        return embedded

    def encode(
        self, image: Float[Tensor, "B C *S"], place: Place
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Mean and logarithm of the variance of the code of each lesion.

        Args:
            image: (B, C, *S) normalised patch with the lesion.
            place: The same place without it.
        """
        x = torch.cat([image - place.filled, place.filled, place.maps], dim=1)
        for number, layer in enumerate(self.seen):
            x = functional.leaky_relu(layer(x), 0.2)
            if number < _DEPTH:
                x = pooled(x, self.seen_strides[number])
        gathered = self.gathered(torch.cat([x.flatten(1), place.embedded], dim=1))
        mean, log_variance = self.posterior(functional.leaky_relu(gathered, 0.2)).chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 4)

    def decode(self, place: Place, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B C *S"]:
        """The patches with the lesions of these codes; what lies beyond the zone of a lesion means nothing."""
        told = place.maps
        around = zone_mean(place.filled, told[:, :1])
        style = self.style(torch.cat([place.embedded, z, around], dim=1))
        planes = told[:, :1] * spread(self.class_planes(place.embedded), told.ndim)
        maps = torch.cat([told, planes], dim=1)
        x = functional.leaky_relu(self.stem(torch.cat([place.filled, told], dim=1)), 0.2)
        skips = []
        for layer, stride in zip(self.down, self.strides, strict=True):
            skips.append(x)
            x = functional.leaky_relu(layer(pooled(x, stride)), 0.2)
        x = x + self.seeded(self.seed(z).reshape(len(z), _SEED_PLANES, *self.seed_size))
        for block in self.middle:
            x = block(x, maps, style)
        for narrow, block, skip in zip(self.narrow, self.up, reversed(skips), strict=True):
            x = enlarged(narrow(x), skip)
            x = block(x + skip, maps, style)
        drawn: Tensor = place.filled + self.head(x) + told[:, :1] * spread(self.level(style), told.ndim)
        return drawn


def _halved(size: tuple[int, ...], strides: list[tuple[int, ...]]) -> tuple[int, ...]:
    for stride in strides:
        size = tuple(n // s for n, s in zip(size, stride, strict=True))
    return size
