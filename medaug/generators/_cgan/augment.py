"""Differentiable augmentation of what the discriminator sees, real and made alike.

DiffAugment of Zhao et al. (NeurIPS 2020), kept mild in brightness and contrast, since the level is what tells
the classes apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_SHIFT = 1 / 8
_BRIGHTNESS = 0.05
_CONTRAST = 0.1


@final
@dataclass(frozen=True, slots=True)
class Distortion:
    """One draw: the same for a whole batch, and for the real and the made one.

    Attributes:
        shift: Voxels along each spatial axis; what leaves on one side comes in on the other.
        brightness: Added, in normalised units.
        contrast: Factor about the mean of the image.
    """

    shift: tuple[int, ...]
    brightness: float
    contrast: float

    @classmethod
    def draw(cls, size: tuple[int, ...], rng: np.random.Generator) -> Self:
        """A random distortion for patches of a size."""
        most = [int(n * _SHIFT) for n in size]
        shift = tuple(int(rng.integers(-m, m + 1)) for m in most)
        return cls(shift, rng.uniform(-_BRIGHTNESS, _BRIGHTNESS), rng.uniform(1 - _CONTRAST, 1 + _CONTRAST))

    def image(self, image: Float[Tensor, "B C *S"]) -> Float[Tensor, "B C *S"]:
        """Distort images; gradients flow through."""
        mean = image.mean(dim=tuple(range(1, image.ndim)), keepdim=True)
        return self.maps((image - mean) * self.contrast + mean + self.brightness)

    def maps(self, maps: Float[Tensor, "B C *S"]) -> Float[Tensor, "B C *S"]:
        """Move maps as the images are moved."""
        return torch.roll(maps, self.shift, dims=tuple(range(2, maps.ndim)))
