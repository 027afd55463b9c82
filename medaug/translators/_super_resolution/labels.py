"""Label maps on new slices, between the old ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer
from scipy import ndimage

from medaug.core.volume import Labels, Mask
from medaug.translators._super_resolution.slices import Positions

_ABSENT = np.float32(-1e6)


def nearest_labels(labels: Labels, positions: Positions) -> Integer[np.ndarray, "I J M"]:
    """The labels of the nearest old slice for each new one, along the last axis; a tie goes to the lower slice."""
    near = np.clip(np.ceil(positions - 0.5), 0, labels.shape[-1] - 1).astype(np.intp)
    return np.ascontiguousarray(labels[..., near])


def blended_labels(
    labels: Labels, positions: Positions, spacing_mm: tuple[float, float]
) -> Integer[np.ndarray, "I J M"]:
    """Shape-based interpolation along the last axis (Raya and Udupa, IEEE Trans Med Imaging 1990;9:32).

    Signed distances within the slices are blended linearly. What touches nothing on the next slice keeps its own half
    of the gap, so that no small lesion is lost. Classes share the outline of their union, so that no gap opens between
    two that touch.

    Args:
        labels: (I, J, N) class ids.
        positions: Of the new slices, in old slice numbers.
        spacing_mm: Within the slices.
    """
    made = np.zeros((*labels.shape[:2], len(positions)), dtype=labels.dtype)
    ids = [int(one) for one in np.unique(labels) if one > 0]
    if not ids:
        return made
    outline = _blended(labels > 0, positions, spacing_mm)
    best = np.full(made.shape, 2 * _ABSENT, dtype=np.float32)
    for number in ids:
        found = outline if len(ids) == 1 else _blended(labels == number, positions, spacing_mm)
        made[found > best] = number
        np.maximum(best, found, out=best)
    made[(outline <= 0) & (best <= 0)] = 0
    return made


def _blended(mask: Mask, positions: Positions, spacing_mm: tuple[float, float]) -> Float[np.ndarray, "I J M"]:
    """Signed distance to the edge of the mask in mm on the new slices, positive inside."""
    distance = np.stack([_signed(plane, spacing_mm) for plane in np.moveaxis(mask, -1, 0)], axis=-1)
    last = mask.shape[-1] - 1
    made = np.empty((*mask.shape[:2], len(positions)), dtype=np.float32)
    for n, at in enumerate(np.clip(positions, 0, last)):
        low = min(int(at), max(last - 1, 0))
        high = min(low + 1, last)
        below, above = distance[..., low].copy(), distance[..., high].copy()
        # what ends between the slices counts on the other one as turned inside out: its edge falls halfway
        _turn(above, below, _ends(mask[..., low], mask[..., high]))
        _turn(below, above, _ends(mask[..., high], mask[..., low]))
        made[..., n] = below + np.float32(at - low) * (above - below)
    return made


def _turn(there: np.ndarray, here: np.ndarray, ends: np.ndarray) -> None:
    """Give what ends here the opposite distance there, in place."""
    there[ends] = -np.abs(here[ends])


def _ends(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Where parts of this slice lie that touch nothing on the other one."""
    parts, count = ndimage.label(here, structure=np.ones((3, 3)))
    met = np.zeros(count + 1, dtype=bool)
    met[parts[there]] = True
    return np.asarray(here & ~met[parts])


def _signed(plane: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Signed distance of one slice, to the edge between voxels; far below 0 where the class is absent."""
    if not plane.any():
        return np.full(plane.shape, _ABSENT, dtype=np.float32)
    # beyond the image there is background, so that a plane full of the class has an edge, too
    padded = np.pad(plane, 1)
    inside = ndimage.distance_transform_edt(padded, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~padded, sampling=spacing_mm)
    half = 0.5 * min(spacing_mm)
    signed = np.where(padded, inside - half, half - outside)
    return np.asarray(signed[1:-1, 1:-1], dtype=np.float32)
