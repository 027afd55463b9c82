"""Images and label maps in memory: arrays that know their grid and their unit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float32, Integer

from medaug.core.errors import GeometryError
from medaug.core.geometry import Box, Grid

Image = Float[np.ndarray, "C I J K"]
Mask = Bool[np.ndarray, "I J K"]
Labels = Integer[np.ndarray, "I J K"]
Confidence = Float32[np.ndarray, "I J K"]
Probabilities = Float32[np.ndarray, "N I J K"]


class Unit(StrEnum):
    """What an intensity means."""

    HU = "HU"
    SUV = "SUV"
    ARBITRARY = "a.u."


@final
@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Intensities on a grid.

    Attributes:
        image: (C, I, J, K) float32.
        grid: Where the voxels are.
        unit: What the intensities mean, one for all channels.
        channels: One name a channel, e.g. ``("FLAIR", "T1")``.
        spacing_known: False where the affine's spacing is nominal and no mm figure may be derived from it.

    Raises:
        GeometryError: If array, grid and channel names do not agree.
    """

    image: Image
    grid: Grid
    unit: Unit
    channels: tuple[str, ...]
    spacing_known: bool = True

    def __post_init__(self) -> None:
        """Check that array, grid and channels agree."""
        if self.image.ndim != 4 or self.image.shape[1:] != self.grid.shape:
            raise GeometryError(f"image is {self.image.shape}", expected=f"(C, {self.grid.shape})")
        if len(self.channels) != self.image.shape[0]:
            raise GeometryError(f"{len(self.channels)} channel names for {self.image.shape[0]} channels")

    def crop(self, box: Box) -> Volume:
        """A copy of a box of the volume (edge values repeated outside it)."""
        return Volume(box.cut(self.image), self.grid.crop(box), self.unit, self.channels, self.spacing_known)


@final
@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Class ids on a grid; 0 is background.

    Attributes:
        labels: (I, J, K) integers.
        grid: Where the voxels are.
        class_names: Names of ids 1, 2, ... in order.

    Raises:
        GeometryError: If array and grid do not agree.
    """

    labels: Labels
    grid: Grid
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that array and grid agree."""
        if self.labels.shape != self.grid.shape:
            raise GeometryError(f"label map is {self.labels.shape}", expected=f"{self.grid.shape}")

    def mask(self, class_name: str) -> Mask:
        """Where the class is."""
        return np.asarray(self.labels == self.class_names.index(class_name) + 1)

    def crop(self, box: Box) -> LabelMap:
        """A copy of a box of the label map; background outside the image."""
        return LabelMap(box.cut(self.labels, beyond="zero"), self.grid.crop(box), self.class_names)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says about a volume.

    Attributes:
        label_map: On the volume's grid.
        confidence: (I, J, K) float32, probability of the label that was given; None where the model knows none.

    Raises:
        GeometryError: If the two do not agree.
    """

    label_map: LabelMap
    confidence: Confidence | None = None

    def __post_init__(self) -> None:
        """Check that both lie on one grid."""
        shape = self.label_map.grid.shape
        if self.confidence is not None and self.confidence.shape != shape:
            raise GeometryError(f"confidence is {self.confidence.shape}", expected=f"{shape}")
