"""No augmentation: patches are trained on as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import numpy as np

from medaug.core.volume import Unit
from medaug.engine.augment import BatchAugment, PatchBatch
from medaug.transforms.base import TransformConfig


@final
class Config(TransformConfig):
    """Nothing to set."""

    kind: Literal["none"] = "none"

    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """An augmentation that changes nothing."""
        return NoAugmentation()


@final
class NoAugmentation:
    """Gives every patch back as it is."""

    def __call__(self, batch: PatchBatch, rngs: Sequence[np.random.Generator]) -> PatchBatch:
        """The batch itself."""
        return batch
