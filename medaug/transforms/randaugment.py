"""``randaugment``: a few steps a patch at one common magnitude, two numbers to tune (Cubuk et al., CVPR Workshops 2020)."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.core.volume import Unit
from medaug.engine.augment import BatchAugment
from medaug.engine.warp import Resampling
from medaug.transforms._steps.apply import Record
from medaug.transforms._steps.policy import PolicyAugment
from medaug.transforms._steps.registry import Preset, chosen_steps
from medaug.transforms._steps.step import Facts, Step
from medaug.transforms.base import TransformConfig


@final
class Config(TransformConfig):
    """Settings of RandAugment; the steps to choose from follow the kind of image."""

    kind: Literal["randaugment"] = "randaugment"
    n: int = Field(default=3, ge=1, le=10, description="steps a patch, each another one")
    magnitude: float = Field(default=0.5, ge=0, le=1)
    preset: Preset = Field(default="auto", description="the kind of image; auto goes by modality and unit")
    only: tuple[str, ...] = Field(
        default=(), description="steps to choose from; default: those of the preset"
    )

    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """The augmentation for images of that unit and modality."""
        steps = chosen_steps(self.only, self.preset, unit, modality)
        return PolicyAugment(RandAugment(steps, self.n, self.magnitude), Resampling())


@final
class RandAugment:
    """Draws ``n`` different steps, all at one magnitude; doing nothing is one of the choices, as in the paper."""

    def __init__(self, steps: tuple[type[Step], ...], n: int, magnitude: float) -> None:
        self._steps, self._n, self._magnitude = steps, n, magnitude

    @property
    def kinds(self) -> tuple[type[Step], ...]:
        """Every kind of step that may be drawn, each once."""
        return tuple(dict.fromkeys(self._steps))

    def draw(self, facts: Facts, rng: np.random.Generator) -> Record:
        """The steps of one patch."""
        chosen = rng.permutation(len(self._steps) + 1)[: self._n]
        return tuple(
            self._steps[number].draw(self._magnitude, rng, facts)
            for number in chosen
            if number < len(self._steps)
        )
