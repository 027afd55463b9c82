"""The picture of samples in a run folder: layout, real image and made ones side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib import image as png
from torch import Tensor

from medaug.core.storage import atomic_path

SAMPLES = "samples.png"


def write_samples(path: Path, layouts: Tensor, planes: int, images: list[Tensor]) -> None:
    """Write one row a pair: layout in colours, then the first channel of each image.

    Args:
        path: File to write.
        layouts: (B, *S) label numbers.
        planes: How many labels there are.
        images: (B, C, *S) each, the real ones first; their middle 98% is shown.
    """
    low, high = np.percentile(images[0][:, 0].numpy(), (1, 99))
    colours = colormaps["nipy_spectral"]
    rows = []
    for n in range(len(layouts)):
        tiles = [colours(_plane(layouts[n]) / max(1, planes - 1))[..., :3]]
        for stack in images:
            grey = np.clip((_plane(stack[n, 0]) - low) / max(high - low, 1e-6), 0, 1)
            tiles.append(np.repeat(grey[..., None], 3, axis=2))
        rows.append(
            np.concatenate([np.pad(t, ((1, 1), (1, 1), (0, 0)), constant_values=1.0) for t in tiles], 1)
        )
    with atomic_path(path) as temporary:
        png.imsave(temporary, np.concatenate(rows, axis=0))


def _plane(volume: Tensor) -> np.ndarray:
    """A slice as it is viewed: the middle one of a volume."""
    array = volume.numpy().astype(np.float64)
    return np.rot90(array if array.ndim == 2 else array[..., array.shape[2] // 2])
