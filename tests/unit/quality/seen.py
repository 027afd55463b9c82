"""Made-up lesions as the study of synthesis sees them: discs in noise, brighter by class."""

from __future__ import annotations

import numpy as np

from medaug.quality.looks import Looks, look_at
from medaug.quality.samples import LesionSample

KINDS = ("dark", "bright")


def disc(number: int, class_index: int, *, level: float | None = None, slices: int = 1) -> LesionSample:
    """A disc of 4 to 6 voxels radius in a noisy host; as bright as its class says."""
    rng = np.random.default_rng([number, class_index])
    i, j, k = np.indices((40, 40, slices))
    mask = ((i - 20) ** 2 + (j - 20) ** 2 < rng.uniform(4, 6) ** 2) & (k >= 0)
    image = rng.normal(0.0, 0.1, (1, 40, 40, slices)).astype(np.float32)
    image[0][mask] += float(class_index if level is None else level)
    return LesionSample(f"c{number}", f"p{number}", KINDS[class_index], image, mask, (0.8, 0.8, 2.0))


def discs(first: int, count: int, size: tuple[int, ...] = (16, 16)) -> Looks:
    """Discs of two classes, by turns."""
    return look_at([disc(first + n, n % 2) for n in range(count)], size, KINDS)
