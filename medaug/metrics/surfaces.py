"""How far two outlines lie apart: normalised surface Dice and the 95th percentile Hausdorff distance.

Distances are exact, in mm, to the nearest point of the other outline (k-d tree).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from skimage.measure import find_contours, marching_cubes

from medaug.core.geometry import Grid
from medaug.core.volume import Mask

Points = Float[np.ndarray, "N 3"]
_PERCENTILE = 95.0
_SLACK = 1e-6  # affines are stored as float32: one voxel of 1 mm may measure 1.0000001


@final
@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Where the voxels of a mask lie.

    Attributes:
        at: Voxel index of every plane along I, J, K; planes may be left out where they and those beside them are empty.
        axes_mm: (3, 3) steps along I, J, K as columns.
        flat: True for a picture of one slice, whose outlines are curves.
    """

    at: tuple[Int[np.ndarray, "I"], Int[np.ndarray, "J"], Int[np.ndarray, "K"]]
    axes_mm: Float[np.ndarray, "3 3"]
    flat: bool

    @staticmethod
    def of(grid: Grid) -> Frame:
        """All planes of a grid."""
        i, j, k = (np.arange(n) for n in grid.shape)
        return Frame((i, j, k), grid.affine[:3, :3], flat=grid.shape[2] == 1)

    def planes(self, kept: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Frame:
        """Those of the planes with these numbers."""
        i, j, k = (at[numbers] for at, numbers in zip(self.at, kept, strict=True))
        return Frame((i, j, k), self.axes_mm, self.flat)

    def diameters_mm(self, voxels: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
        """Diameter of the ball (flat: disc) as large as so many voxels."""
        if self.flat:
            pixel_mm2 = np.linalg.norm(np.cross(self.axes_mm[:, 0], self.axes_mm[:, 1]))
            return np.asarray(np.sqrt(4.0 * voxels * pixel_mm2 / np.pi))
        return np.asarray(np.cbrt(6.0 * voxels * self.voxel_mm3 / np.pi))

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in mm3."""
        return float(abs(np.linalg.det(self.axes_mm)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Where a mask ends.

    Attributes:
        boundary: (N, 3) mm, voxels with a face (flat: edge) on the outside or on the border of the image.
        elements: (M, 3) mm, cells between 2 x 2 x 2 voxel centres (flat: 2 x 2) that the surface runs through.
        areas: (M,) mm2 (flat: mm) of surface in each, by marching cubes (Lorensen and Cline, 1987).
    """

    boundary: Points
    elements: Float[np.ndarray, "M 3"]
    areas: Float[np.ndarray, "M"]

    @staticmethod
    def of(mask: Mask, frame: Frame) -> Outline:
        """The outline of a mask that is not empty; the work grows with the mask, not with the image around it."""
        # steps count along memory, and files may hold a mask column by column
        padded = np.ascontiguousarray(np.pad(mask[..., 0] if frame.flat else mask, 1))
        solid, steps = padded.ravel(), np.array(padded.strides) // padded.itemsize
        voxels = np.flatnonzero(solid)
        open_sides = [~solid[voxels + step] for step in (*steps, *-steps)]
        boundary = voxels[np.logical_or.reduce(open_sides)]
        # bit 1 of the number of a corner is its place along I, bit 2 along J, bit 4 along K
        corners = np.array([(n >> np.arange(padded.ndim) & 1) @ steps for n in range(2**padded.ndim)])
        # a cell that the surface runs through has a boundary voxel at one of its corners
        cells = np.unique(boundary[:, None] - corners)
        codes = sum((solid[cells + step] * (1 << n) for n, step in enumerate(corners)), np.zeros(1, int))
        crossed = codes != 2**corners.size - 1
        return Outline(
            _points(boundary, padded.shape, frame),
            _points(cells[crossed], padded.shape, frame),
            _areas(frame.axes_mm[:, : padded.ndim])[codes[crossed]],
        )


def surface_dice(prediction: Outline, reference: Outline, tolerance_mm: float) -> float:
    """Share of both surfaces that lies within a tolerance of the other one (Nikolov et al., J Med Internet Res 2021).

    As published, and as DeepMind's surface-distance and MONAI with subvoxels measure it: surface elements weigh their
    area, and distances run between cells. (MONAI's default counts boundary voxels instead.)

    Args:
        prediction: One side.
        reference: The other.
        tolerance_mm: Distance that still counts as right; a millionth more is let pass for rounding.
    """
    within = tolerance_mm * (1.0 + _SLACK)
    near = [
        one.areas[_distances(one.elements, other.elements, within) <= within].sum()
        for one, other in ((prediction, reference), (reference, prediction))
    ]
    return float(sum(near) / (prediction.areas.sum() + reference.areas.sum()))


def hd95_mm(prediction: Outline, reference: Outline) -> float:
    """Larger of the two 95th percentiles of the distances between boundary voxels, interpolated, as MONAI measures it."""
    there = _distances(prediction.boundary, reference.boundary)
    back = _distances(reference.boundary, prediction.boundary)
    return float(max(np.percentile(there, _PERCENTILE), np.percentile(back, _PERCENTILE)))


def _distances(
    points: Points, others: Float[np.ndarray, "M 3"], bound_mm: float = np.inf
) -> Float[np.ndarray, "N"]:
    """To the nearest of the others; infinite beyond the bound."""
    # balanced trees are ten times slower where many points are almost equally near, as on two nested balls
    tree = KDTree(others, leafsize=64, balanced_tree=False)
    return np.asarray(tree.query(points, distance_upper_bound=np.nextafter(bound_mm, np.inf))[0])


def _points(numbers: Int[np.ndarray, "N"], shape: tuple[int, ...], frame: Frame) -> Points:
    """Places of voxels of an array whose planes begin one before the first of the frame."""
    indices = np.unravel_index(numbers, shape)
    places = [np.r_[at[0] - 1, at, at[-1] + 1][n] for at, n in zip(frame.at, indices, strict=False)]
    return np.asarray(np.stack(places, axis=1) @ frame.axes_mm[:, : len(shape)].T)


def _areas(axes_mm: Float[np.ndarray, "3 D"]) -> Float[np.ndarray, "codes"]:
    """Area in mm2 (two axes: length in mm) of the surface in a cell, for each code of its corners."""
    dimensions = axes_mm.shape[1]
    codes, faces = _faces(dimensions)
    corners = faces @ axes_mm.T
    sides = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.norm(sides[:, 0] if dimensions == 2 else np.cross(sides[:, 0], sides[:, 1]) / 2, axis=1)
    return np.bincount(codes, areas, minlength=2**2**dimensions)


@cache
def _faces(dimensions: int) -> tuple[Int[np.ndarray, "F"], Float[np.ndarray, "F D D"]]:
    """Triangles (two dimensions: line segments) in a unit cell, with the code of the corners that they belong to."""
    codes, faces = [], []
    for code in range(1, 2**2**dimensions - 1):
        bits = (code >> np.arange(2**dimensions)) & 1
        # a cell and its complement hold one surface, which the table has for the side with fewer corners
        few = bits if 2 * bits.sum() <= bits.size else 1 - bits
        own = _cell(few.reshape((2,) * dimensions, order="F").astype(np.float64))
        codes += [code] * len(own)
        faces.append(own)
    return np.array(codes), np.concatenate(faces)


def _cell(corners: np.ndarray) -> Float[np.ndarray, "F D D"]:
    if corners.ndim == 2:
        lines = find_contours(corners, 0.5)
        return np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines])
    vertices, triangles, _, _ = marching_cubes(corners, 0.5, method="lorensen")
    return np.asarray(vertices[triangles], dtype=np.float64)
