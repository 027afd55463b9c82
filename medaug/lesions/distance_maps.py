"""Lesions of any size and spacing as signed distance maps of one size, and masks of any size drawn from such maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from medaug.core.lesion import LesionCrop
from medaug.core.volume import Mask
from medaug.lesions.diameter import is_met, mask_diameter_mm
from medaug.lesions.parts import largest_part

SIDES: Final = {2: 48, 3: 24}
REACH: Final = 1.1  # diameters that a map reaches from the lesion's middle to each side
FARTHEST: Final = 0.5  # diameters; larger distances are all the same
_SECTIONS = 4  # of a lesion, at most
_SMALLEST_SECTION = 12  # voxels
_LARGE_SECTION = 0.5  # of the largest section's area
_CELLS_AROUND = 1.5  # of the host beyond the shape
_MOST_SHIFT = 0.2  # diameters by which the outline may be moved to meet a size

Map = Float32[np.ndarray, "*S"]


def maps_of(crops: Sequence[LesionCrop], dims: int) -> Float32[np.ndarray, "n *S"]:
    """Signed distance maps of lesions (3), or of their larger sections (2), each scaled by its own diameter.

    Args:
        crops: The lesions.
        dims: 2 or 3.

    Returns:
        (n, 48, 48) or (n, 24, 24, 24): distance to the outline in diameters, negative inside, at most half a diameter.
    """
    found = []
    for crop in crops:
        masks = _sections(crop.mask) if dims == 2 else (crop.mask,)
        found += [_map(mask, crop.entry.spacing_mm, dims) for mask in masks]
    return np.stack(found) if found else np.zeros((0, *(SIDES[dims],) * dims), np.float32)


def _sections(mask: Mask) -> list[Bool[np.ndarray, "I J 1"]]:
    """The larger sections of a lesion, spread over it; each its largest part."""
    areas = mask.sum(axis=(0, 1))
    good = np.flatnonzero(areas >= max(_SMALLEST_SECTION, _LARGE_SECTION * areas.max()))
    if not len(good):
        return []
    spread = np.unique(np.linspace(0, len(good) - 1, _SECTIONS).round().astype(int))
    return [largest_part(mask[..., k : k + 1]) for k in good[spread]]


def _map(mask: Mask, spacing_mm: tuple[float, float, float], dims: int) -> Map:
    diameter = mask_diameter_mm(mask, spacing_mm, flat=dims == 2)
    centre = np.argwhere(mask).mean(axis=0)
    side = SIDES[dims]
    steps = (np.arange(side) + 0.5) / side * 2.0 * REACH - REACH
    axes = [steps * diameter / spacing_mm[axis] + centre[axis] for axis in range(dims)]
    axes += [np.array([centre[2]])] if dims == 2 else []
    points = np.stack([p.ravel() for p in np.meshgrid(*axes, indexing="ij")])
    soft = ndimage.map_coordinates(mask.astype(np.float32), points, order=1)
    inside = soft.reshape((side,) * dims) >= 0.5
    cell = 2.0 * REACH / side
    outer = ndimage.distance_transform_edt(~inside) - 0.5
    signed = np.where(
        inside, 0.5 - ndimage.distance_transform_edt(np.pad(inside, 1))[(slice(1, -1),) * dims], outer
    )
    return np.asarray(np.clip(signed * cell, -FARTHEST, FARTHEST), dtype=np.float32)


def on_voxels(
    shape: Map,
    diameter_mm: float,
    spacing_mm: tuple[float, float, float],
    slices: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "I J K"]:
    """A map on the host's voxels, in diameters of the shape; scaled so that its outline encloses the disc's area or ball's volume.

    Args:
        shape: A map as of :func:`maps_of`, of two or three axes.
        diameter_mm: Of the shape.
        spacing_mm: Of the host.
        slices: Of the host; the shape is cut off beyond them.
        rng: Moves the shape's middle off that of a voxel, so that symmetric ones are drawn without ties.
    """
    dims, side = shape.ndim, shape.shape[0]
    cell = 2.0 * REACH / side
    # what the outline encloses, cells on it in part, against the disc or ball of diameter 1
    enclosed = float(np.clip(0.5 - shape / cell, 0.0, 1.0).sum()) * cell**dims
    unit = np.pi / 4.0 if dims == 2 else np.pi / 6.0
    scale = diameter_mm * (unit / max(enclosed, 1e-3 * unit)) ** (1.0 / dims)
    where = np.argwhere(shape <= 2.0 * cell)
    far = np.abs((where + 0.5) * cell - REACH).max(axis=0) if len(where) else np.full(dims, REACH)
    half = np.ceil(far * scale / np.array(spacing_mm[:dims]) + _CELLS_AROUND).astype(int)
    sizes = [int(2 * n + 1) for n in half]
    if dims == 3:
        sizes[2] = min(sizes[2], slices)
    axes = [
        ((np.arange(n) - (n - 1) / 2 + rng.uniform(-0.5, 0.5)) * mm / scale + REACH) / cell - 0.5
        for n, mm in zip(sizes, spacing_mm, strict=False)
    ]
    points = np.stack([p.ravel() for p in np.meshgrid(*axes, indexing="ij")])
    values = ndimage.map_coordinates(shape, points, order=1, mode="nearest").reshape(sizes)
    return np.asarray(values if dims == 3 else values[..., None])


def mask_of_size(values: Float[np.ndarray, "I J K"], wanted: float) -> Mask | None:
    """A connected mask of a number of voxels, its outline as near to that of the map as the size allows; None without any.

    What voxels and slices leave open is met by moving the outline in or out, so that the largest connected part has the size:
    that grows with the level, which is found by bisection.

    Args:
        values: As of :func:`on_voxels`.
        wanted: Voxels of the mask.
    """
    order = np.sort(values, axis=None)
    count = max(1, round(wanted))
    low, high = count - 1, int(np.searchsorted(order, _MOST_SHIFT, side="right")) - 1
    if low > high:
        return None
    mask = largest_part(values <= order[low])
    if not is_met(int(mask.sum()), wanted):
        while low < high:
            middle = (low + high) // 2
            if int(largest_part(values <= order[middle]).sum()) >= count:
                high = middle
            else:
                low = middle + 1
        mask = largest_part(values <= order[low])
    return mask if is_met(int(mask.sum()), wanted) else None
