"""No augmentation: patches are trained on as they are."""

from __future__ import annotations

from typing import Literal, final

import numpy as np

from medaug.core.augment import Augment, PatchImage, PatchLabels
from medaug.core.volume import Unit
from medaug.transforms.base import TransformConfig


@final
class Config(TransformConfig):
    """Nothing to set."""

    kind: Literal["none"] = "none"

    def build(self, unit: Unit) -> Augment:  # noqa: ARG002 - one signature for all kinds
        """An augmentation that changes nothing."""
        return NoAugmentation()


@final
class NoAugmentation:
    """Gives every patch back as it is."""

    def __call__(
        self,
        image: PatchImage,
        labels: PatchLabels,
        rng: np.random.Generator,  # noqa: ARG002 - one signature for all kinds
    ) -> tuple[PatchImage, PatchLabels]:
        """The patch itself."""
        return image, labels
