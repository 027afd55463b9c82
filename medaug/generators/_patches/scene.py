"""Places of lesions in the network's frames: what every network is shown of a host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.generators._patches.coarse import fill, zone_of
from medaug.generators._patches.layers import normal


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A place in the network's frames; several are joined into one batch.

    Attributes:
        image: (B, C, *S) the host, normalised; with a lesion where it is a bank's.
        filled: (B, C, *S) the same without what is in the zone.
        distance: (B, 1, *S) signed distance to the lesion's edge.
        class_index: (B,) index into the class table.
    """

    image: Float[Tensor, "B C *S"]
    filled: Float[Tensor, "B C *S"]
    distance: Float[Tensor, "B 1 *S"]
    class_index: Int[Tensor, " B"]

    @staticmethod
    def of(image: Tensor, distance: Tensor, number: int) -> Scene:
        """The place of a lesion of class ``number``."""
        filled = fill(image, zone_of(distance))
        return Scene(image, filled, distance, torch.full((len(image),), number))

    @staticmethod
    def joined(parts: Sequence[Scene]) -> Scene:
        """Several places as one batch."""
        columns = zip(*((p.image, p.filled, p.distance, p.class_index) for p in parts), strict=True)
        return Scene(*(torch.cat(column) for column in columns))

    def at(self, numbers: slice | Int[Tensor, " N"]) -> Scene:
        """Some of the frames."""
        columns = (self.image, self.filled, self.distance, self.class_index)
        return Scene(*(column[numbers] for column in columns))

    def to(self, device: torch.device) -> Scene:
        """The same on a device."""
        columns = (self.image, self.filled, self.distance, self.class_index)
        return Scene(*(column.to(device) for column in columns))

    @property
    def zone(self) -> Tensor:
        """1 where lesions are drawn."""
        return zone_of(self.distance)

    def with_noise(self, deviation: float, rng: np.random.Generator) -> Scene:
        """The same with white noise added everywhere, normalised units."""
        image = self.image + deviation * normal(tuple(self.image.shape), rng)
        return Scene(image, fill(image, self.zone), self.distance, self.class_index)

    def psnr(self, image: Tensor) -> float:
        """Peak signal-to-noise ratio of another image of the place in its zone, dB; the peak is the range there."""
        inside = self.zone.expand_as(self.image) > 0
        real, error = self.image[inside], (image - self.image)[inside]
        peak = float(real.max() - real.min())
        return 20 * math.log10(max(peak, 1e-6)) - 10 * math.log10(float(error.square().mean()) + 1e-12)

    @property
    def largest(self) -> Scene:
        """The frame that shows most of the lesion."""
        most = int((self.distance > 0).flatten(1).sum(1).argmax())
        return self.at(slice(most, most + 1))
