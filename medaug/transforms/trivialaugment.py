"""``trivialaugment``: one step a patch at a random magnitude, nothing to tune (Müller and Hutter, ICCV 2021)."""

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
    """Settings of TrivialAugment; the steps to choose from follow the kind of image."""

    kind: Literal["trivialaugment"] = "trivialaugment"
    preset: Preset = Field(default="auto", description="the kind of image; auto goes by modality and unit")
    only: tuple[str, ...] = Field(
        default=(), description="steps to choose from; default: those of the preset"
    )

    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """The augmentation for images of that unit and modality."""
        return PolicyAugment(
            TrivialAugment(chosen_steps(self.only, self.preset, unit, modality)), Resampling()
        )


@final
class TrivialAugment:
    """Draws one step, or none, at a magnitude from 0 to 1; both uniformly."""

    def __init__(self, steps: tuple[type[Step], ...]) -> None:
        self._steps = steps

    @property
    def kinds(self) -> tuple[type[Step], ...]:
        """Every kind of step that may be drawn, each once."""
        return tuple(dict.fromkeys(self._steps))

    def draw(self, facts: Facts, rng: np.random.Generator) -> Record:
        """The step of one patch."""
        number = int(rng.integers(len(self._steps) + 1))
        if number == len(self._steps):
            return ()
        return (self._steps[number].draw(float(rng.random()), rng, facts),)
