"""Views of a head for checking its defacing: the skin, shaded by a light, before and after."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import Mask, Volume
from medaug.privacy._deface.frame import Voxels
from medaug.privacy._deface.outline import find_outline

_STEP_MM: Final = 1.6
_ANGLES_DEG = (0.0, 45.0, 90.0)
_LIGHT = np.array([0.4, 0.7, 0.6])

Shaded = UInt8[np.ndarray, "P Q"]


def draw_views(path: Path, before: Volume, removed: Mask) -> None:
    """Write a PNG: the head from ahead, from half aside and from the side, above with its face and below without.

    Raises:
        StorageError: If it cannot be written.
    """
    rows = shade_views(before, removed)
    with io.BytesIO() as buffer:
        Image.fromarray(rows).save(buffer, format="PNG")
        write_bytes_atomic(path, buffer.getvalue(), mode=0o600)


def shade_views(volume: Volume, removed: Mask) -> Shaded:
    """The pictures side by side; black where there is no head."""
    outline = find_outline(volume.image[0], volume.grid.spacing_mm, spacing_known=volume.spacing_known)
    if outline is None:
        return np.zeros((1, 1), dtype=np.uint8)
    gone = outline.frame.coarse_mask(removed)
    bodies = (outline.smooth > outline.threshold, (outline.smooth > outline.threshold) & ~gone)
    factors = [one / _STEP_MM for one in outline.frame.spacing_mm]
    rows = []
    for body in bodies:
        fine = ndimage.zoom(ndimage.gaussian_filter(body.astype(np.float32), 0.6), factors, order=1) > 0.5
        rows.append(np.concatenate([_shade(fine, angle) for angle in _ANGLES_DEG], axis=1))
    return np.concatenate(rows, axis=0)


def _shade(body: Voxels, angle_deg: float) -> Shaded:
    """The body seen from ahead after a turn to its side, brighter where its surface faces the light."""
    turned = ndimage.rotate(body.astype(np.float32), angle_deg, axes=(0, 1), order=1, reshape=False) > 0.5
    depth = np.where(turned.any(axis=1), np.argmax(turned[:, ::-1], axis=1), np.nan)
    seen = ~np.isnan(depth)
    smooth = ndimage.gaussian_filter(np.where(seen, depth, 0.0), 1.0)
    smooth /= np.maximum(ndimage.gaussian_filter(seen.astype(np.float64), 1.0), 1e-3)
    return _light(smooth, seen)


def _light(depth: Float[np.ndarray, "X Z"], seen: np.ndarray) -> Shaded:
    right, up = np.gradient(depth)
    normals = np.stack([right, np.ones_like(depth), up])
    normals /= np.linalg.norm(normals, axis=0)
    bright = np.clip(np.tensordot(_LIGHT / np.linalg.norm(_LIGHT), normals, axes=1), 0.05, 1.0)
    return np.asarray(np.flipud((np.where(seen, bright, 0.0) * 255).astype(np.uint8).T))
