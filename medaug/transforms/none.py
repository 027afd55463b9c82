"""No augmentation: patches are trained on as they are."""

from __future__ import annotations

from typing import Literal, final

from medaug.core.volume import Unit
from medaug.engine.augment import BatchAugment
from medaug.engine.warp import Resampling
from medaug.transforms._steps.policy import Each, PolicyAugment
from medaug.transforms.base import TransformConfig


@final
class Config(TransformConfig):
    """Nothing to set."""

    kind: Literal["none"] = "none"

    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """An augmentation that changes nothing."""
        return PolicyAugment(Each(()), Resampling())
