"""Grids in patient space: RAS+ millimetres inside medaug, LPS+ only at the DICOM border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Real

from medaug.core.errors import GeometryError

Affine = Float[np.ndarray, "4 4"]
Axis = Literal[0, 1, 2]
Slices = tuple[slice, slice, slice]
NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
"""Structuring element: a voxel and all that touch it by a face, an edge or a corner."""
NEIGHBOURS_4 = np.pad(
    np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)[:, :, None], ((0, 0), (0, 0), (1, 1))
)
"""Structuring element: a voxel and the four beside it in its slice."""
_SLAB = 8
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def lps_to_ras(affine: Affine) -> Affine:
    """Turn an affine to LPS+ mm (DICOM PS3.3 C.7.6.2.1.1) into one to RAS+ mm; its own inverse."""
    return np.asarray(_LPS_TO_RAS @ affine, dtype=np.float64)


ras_to_lps = lps_to_ras


@final
@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where the voxels of an image sit in the patient.

    Attributes:
        shape: Number of voxels along I, J, K.
        affine: 4 x 4 float64, voxel index (i, j, k, 1) to RAS+ mm; points at voxel centres.

    Raises:
        GeometryError: If the shape is not positive, or the affine is not finite or not invertible.
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        """Check the grid and take a private, read-only copy of the affine."""
        affine = np.array(self.affine, dtype=np.float64)
        if min(self.shape) < 1:
            raise GeometryError(f"grid shape is {self.shape}", expected="three sizes of at least 1")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError("affine is not a finite 4 x 4 matrix")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise GeometryError("affine is singular", expected="three independent axes")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along I, J, K, in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def axcodes(self) -> str:
        """Closest anatomical direction of each axis, e.g. ``RAS``."""
        order, flips = self.orientation()
        return "".join(
            "RAS"[axis] if flip > 0 else "LPI"[axis] for axis, flip in zip(order, flips, strict=True)
        )

    def orientation(self) -> tuple[list[int], list[int]]:
        """For each voxel axis: the world axis it follows, and +1 or -1."""
        cosines = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        order, flips, left = [0, 0, 0], [1, 1, 1], [0, 1, 2]
        for axis in np.argsort(-np.abs(cosines).max(axis=0)):
            world = max(left, key=lambda w: abs(cosines[w, axis]))
            left.remove(world)
            order[int(axis)], flips[int(axis)] = world, 1 if cosines[world, axis] >= 0 else -1
        return order, flips

    def to_mm(self, index: Real[np.ndarray, "3"] | tuple[float, float, float]) -> Float[np.ndarray, "3"]:
        """RAS+ mm of a (fractional) voxel index."""
        return np.asarray(self.affine[:3, :3] @ np.asarray(index, dtype=np.float64) + self.affine[:3, 3])

    def to_index(
        self, point_mm: Float[np.ndarray, "3"] | tuple[float, float, float]
    ) -> Float[np.ndarray, "3"]:
        """Fractional voxel index of a point in RAS+ mm."""
        return np.asarray(
            np.linalg.solve(self.affine[:3, :3], np.asarray(point_mm, dtype=np.float64) - self.affine[:3, 3])
        )

    def nearest_voxel(self, point_mm: tuple[float, float, float]) -> tuple[int, int, int]:
        """The voxel of the grid that is closest to a point in RAS+ mm, along each axis apart."""
        index = self.to_index(point_mm)
        i, j, k = (min(max(round(float(at)), 0), n - 1) for at, n in zip(index, self.shape, strict=True))
        return i, j, k

    def crop(self, box: Box) -> Grid:
        """The grid of a box cut out of this one."""
        affine = np.array(self.affine)
        affine[:3, 3] = self.to_mm((float(box.start[0]), float(box.start[1]), float(box.start[2])))
        return Grid(box.shape, affine)

    def agrees_with(self, other: Grid, *, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have one shape and put every voxel at one place, within the tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
        corners[:, :3] *= np.array(self.shape) - 1
        return bool(np.abs((corners @ (self.affine - other.affine).T)[:, :3]).max() <= tolerance_mm)


def _contiguous(view: np.ndarray) -> np.ndarray:
    """A contiguous copy of a view; in slabs where that keeps reads within the cache (slices first to slices last)."""
    if view.flags.c_contiguous or abs(view.strides[-1]) < max(abs(stride) for stride in view.strides):
        return np.ascontiguousarray(view)
    copy = np.empty(view.shape, dtype=view.dtype)
    for start in range(0, view.shape[-2], _SLAB):
        copy[..., start : start + _SLAB, :] = view[..., start : start + _SLAB, :]
    return copy


@final
@dataclass(frozen=True, slots=True)
class Reorientation:
    """A permutation and flips of voxel axes, without resampling, and its inverse.

    Attributes:
        order: ``order[n]`` is the old axis that becomes new axis n.
        flips: Whether new axis n runs against the old one.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Reorient the last three axes of an array; returns a contiguous array."""
        lead = array.ndim - 3
        moved = np.transpose(array, [*range(lead), *(lead + axis for axis in self.order)])
        return _contiguous(np.flip(moved, tuple(lead + n for n, flip in enumerate(self.flips) if flip)))

    def invert(self, array: np.ndarray) -> np.ndarray:
        """Undo :meth:`apply`."""
        lead = array.ndim - 3
        unflipped = np.flip(array, tuple(lead + n for n, flip in enumerate(self.flips) if flip))
        back = [self.order.index(axis) for axis in range(3)]
        return np.ascontiguousarray(np.transpose(unflipped, [*range(lead), *(lead + axis for axis in back)]))


def to_ras(grid: Grid) -> tuple[Grid, Reorientation]:
    """The same voxels in the order closest to RAS+ (i right, j anterior, k superior), never resampled."""
    order, flips = grid.orientation()
    new_order = tuple(order.index(world) for world in range(3))
    new_flips = tuple(flips[axis] < 0 for axis in new_order)
    affine = np.array(grid.affine)
    for axis, flip in zip(new_order, new_flips, strict=True):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
            affine[:3, axis] *= -1
    affine[:3, :3] = affine[:3, list(new_order)]
    shape = (grid.shape[new_order[0]], grid.shape[new_order[1]], grid.shape[new_order[2]])
    turn = Reorientation(
        (new_order[0], new_order[1], new_order[2]), (new_flips[0], new_flips[1], new_flips[2])
    )
    return Grid(shape, affine), turn


def planar_grid(rows: int, columns: int, spacing_mm: tuple[float, float]) -> Grid:
    """The grid of a picture that lies nowhere in the patient (radiograph, ultrasound, photograph), index (column, row, 0).

    The picture lies as it is viewed, like an axial slice on a screen: columns run to the patient's left, rows to the back
    (LPS+), the first pixel is the origin and the third axis is 1 mm thick. One rule for DICOM, PNG and TIFF puts one picture
    on one grid, whatever file it came in; :func:`to_ras` then turns it, as any other volume, so that index (0, 0, 0) is the
    last pixel of the last row.

    Args:
        rows: Of the picture.
        columns: Of the picture.
        spacing_mm: Distance between rows, distance between columns.
    """
    return Grid((columns, rows, 1), lps_to_ras(np.diag([spacing_mm[1], spacing_mm[0], 1.0, 1.0])))


@final
@dataclass(frozen=True, slots=True)
class Box:
    """A box of voxels: ``start`` inclusive, ``stop`` exclusive, along I, J, K; may reach outside an image."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Size along I, J, K."""
        return (self.stop[0] - self.start[0], self.stop[1] - self.start[1], self.stop[2] - self.start[2])

    @property
    def slices(self) -> Slices:
        """Index for the last three axes of an array; only for boxes inside the image."""
        return (
            slice(self.start[0], self.stop[0]),
            slice(self.start[1], self.stop[1]),
            slice(self.start[2], self.stop[2]),
        )

    @staticmethod
    def centred(centre: tuple[int, int, int], shape: tuple[int, int, int]) -> Box:
        """The box of a shape around a voxel (index ``shape // 2`` of the box falls on it)."""
        start = tuple(c - n // 2 for c, n in zip(centre, shape, strict=True))
        return Box(
            (start[0], start[1], start[2]), (start[0] + shape[0], start[1] + shape[1], start[2] + shape[2])
        )

    @staticmethod
    def around(mask: np.ndarray, margin: tuple[int, int, int] = (0, 0, 0)) -> Box:
        """The smallest box that holds every True voxel of a (I, J, K) mask, with a margin as far as the mask's array goes.

        Args:
            mask: The mask.
            margin: Voxels on both sides along I, J, K.

        Raises:
            GeometryError: If the mask is empty.
        """
        if not mask.any():
            raise GeometryError("mask is empty", expected="at least one voxel")
        spans = []
        for axis in range(3):
            hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
            spans.append((int(hits[0]), int(hits[-1]) + 1))
        tight = Box((spans[0][0], spans[1][0], spans[2][0]), (spans[0][1], spans[1][1], spans[2][1]))
        return tight.grown(margin).clipped(mask.shape) if any(margin) else tight

    def grown(self, margin: tuple[int, int, int]) -> Box:
        """The box with so many more voxels on both sides along I, J, K."""
        (a, b, c), (d, e, f), (i, j, k) = self.start, self.stop, margin
        return Box((a - i, b - j, c - k), (d + i, e + j, f + k))

    def index_in(self, outer: Box) -> Slices:
        """Index of this box in an array of the voxels of another box that holds it."""
        i, j, k = (slice(a - s, b - s) for a, b, s in zip(self.start, self.stop, outer.start, strict=True))
        return i, j, k

    def clipped(self, shape: tuple[int, ...]) -> Box:
        """The part of the box inside an image of that shape."""
        start = [min(max(s, 0), n) for s, n in zip(self.start, shape, strict=True)]
        stop = [min(max(s, 0), n) for s, n in zip(self.stop, shape, strict=True)]
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def inside(self, shape: tuple[int, ...]) -> bool:
        """Whether the whole box lies inside an image of that shape."""
        return self.clipped(shape) == self

    def cut(self, array: np.ndarray, *, beyond: Literal["edge", "zero"] = "edge") -> np.ndarray:
        """A copy of the box from the last three axes; outside the image the edge value is repeated, or all is 0.

        Raises:
            GeometryError: If the box does not touch the image.
        """
        shape = array.shape[-3:]
        part = self.clipped(shape)
        if min(part.shape) < 1:
            raise GeometryError(f"box {self.start}..{self.stop} lies outside an image of {shape}")
        inner = array[(..., *part.slices)]
        if part == self:
            return inner.copy()
        pads = [
            (p - s, e - q) for s, e, p, q in zip(self.start, self.stop, part.start, part.stop, strict=True)
        ]
        return np.pad(
            inner, [(0, 0)] * (array.ndim - 3) + pads, mode="edge" if beyond == "edge" else "constant"
        )
