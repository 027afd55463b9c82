"""Thick slices from thin ones, the grid of the thin ones, and the values between slices.

A thick slice is the mean of the tissue it cuts, weighted by its slice profile: a box as wide as the slices are apart,
or a Gaussian of that full width at half maximum, as SMORE models it (Zhao et al., IEEE Trans Med Imaging 2021;40:805).
Everything is linear along one axis, so each operation is a small matrix.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.geometry import Axis, Grid

Profile = Literal["box", "gaussian"]
Weights = Float[np.ndarray, "M N"]
Positions = Float[np.ndarray, "M"]

_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))  # full width at half maximum of a Gaussian, in deviations


def slice_axis(spacing_mm: tuple[float, float, float]) -> Axis:
    """The axis along which slices are stacked: the one of the largest spacing; the last one where several are."""
    if spacing_mm[2] >= max(spacing_mm[:2]) - 1e-3:
        return 2
    return 1 if spacing_mm[1] >= spacing_mm[0] - 1e-3 else 0


def thick_weights(fine: int, factor: float, profile: Profile) -> Weights:
    """How much each fine slice counts in each thick one; every row sums to 1.

    Args:
        fine: Number of fine slices, N; M is the number of whole thick slices among them.
        factor: Fine slices for one thick slice; not below 1.
        profile: Sensitivity along the thickness.
    """
    centres = (np.arange(int(fine / factor + 1e-6)) + 0.5) * factor - 0.5
    away = np.abs(np.arange(fine) - centres[:, None])
    if profile == "box":
        weights = np.clip(0.5 * factor + 0.5 - away, 0.0, 1.0)
    else:
        weights = np.exp(-0.5 * (away / (factor / _FWHM)) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def between_weights(thick: int, positions: Positions, order: Literal[1, 3]) -> Weights:
    """How much each of N slices counts at M places between them: linear, or cubic spline, interpolation.

    Args:
        thick: Number of slices, N.
        positions: Places in slice numbers; the end slices go on beyond the ends.
        order: 1 for straight lines, 3 for cubic splines.
    """
    columns = [
        ndimage.map_coordinates(column, [positions], order=order, mode="nearest") for column in np.eye(thick)
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def along_last(array: Float[np.ndarray, "*S N"], weights: Weights) -> Float[np.ndarray, "*S M"]:
    """Apply weights (M, N) along the last axis; float32."""
    return np.asarray(array @ weights.T.astype(np.float32), dtype=np.float32)


def finer_grid(grid: Grid, axis: Axis, spacing_mm: float) -> tuple[Grid, Positions]:
    """The grid with other slices through the same part of the patient, and where they lie between the old ones.

    Thick slices cover half a spacing beyond their first and last centre; as many new slices as fit into that extent
    share its middle. With a spacing of ``old / factor`` they fill it exactly: the first thin slice lies
    ``(factor - 1) / (2 factor)`` of a thick spacing before the first thick one.

    Args:
        grid: Of the thick slices.
        axis: Along which they are stacked.
        spacing_mm: Distance of the new slices.

    Returns:
        The new grid, and the place of each new slice in old slice numbers.
    """
    old, thick = grid.spacing_mm[axis], grid.shape[axis]
    step = spacing_mm / old
    count = max(1, round(thick / step))
    positions = (thick - 1) / 2 + (np.arange(count) - (count - 1) / 2) * step
    affine = np.array(grid.affine)
    affine[:3, 3] += affine[:3, axis] * positions[0]
    affine[:3, axis] *= step
    shape = list(grid.shape)
    shape[axis] = count
    return Grid((shape[0], shape[1], shape[2]), affine), positions
