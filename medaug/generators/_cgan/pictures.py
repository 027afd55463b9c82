"""The picture of samples in a run folder: for each class a real lesion, the coarse one, and several made ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib import image as png
from torch import Tensor

from medaug.core.storage import atomic_path

_SCALE = 2


def write_sheet(path: Path, rows: list[Float[Tensor, "N C *S"]], window: tuple[float, float]) -> None:
    """Write rows of patches as one grey PNG; the first channel, and in 3D the middle slice.

    Args:
        path: File to write.
        rows: One stack of patches a row, of equal length.
        window: Normalised values shown black and white.
    """
    lines = [np.concatenate([_tile(patch, window) for patch in row], axis=1) for row in rows]
    with atomic_path(path) as temporary:
        png.imsave(temporary, np.concatenate(lines, axis=0), cmap="gray", vmin=0, vmax=1)


def _tile(patch: Float[Tensor, "C *S"], window: tuple[float, float]) -> Float[np.ndarray, "H W"]:
    plane = patch[0].detach().float().cpu().numpy()
    if plane.ndim == 3:
        plane = plane[..., plane.shape[2] // 2]
    shown = np.clip((plane - window[0]) / (window[1] - window[0]), 0, 1)
    large = np.kron(np.rot90(shown), np.ones((_SCALE, _SCALE)))
    return np.pad(large, 1, constant_values=1.0)
