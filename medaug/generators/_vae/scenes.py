"""Walks through the latent space, and what is known of it beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.engine.checkpoint import State
from medaug.generators._patches.coarse import fill, zone_of
from medaug.generators._patches.scene import Scene
from medaug.generators._vae.directions import Directions
from medaug.generators._vae.prior import Prior


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
