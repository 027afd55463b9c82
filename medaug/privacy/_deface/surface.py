"""How much of a face is left: distances from the skin that was there to the surface that is there now."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.privacy._deface.frame import Spacing, Voxels

_HALF_WIDTH_MM = 55.0
NEAR_MM: Final = 4.0


def face_skin(body: Voxels, brain: Voxels, brow: int, spacing_mm: Spacing) -> Voxels:
    """The skin that is seen from ahead, below the brow and as wide as a face."""
    index = np.arange(body.shape[1])[None, :, None]
    front = np.where(body, index, -1).max(axis=1, keepdims=True)
    skin = np.asarray(body & (index == front))
    skin[:, :, brow:] = False
    skin[:, : int(np.argwhere(brain)[:, 1].mean()), :] = False
    away = np.abs(np.arange(body.shape[0]) - middle(body)) * spacing_mm[0]
    skin[away > _HALF_WIDTH_MM] = False
    return skin


def middle(body: Voxels) -> float:
    """The index from left to right at which the upper half of a body has its middle."""
    areas = body.sum(axis=(0, 1))
    levels = np.flatnonzero(areas >= areas.max() / 2)
    upper = body[:, :, levels[len(levels) // 2 :]]
    rights = np.flatnonzero(upper.any(axis=(1, 2)))
    return float(rights[0] + rights[-1]) / 2


def distances_mm(skin: Voxels, after: Voxels, spacing_mm: Spacing) -> Float[np.ndarray, " N"]:
    """From each skin voxel to the nearest one of the body that is left."""
    if not after.any():
        return np.full(int(skin.sum()), np.inf)
    return np.asarray(ndimage.distance_transform_edt(~after, sampling=spacing_mm)[skin], dtype=np.float64)
