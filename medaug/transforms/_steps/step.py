"""What a step of an augmentation is: the drawn parameters of one change, small enough to be written down and replayed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from medaug.core.config import Frozen
from medaug.core.volume import Unit

Images = Float[Tensor, "B C *S"]
Matrix = Float64[np.ndarray, "D1 D1"]


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """What a step may know of the patch it changes; the same for all patches of a batch but for the spacing.

    Attributes:
        shape: Size along I, J(, K).
        spacing_mm: Along the same axes; 1 where it is nominal.
        unit: What the grey values mean: normalised Hounsfield units bear far less change than arbitrary ones.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    unit: Unit

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.shape)


class Step(Frozen, ABC):
    """One change with its drawn parameters. Its name in a policy is ``kind``.

    A step is drawn at a magnitude from 0 (nothing changes) to 1 (the strongest change that keeps the class recognisable
    for that unit); the docstring of each says what 1 means. Steps of one batch are applied in the order of a scan, not
    in that of drawing: geometry, tissue contrast, blur, scanner artefacts, noise (:attr:`rank`).
    """

    rank: ClassVar[int]
    kind: str

    @classmethod
    @abstractmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Draw the parameters of a change of that magnitude; direction and place come from ``rng``."""


class SpatialStep(Step, ABC):
    """A change of geometry. All those of a sample become one map and one resampling (:mod:`medaug.engine.warp`)."""

    rank = 0

    def pull_back(self, facts: Facts) -> Matrix:
        """Homogeneous map from mm of the output to mm of the input, both from the middle of the patch."""
        return np.eye(facts.dims + 1)

    def control(self, facts: Facts) -> Float64[np.ndarray, "D *M"] | None:
        """Displacement of the output place in mm at the control points of a cubic B-spline, or None."""
        return None


class GreyStep(Step, ABC):
    """A change of grey values in place."""

    @property
    @abstractmethod
    def is_identity(self) -> bool:
        """Whether these parameters change nothing; such a step is never applied."""

    @classmethod
    @abstractmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """Change all images at once, each by its own step; the input is left alone and gradients flow.

        What is random inside a step (noise) comes from a seed among its parameters.

        Args:
            images: Only those that have such a step, in normalised units.
            steps: One an image.
            facts: One an image.
        """
