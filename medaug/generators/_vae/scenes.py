"""Places of lesions in the network's frames, and walks through the latent space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.engine.checkpoint import State
from medaug.generators._patches.coarse import fill, zone_of
from medaug.generators._patches.layers import normal
from medaug.generators._vae.directions import Directions
from medaug.generators._vae.prior import Prior


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

    image: Tensor
    filled: Tensor
    distance: Tensor
    class_index: Tensor

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

    def at(self, numbers: slice) -> Scene:
        """Some of the frames."""
        return Scene(
            self.image[numbers], self.filled[numbers], self.distance[numbers], self.class_index[numbers]
        )

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


@final
@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Lesions along a line through the latent space, in the network's frames.

    Attributes:
        images: (N, C, *S) normalised, smooth (no grain is added).
        measured: (N, 3) size, contrast and sharpness of each; see
            :func:`medaug.generators._vae.directions.attributes`.
    """

    images: Float[Tensor, "N C *S"]
    measured: Float[Tensor, "N 3"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What training leaves beside the weights.

    Attributes:
        prior: Where codes of new lesions are drawn from.
        directions: Along which attributes grow.
        grain: (K, C) deviation of the fine part of the lesions of each class, in units of the noise of their scans.
    """

    prior: Prior
    directions: Directions
    grain: Tensor

    @property
    def state(self) -> State:
        """As it is saved."""
        found = self.directions
        return {
            **self.prior.state,
            "changes": found.changes,
            "explained": found.explained,
            "deviations": found.deviations,
            "grain": self.grain,
        }


def resized_scene(scene: Scene, log_factor: float) -> Scene:
    """The place with the outline moved out or in, so that the lesion's radius changes by a factor."""
    dims = scene.distance.ndim - 2
    voxels = float((scene.distance > 0).sum())
    radius = (voxels / np.pi) ** 0.5 if dims == 2 else (0.75 * voxels / np.pi) ** (1 / 3)
    widest = 0.4 * min(scene.distance.shape[2:4]) / radius
    factor = float(np.clip(np.exp(log_factor), 0.4, max(1.0, widest)))
    distance = scene.distance + radius * (factor - 1)
    zone = torch.maximum(zone_of(distance), zone_of(scene.distance))
    return Scene(scene.image, fill(scene.image, zone), distance, scene.class_index)
