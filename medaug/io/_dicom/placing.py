"""Where a plane of pixels lies on a grid, and putting it there voxel for voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from medaug.core.errors import GeometryError
from medaug.core.findings import Code
from medaug.core.geometry import Affine, Grid, lps_to_ras
from medaug.core.wording import counted

# How far a plane may lie from the voxels it is put on, in voxels: the rounding of positions in headers
OFF_GRID: Final = 0.05
# Indices this far from a grid are none (and would overflow)
_FARTHEST: Final = 1e6


@final
@dataclass(frozen=True, slots=True)
class Place:
    """A plane of pixels on a grid: its columns and rows run along two axes, the third is fixed.

    Attributes:
        axes: The grid's axis along a row (growing columns), along a column (growing rows), and the fixed one.
        signs: Whether columns and rows grow with (1) or against (-1) their axes.
        start: The voxel of the first pixel; may lie outside the grid.
    """

    axes: tuple[int, int, int]
    signs: tuple[int, int]
    start: tuple[int, int, int]

    @property
    def layer(self) -> tuple[int, int]:
        """The fixed axis, and the index on it."""
        return self.axes[2], self.start[self.axes[2]]

    def put(self, values: np.ndarray, onto: np.ndarray) -> None:
        """Write the values of a (rows, columns) plane that are not 0 into an (I, J, K) array.

        Raises:
            GeometryError: If one of them lies outside the grid.
        """
        across, down, fixed = self.axes
        turned = values[:: self.signs[1], :: self.signs[0]]
        low = [
            self.start[axis] - (count - 1 if sign < 0 else 0)
            for axis, sign, count in zip((across, down), self.signs, values.shape[::-1], strict=True)
        ]
        rows = _shared(low[1], values.shape[0], onto.shape[down])
        columns = _shared(low[0], values.shape[1], onto.shape[across])
        part = turned[
            rows.start - low[1] : rows.stop - low[1], columns.start - low[0] : columns.stop - low[0]
        ]
        held = 0 <= self.start[fixed] < onto.shape[fixed]
        outside = int(np.count_nonzero(values)) - (int(np.count_nonzero(part)) if held else 0)
        if outside:
            raise GeometryError(
                f"segmentation reaches outside the image by {counted(outside, 'voxel')} of a frame",
                hint="add the missing slices, or cut it to the image",
                code=Code.LABEL_GRID,
            )
        if held:
            layer = np.moveaxis(onto, (down, across, fixed), (0, 1, 2))[:, :, self.start[fixed]]
            layer[rows, columns][part != 0] = part[part != 0]


def _shared(low: int, count: int, size: int) -> slice:
    """The part of ``low`` to ``low + count`` that lies between 0 and ``size``; empty where there is none."""
    start = min(max(low, 0), size)
    return slice(start, max(start, min(low + count, size)))


def place_on(
    grid: Grid, affine_lps: Affine, size: tuple[int, int], *, to_nearest: bool = False
) -> Place | None:
    """Where a plane lies on a grid; None where its pixels are no voxels of it.

    Args:
        grid: RAS+.
        affine_lps: (column, row, anything) index of the plane to LPS+ mm.
        size: Columns and rows.
        to_nearest: Let the plane move within itself by up to half a voxel.
    """
    to_index = np.linalg.inv(grid.affine) @ lps_to_ras(affine_lps)
    across, down = (int(np.argmax(np.abs(to_index[:3, n]))) for n in (0, 1))
    if across == down or not np.isfinite(to_index).all():
        return None
    ends = np.array([[c, r, 0, 1] for c in (0, size[0] - 1) for r in (0, size[1] - 1)])
    corners = (ends @ to_index.T)[:, :3]
    if np.abs(corners).max() > _FARTHEST:
        return None
    signs = (1 if to_index[across, 0] > 0 else -1, 1 if to_index[down, 1] > 0 else -1)
    # half a voxel goes to the greater index whatever the rounding of the text before
    start = np.floor(np.round(corners[0], 6) + 0.5)
    wanted = np.tile(start, (4, 1))
    wanted[:, across] += signs[0] * ends[:, 0]
    wanted[:, down] += signs[1] * ends[:, 1]
    moved = corners[0] - start
    moved[3 - across - down] = 0
    if np.abs(corners - wanted - (moved if to_nearest else 0)).max() > OFF_GRID:
        return None
    return Place((across, down, 3 - across - down), signs, (int(start[0]), int(start[1]), int(start[2])))
