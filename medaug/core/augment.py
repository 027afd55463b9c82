"""What an augmentation is, for the rooms that make one and the rooms that use one."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float32, Integer

PatchImage = Float32[np.ndarray, "C *S"]
PatchLabels = Integer[np.ndarray, "*S"]


class Augment(Protocol):
    """A random change of one training patch and its labels."""

    def __call__(
        self, image: PatchImage, labels: PatchLabels, rng: np.random.Generator
    ) -> tuple[PatchImage, PatchLabels]:
        """Change a patch; all randomness comes from ``rng``, the inputs are left alone.

        Args:
            image: (C, I, J) or (C, I, J, K) float32, normalised units.
            labels: (I, J) or (I, J, K) class ids; moved with the image, never interpolated.
            rng: Where every random number comes from.

        Returns:
            Image and labels of the same shapes and types.
        """
        ...
