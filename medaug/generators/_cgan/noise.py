"""All the random fields that one lesion is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.generators._cgan.channels import correlated
from medaug.generators._cgan.networks import NetSpec
from medaug.generators._patches.layers import normal

_KEPT = 0.8  # correlation of the noise of neighbouring slices of one lesion


class NoisyNet(Protocol):
    """A network that is fed with noise."""

    @property
    def spec(self) -> NetSpec:
        """What it is built from."""
        ...

    @property
    def noise_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of its noise maps."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Noise:
    """Random fields of a batch of frames, standard normal.

    Attributes:
        z: (B, z_size).
        fields: One (B, 1, *S) map for each of the decoder's noise inputs.
        fine: (B, C, *S) white, for the coarse lesion; its channels go together as those of real lesions do.
        broad: (B, C, *T) the same, on a quarter of the size.
    """

    z: Float[Tensor, "B Z"]
    fields: tuple[Tensor, ...]
    fine: Float[Tensor, "B C *S"]
    broad: Float[Tensor, "B C *T"]

    @staticmethod
    def draw(
        net: NoisyNet, count: int, rng: np.random.Generator, factors: Float[Tensor, "2 C C"] | None = None
    ) -> Noise:
        """Independent noise for so many frames; ``factors`` of :func:`channel_factors` tie its channels."""
        spec = net.spec
        ties = (None, None) if factors is None else factors.unbind()
        return Noise(
            normal((count, spec.z_size), rng),
            tuple(normal((count, 1, *shape), rng) for shape in net.noise_shapes),
            correlated(normal((count, spec.channels, *spec.size), rng), ties[1]),
            correlated(normal((count, spec.channels, *_broad_size(spec.size)), rng), ties[0]),
        )

    @staticmethod
    def draw_slices(
        net: NoisyNet, count: int, rng: np.random.Generator, factors: Float[Tensor, "2 C C"] | None = None
    ) -> Noise:
        """Noise for so many neighbouring slices of one lesion: one z, broad fields that change slowly."""
        drawn = Noise.draw(net, count, rng, factors)
        fields = (*(_chained(field) for field in drawn.fields[:-1]), drawn.fields[-1])
        return Noise(drawn.z[:1].expand(count, -1), fields, drawn.fine, _chained(drawn.broad))

    @staticmethod
    def joined(parts: list[Noise]) -> Noise:
        """The noise of several lesions as one batch."""
        fields = tuple(torch.cat(rows) for rows in zip(*(part.fields for part in parts), strict=True))
        z, fine, broad = (torch.cat([getattr(p, name) for p in parts]) for name in ("z", "fine", "broad"))
        return Noise(z, fields, fine, broad)

    def part(self, start: int, stop: int) -> Noise:
        """The noise of some of the frames."""
        fields = tuple(field[start:stop] for field in self.fields)
        return Noise(self.z[start:stop], fields, self.fine[start:stop], self.broad[start:stop])

    def with_z(self, z: Float[Tensor, "B Z"]) -> Noise:
        """The same fields with another z."""
        return Noise(z, self.fields, self.fine, self.broad)

    def to(self, device: torch.device) -> Noise:
        """The noise on a device."""
        fields = tuple(field.to(device) for field in self.fields)
        return Noise(self.z.to(device), fields, self.fine.to(device), self.broad.to(device))


def _broad_size(size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(2, n // 4) for n in size)


def _chained(rows: Float[Tensor, "B *S"]) -> Float[Tensor, "B *S"]:
    """Make each row resemble the one before it, at unit variance."""
    chain = [rows[0]]
    for row in rows[1:]:
        chain.append(_KEPT * chain[-1] + (1 - _KEPT**2) ** 0.5 * row)
    return torch.stack(chain)
