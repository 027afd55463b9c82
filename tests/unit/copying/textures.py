"""Made-up images for the tests of the copy search."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medaug.copying.imprint import Imprint

SIDE = 48


def texture(seed: int, shape: tuple[int, int, int] = (SIDE, SIDE, 1)) -> np.ndarray:
    """(1, *shape) smooth noise of unit deviation."""
    sigma = [2.0 if n > 1 else 0.0 for n in shape]
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return np.asarray(rough[None] / rough.std(), dtype=np.float32)


def imprint(number: int, prefix: str, image: np.ndarray | None = None, *, lesion: bool = True) -> Imprint:
    """A case with a lesion in its middle."""
    image = texture(number) if image is None else image
    mask = np.zeros(image.shape[1:], dtype=bool)
    if lesion:
        mask[20:27, 20:27, image.shape[3] // 2] = True
    return Imprint(f"{prefix}{number}", f"{prefix}patient{number}", image, mask, (1.0, 1.0, 1.0))
