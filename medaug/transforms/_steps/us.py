"""What ultrasound does to an image: speckle and shadow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, final

import numpy as np
import torch
from pydantic import Field

from medaug.transforms._steps.filters import blurred
from medaug.transforms._steps.grey import column, extremes, white_noise
from medaug.transforms._steps.step import Facts, GreyStep, Images


@final
class Speckle(GreyStep):
    """Multiplicative grain of a width, from the channel's minimum up; 1 = a standard deviation of 0.4."""

    rank = 5
    kind: Literal["speckle"] = "speckle"
    sigma: float = Field(ge=0)
    grain_voxels: float = Field(gt=0)
    seed: int = Field(ge=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform up to the limit; grains from 0.5 to 1.5 voxels."""
        sigma, grain = float(rng.uniform(0, 0.4 * magnitude)), float(rng.uniform(0.5, 1.5))
        return cls(sigma=sigma, grain_voxels=grain, seed=int(rng.integers(1 << 62)))

    @property
    def is_identity(self) -> bool:
        """No grain."""
        return self.sigma == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``low + (x - low) * (1 + sigma * grain)``, the grain scaled to unit deviation."""
        low, _ = extremes(images)
        widths = [[step.grain_voxels for step in steps]] * (images.dim() - 2)
        grain = blurred(white_noise(images, [step.seed for step in steps]), widths)
        axes = tuple(range(1, grain.dim()))
        deviation = grain.std(dim=axes, keepdim=True, correction=0).clamp_(min=1e-6)
        grain.mul_(column([step.sigma for step in steps], images) / deviation)
        return (images - low).mul_(grain).add_(images)


@final
class Shadow(GreyStep):
    """The dark behind bone or gas: a band along the depth axis J, from some depth on; 1 = up to 0.9 of the signal lost."""

    rank = 3
    kind: Literal["shadow"] = "shadow"
    place: float = Field(description="of the band's middle along I, as a share of the patch")
    width: float = Field(gt=0, description="standard deviation along I, as a share of the patch")
    depth: float = Field(description="where it begins along J, as a share of the patch")
    is_upward: bool = Field(description="whether depth grows against J, as in pictures whose rows run down")
    loss: float = Field(ge=0, le=1)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Anywhere; depth grows against J."""
        return cls(
            place=float(rng.uniform(0, 1)),
            width=float(rng.uniform(0.03, 0.12)),
            depth=float(rng.uniform(0.1, 0.7)),
            is_upward=True,
            loss=float(rng.uniform(0, 0.9 * magnitude)),
        )

    @property
    def is_identity(self) -> bool:
        """Nothing is lost."""
        return self.loss == 0

    def factor(self, shape: tuple[int, ...]) -> np.ndarray:
        """(I, J) share of the signal that is left."""
        i, j = ((np.arange(n) + 0.5) / n for n in shape[:2])
        behind = 1 / (1 + np.exp(-(((1 - j) if self.is_upward else j) - self.depth) / 0.02))
        across = np.exp(-0.5 * ((i - self.place) / self.width) ** 2)
        return 1 - self.loss * across[:, None] * behind[None, :]

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``low + (x - low) * factor``."""
        low, _ = extremes(images)
        shape = tuple(images.shape[2:])
        factor = torch.from_numpy(np.stack([step.factor(shape) for step in steps])).to(images).unsqueeze(1)
        return (images - low).mul_(factor.view(*factor.shape, *([1] * (len(shape) - 2)))).add_(low)
