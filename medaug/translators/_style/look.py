"""A scanner simulated on real images: contrast, uneven sensitivity, resolution and noise."""

from __future__ import annotations

from typing import final

import numpy as np
from jaxtyping import Float32
from pydantic import Field
from scipy import ndimage

from medaug.core.config import Frozen
from medaug.core.volume import Image

_KNOTS = 4


@final
class Look(Frozen):
    """How another scanner would show the same body."""

    gamma: float = Field(default=1.0, ge=0.2, le=5, description="exponent of the grey values from 0 to 1")
    bias: float = Field(default=0.0, ge=0, le=1, description="deviation of the log of a smooth sensitivity")
    blur: float = Field(default=0.0, ge=0, le=5, description="deviation of a Gaussian within slices, voxels")
    noise: float = Field(default=0.0, ge=0, le=1, description="deviation as a share of the grey range")


def change_look(image: Image, look: Look, rng: np.random.Generator) -> Image:
    """The image as the simulated scanner shows it, in its own range of grey values.

    Args:
        image: (C, I, J, K), any unit; the range runs from its lowest value to its 99.9th percentile.
        look: The scanner.
        rng: Of sensitivity and noise.
    """
    changed = np.empty(image.shape, dtype=np.float32)
    for n, channel in enumerate(image):
        low, high = float(channel.min()), float(np.percentile(channel, 99.9))
        span = max(high - low, 1e-6)
        grey = np.clip((channel - low) / span, 0.0, None) ** look.gamma * _sensitivity(
            channel.shape, look, rng
        )
        grey = ndimage.gaussian_filter(grey, (look.blur, look.blur, 0.0))
        noise = look.noise * rng.standard_normal(channel.shape)
        changed[n] = low + span * np.clip(grey + noise, 0.0, None)
    return changed


def _sensitivity(
    shape: tuple[int, ...], look: Look, rng: np.random.Generator
) -> Float32[np.ndarray, "I J K"]:
    """A smooth field around 1."""
    knots = rng.normal(0.0, look.bias, (_KNOTS,) * 3)
    places = np.meshgrid(*(np.linspace(0, _KNOTS - 1, n) for n in shape), indexing="ij")
    return np.asarray(np.exp(ndimage.map_coordinates(knots, places, order=3, mode="nearest")), np.float32)
