"""Closed polygons to pixels by the even-odd rule: exact, vectorised, and without a choice at edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float

Points = Float[np.ndarray, "N 2"]
# Crossings of edges with rows that are held at a time: bounds the memory that a hostile contour takes
_CROSSINGS: Final = 1 << 21


@final
@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """The pixels of a polygon: ``inside`` begins at row ``top`` and column ``left`` of the image."""

    inside: Bool[np.ndarray, "rows columns"]
    top: int
    left: int

    @property
    def pixels(self) -> int:
        """How many pixels it holds."""
        return int(np.count_nonzero(self.inside))

    @property
    def window(self) -> tuple[slice, slice]:
        """Where it lies in the image."""
        rows, columns = self.inside.shape
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)


def fill(points: Points, shape: tuple[int, int]) -> Filled:
    """The pixels of an image whose centres lie inside a closed polygon, by the even-odd rule.

    The centre of the first pixel is (0, 0). A centre on an edge belongs to the polygon on its right (growing columns),
    or below it where the edge runs along a row: polygons that share an edge share no pixel, and leave none out. The
    order and direction of the points do not matter, nor whether the first is repeated at the end; a channel of no width
    (keyhole) holds no pixel.

    Args:
        points: (column, row) of each corner, finite, within a few million pixels of the image.
        shape: Rows and columns of the image; what lies outside is left out.
    """
    rows, columns = shape
    low, high = np.ceil(points.min(axis=0)), np.floor(points.max(axis=0))
    left, top = (int(v) for v in np.clip(low, 0, (columns, rows)))
    right, bottom = (int(v) for v in np.clip(high + 1, (left, top), (columns, rows)))
    width, height = right - left, bottom - top
    if not width or not height:
        return Filled(np.zeros((0, 0), dtype=bool), top, left)
    # one column more, for crossings to the right of the window
    toggles = np.zeros(height * (width + 1), dtype=np.uint8)
    for row, column in _crossings(points - (left, top), height):
        places = row * (width + 1) + np.clip(column, 0, width).astype(np.int64)
        toggles ^= (np.bincount(places, minlength=toggles.size) & 1).astype(np.uint8)
    crossed = np.bitwise_xor.accumulate(toggles.reshape(height, width + 1), axis=1)
    return Filled(crossed[:, :width].astype(bool), top, left)


def _crossings(points: Points, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where edges cross the rows of a window: the row, and the first column at or right of the crossing."""
    ends = np.roll(points, -1, axis=0)
    # an edge is computed from its upper end whichever way it is walked
    down = points[:, 1] <= ends[:, 1]
    upper, lower = np.where(down[:, None], points, ends), np.where(down[:, None], ends, points)
    first = np.clip(np.ceil(upper[:, 1]), 0, rows).astype(np.int64)
    stop = np.clip(np.ceil(lower[:, 1]), 0, rows).astype(np.int64)
    kept = np.flatnonzero(stop > first)
    upper, lower, first, counts = upper[kept], lower[kept], first[kept], (stop - first)[kept]
    chunk = (np.cumsum(counts) - counts) // _CROSSINGS
    for number in np.unique(chunk):
        part = chunk == number
        yield _crossed(upper[part], lower[part], first[part], counts[part])


def _crossed(
    upper: Points, lower: Points, first: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    edge = np.repeat(np.arange(len(counts)), counts)
    row = first[edge] + np.arange(len(edge)) - (np.cumsum(counts) - counts)[edge]
    slope = (lower[:, 0] - upper[:, 0]) / (lower[:, 1] - upper[:, 1])
    return row, np.ceil(upper[edge, 0] + (row - upper[edge, 1]) * slope[edge])


def area(points: Points) -> float:
    """The area of a polygon in pixels, by the shoelace formula; that of keyholes counts as it should."""
    ends = np.roll(points, -1, axis=0)
    return 0.5 * abs(float(np.sum(points[:, 0] * ends[:, 1] - ends[:, 0] * points[:, 1])))
