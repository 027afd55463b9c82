"""The types of augmentation: a batch of training patches, and the call that changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from jaxtyping import Float, Integer
from torch import Tensor

from medaug.core.volume import Unit


@final
@dataclass(frozen=True, slots=True, eq=False)
class SecondLabels:
    """Label maps that patches hold beside their own, where images were averaged (MixUp).

    Attributes:
        labels: (B, I, J) or (B, I, J, K) class ids.
        share: (B) how much of each voxel they are, below one half; the rest is the patch's own label.
    """

    labels: Integer[Tensor, "B *S"]
    share: Float[Tensor, "B"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class PatchBatch:
    """Training patches of one size, on one device.

    Attributes:
        images: (B, C, I, J) or (B, C, I, J, K) floating point, normalised units.
        labels: (B, I, J) or (B, I, J, K) class ids.
        spacing_mm: For each patch, along its axes; 1 where the spacing is nominal.
        unit: What the grey values mean.
        second: Further labels of the same voxels; None where every voxel has one.
        step: Which step of a training it is for; None elsewhere.
    """

    images: Float[Tensor, "B C *S"]
    labels: Integer[Tensor, "B *S"]
    spacing_mm: tuple[tuple[float, ...], ...]
    unit: Unit
    second: SecondLabels | None = None
    step: int | None = None


class BatchAugment(Protocol):
    """A random change of every patch of a batch, its labels moving along."""

    def __call__(self, batch: PatchBatch, rngs: Sequence[np.random.Generator]) -> PatchBatch:
        """Change a batch; the inputs are left alone.

        Args:
            batch: What to change.
            rngs: One a patch: every random number of a patch comes from its own, so that it does not depend on the
                size of the batch or the device. Only mixing lets patches of a batch meet.

        Returns:
            A batch of the same shapes and types, on the same device; no label id that the batch did not hold.
        """
        ...
