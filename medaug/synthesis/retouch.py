"""Contrast and sharpness of a drawn lesion, whoever drew it; applied before it is blended.

A lesion is taken apart into structure (its voxels without their grain), the level of the tissue around it, and grain. Contrast
scales the difference of the first two; sharpness decides how far it spreads over the outline. The grain stays, so that neither
change is betrayed by noise that is too strong or too weak.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.geometry import NEIGHBOURS_4
from medaug.core.lesion import Lesion
from medaug.core.volume import Image, Mask
from medaug.lesions.blend import Feather
from medaug.lesions.harmonise import fine_part, per_channel, ring_around, robust_deviation

_GRAIN_VOXELS = 1.5  # structure is what is left after smoothing by this
_MOST_GRAIN = 2.5  # deviations of the host's noise
_DRAWN_EDGE = 0.75  # deviation of the edge that the usual blend makes, in-plane voxels
_WIDEST = 0.6  # an edge is never wider than this share of the lesion's radius


def change_contrast(host: Image, lesion: Lesion, factor: float, *, in_place: bool) -> Lesion:
    """The lesion with its mean difference from the tissue around it times a factor.

    Args:
        host: (C, I, J, K) the untouched host patch, native units.
        lesion: What was drawn there.
        factor: 1 leaves it as it is; 0 leaves grain on the level of the tissue.
        in_place: The host shows another lesion there, so that it cannot tell what the drawn one has more.
    """
    if not lesion.mask.any():
        return lesion
    inside = lesion.image - _grain(host, lesion) - _level(host, lesion.mask)
    spilt = np.zeros_like(inside) if in_place else lesion.image - host
    difference = np.where(lesion.mask, inside, spilt)
    return replace(lesion, image=np.asarray(lesion.image + (factor - 1.0) * difference, np.float32))


def change_sharpness(
    host: Image, lesion: Lesion, edge: Feather, factor: float, *, in_place: bool
) -> tuple[Lesion, Feather]:
    """The lesion with an edge ``1 / factor`` times as wide as the blend makes it, and the blend that keeps it so.

    Args:
        host: (C, I, J, K) the untouched host patch, native units.
        lesion: What was drawn there.
        edge: How it would be blended.
        factor: 1 leaves it as it is, below 1 the edge is blurred, above it is steeper.
        in_place: The host shows another lesion there, so that the drawn patch tells the tissue around it.
    """
    if factor == 1.0 or not lesion.mask.any():
        return lesion, edge
    mask, image = lesion.mask, lesion.image
    width = min(_DRAWN_EDGE / factor, max(_DRAWN_EDGE, _WIDEST * _radius(mask)))
    level, grain = _level(host, mask), _grain(host, lesion)
    structure = image - grain
    if factor > 1.0:  # what is soft at the drawn edge becomes as the inside is
        inner = np.asarray(ndimage.binary_erosion(mask, NEIGHBOURS_4))
        structure = _smooth(image, inner if inner.any() else mask)
    spread = _blurred(np.where(mask, structure - level, 0.0), width)
    changed = np.where(mask, level + grain, image if in_place else host) + spread
    reach = 2.0 * width
    return (
        replace(lesion, image=np.asarray(changed, np.float32)),
        Feather(reach, reach + 1.0, edge.through_plane),
    )


def _grain(host: Image, lesion: Lesion) -> Image:
    """What is finer than the lesion's structure and no stronger than the host's noise, so that edges are no grain."""
    ring = ring_around(lesion.mask)
    noise = robust_deviation(fine_part(host)[:, ring if ring.any() else lesion.mask])
    limit = per_channel(_MOST_GRAIN * noise)
    return np.asarray(np.clip(lesion.image - _smooth(lesion.image, lesion.mask), -limit, limit))


def _smooth(image: Image, mask: Mask) -> Image:
    """The image inside a mask without its fine part, slice by slice; continued beyond its outline."""
    weight = mask.astype(np.float32)
    parts = _blurred(image * weight, _GRAIN_VOXELS)
    total = _blurred(weight[None], _GRAIN_VOXELS)
    inside = np.array([channel[mask].mean() for channel in image], dtype=np.float32)
    return np.asarray(np.where(total > 1e-3, parts / np.maximum(total, 1e-3), per_channel(inside)))


def _level(host: Image, mask: Mask) -> Float[np.ndarray, "C 1 1 1"]:
    """Of the tissue around a lesion, which a vessel in it does not change."""
    ring = ring_around(mask)
    return per_channel(np.median(host[:, ring if ring.any() else mask], axis=1))


def _radius(mask: Mask) -> float:
    return float(np.sqrt(mask.sum(axis=(0, 1)).max() / np.pi))


def _blurred(image: Image, voxels: float) -> Image:
    """Slice by slice, since slices may lie far apart."""
    return np.asarray(ndimage.gaussian_filter(image, (0.0, voxels, voxels, 0.0), truncate=3.0))
