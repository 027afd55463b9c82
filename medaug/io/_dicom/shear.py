"""Slices of a tilted gantry onto an upright grid: each is shifted within its own plane, by linear interpolation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from medaug.core.geometry import Affine
from medaug.io._dicom.geometry import Line, Pose

Slice = Float[np.ndarray, "rows columns"]
# What positions are rounded by in headers: no pixel is mixed with its neighbour for so little
_WHOLE_PIXEL = 1e-3


@final
@dataclass(frozen=True, slots=True)
class Shear:
    """How far the slices of a stack lie beside each other.

    The upright grid has the pixels of the first slice, and so many whole pixels more before and after them that no slice
    is cut. Slice n takes its values from its own plane alone, ``n * a_slice`` pixels away.

    Attributes:
        a_slice: Shift from one slice to the next in pixels, along columns and along rows (fractional).
        before: Columns and rows that were added before the first.
        shape: Columns, rows and slices of the upright grid.
    """

    a_slice: tuple[float, float]
    before: tuple[int, int]
    shape: tuple[int, int, int]

    def place(
        self, values: Slice, number: int, into: Float[np.ndarray, "down across"]
    ) -> tuple[slice, slice]:
        """Write slice ``number`` onto the upright grid.

        Returns:
            Rows and columns of ``into`` that were written; the rest lies outside the slice.
        """
        across, columns = _shifted(values, self.a_slice[0] * number + self.before[0], axis=1)
        both, rows = _shifted(across, self.a_slice[1] * number + self.before[1], axis=0)
        into[rows, columns] = both
        return rows, columns


def upright(
    line: Line, pose: Pose, origin_mm: np.ndarray, shape: tuple[int, int, int]
) -> tuple[Shear, Affine]:
    """The shear of a tilted stack, and the LPS+ affine of its upright grid.

    Args:
        line: On which its slices lie.
        pose: Of the slices.
        origin_mm: Position of the first slice.
        shape: Columns, rows and slices as stored.
    """
    height_mm = float(line.step_mm @ pose.normal)
    beside = line.step_mm - height_mm * pose.normal
    a_slice = (
        float(beside @ pose.row) / pose.spacing_mm[1],
        float(beside @ pose.column) / pose.spacing_mm[0],
    )
    furthest = [shift * (shape[2] - 1) for shift in a_slice]
    before = [math.ceil(max(0.0, -far - _WHOLE_PIXEL)) for far in furthest]
    after = [math.ceil(max(0.0, far - _WHOLE_PIXEL)) for far in furthest]
    grown = (shape[0] + before[0] + after[0], shape[1] + before[1] + after[1], shape[2])
    origin = (
        origin_mm - pose.row * pose.spacing_mm[1] * before[0] - pose.column * pose.spacing_mm[0] * before[1]
    )
    return Shear(a_slice, (before[0], before[1]), grown), pose.affine(origin, height_mm * pose.normal)


def _shifted(values: Slice, shift: float, axis: int) -> tuple[Float[np.ndarray, "down across"], slice]:
    """Values moved along an axis by a fraction of a pixel, and where the whole pixels of the result begin and end."""
    whole = math.floor(shift + _WHOLE_PIXEL)
    part = np.float32(max(0.0, shift - whole))
    count = values.shape[axis]
    if part < _WHOLE_PIXEL:
        return values, slice(whole, whole + count)
    left, right = np.split(values, [count - 1], axis)[0], np.split(values, [1], axis)[1]
    return left * part + right * (1 - part), slice(whole + 1, whole + count)
