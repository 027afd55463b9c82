"""Cases on another spacing, and answers back on the grid of the image: the outer edges of the voxels stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Integer
from torch.nn.functional import interpolate

from medaug.core.case import Case
from medaug.core.geometry import Grid
from medaug.core.volume import Image, Labels

_Shape = tuple[int, int, int]


def resized_shape(grid: Grid, target_mm: Sequence[float] | None) -> _Shape:
    """Voxels of a grid at another spacing.

    Args:
        grid: As it is.
        target_mm: Along I, J (, K); further axes, and all where it is None, stay as they are.
    """
    shape = list(grid.shape)
    for axis, mm in enumerate(target_mm or ()):
        shape[axis] = max(1, round(grid.shape[axis] * grid.spacing_mm[axis] / mm))
    return (shape[0], shape[1], shape[2])


def resample_case(case: Case, target_mm: Sequence[float] | None) -> Case:
    """A case at another spacing: image, label map and site; itself where it lies there already."""
    grid = case.volume.grid
    shape = resized_shape(grid, target_mm)
    if shape == grid.shape:
        return case
    onto = _resized_grid(grid, shape)
    label_map = case.label_map
    if label_map is not None:
        label_map = replace(label_map, labels=resize_labels(label_map.labels, shape), grid=onto)
    volume = replace(case.volume, image=resize_image(case.volume.image, shape), grid=onto)
    return replace(case, volume=volume, label_map=label_map, site=_moved(case.site, grid.shape, shape))


def resize_image(image: Image, shape: _Shape) -> Float32[np.ndarray, "C X Y Z"]:
    """Cubic convolution (Keys, IEEE TASSP 1981), widened where voxels become larger, lest fine texture turn into another."""
    return _resized(image, shape, "bicubic")


def resize_shares(shares: Float32[np.ndarray, "N I J K"], shape: _Shape) -> Float32[np.ndarray, "N X Y Z"]:
    """Linear: shares of classes stay between 0 and 1 and go on to sum to 1."""
    return _resized(shares, shape, "bilinear")


def resize_labels(labels: Labels, shape: _Shape) -> Integer[np.ndarray, "X Y Z"]:
    """The class with the largest share of each voxel."""
    resized, most = np.zeros(shape, dtype=labels.dtype), np.zeros(shape, dtype=np.float32)
    for number in np.unique(labels):
        share = resize_shares((labels == number)[None].astype(np.float32), shape)[0]
        larger = share >= most  # a lesion takes the voxel that it shares evenly with the background
        resized[larger], most[larger] = number, share[larger]
    return resized


def _resized(
    values: Float32[np.ndarray, "N I J K"], shape: _Shape, mode: Literal["bicubic", "bilinear"]
) -> Float32[np.ndarray, "N X Y Z"]:
    """Axis by axis: the kernels are products."""
    found = values
    for axis, size in enumerate(shape, start=1):
        if size == found.shape[axis]:
            continue
        if found.shape[axis] == 1:  # torch takes such rows for channels
            found = np.repeat(found, size, axis=axis)
            continue
        last = np.ascontiguousarray(np.moveaxis(found, axis, -1), dtype=np.float32)
        rows = torch.from_numpy(last).view(1, 1, -1, last.shape[-1])
        resized = interpolate(rows, size=(rows.shape[2], size), mode=mode, antialias=mode == "bicubic")
        found = np.moveaxis(resized.view(*last.shape[:-1], size).numpy(), -1, axis)
    return np.ascontiguousarray(found)


def _resized_grid(grid: Grid, shape: _Shape) -> Grid:
    ratio = np.array(grid.shape) / np.array(shape)
    affine = np.array(grid.affine)
    affine[:3, 3] += affine[:3, :3] @ (0.5 * ratio - 0.5)
    affine[:3, :3] *= ratio
    return Grid(shape, affine)


def _moved(site: _Shape | None, old: _Shape, new: _Shape) -> _Shape | None:
    if site is None:
        return None
    i, j, k = (int((at + 0.5) * n / m) for at, m, n in zip(site, old, new, strict=True))
    return (i, j, k)
