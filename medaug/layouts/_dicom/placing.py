"""Where slices lie (PS3.3 C.7.6.2): an affine to RAS+ mm as position, orientation and spacing in LPS+ mm."""

from __future__ import annotations

from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from medaug.core.errors import GeometryError
from medaug.core.geometry import Affine, Grid, Reorientation, ras_to_lps

_SHEAR_TOLERANCE = 1e-4
_CLEARLY = 1.2
_DS_LENGTH = 16
# columns run to the patient's left (sagittal: back), rows to the back (sagittal, coronal: feet), as scanners store slices
_FLIPS: Final = (True, True, False)
_TURNS: Final = {
    0: Reorientation((1, 2, 0), _FLIPS),
    1: Reorientation((0, 2, 1), _FLIPS),
    2: Reorientation((0, 1, 2), _FLIPS),
}


# of the axis along which slices lie; along K a picture lies as it does anywhere: nothing is claimed
_ORIENTATIONS: Final = {0: ["P", "F"], 1: ["L", "F"], 2: ""}


def unplaced(grid: Grid) -> Grid:
    """A grid as its voxels alone tell it, where its spacing is not known: 1 mm apart, along the axes of the patient.

    So slices lie along the axis that has one voxel, else along K, and a reader needs nothing but their order.
    """
    return Grid(grid.shape, np.eye(4))


def turn_of(grid: Grid) -> Reorientation:
    """From voxels in RAS+ order to (column, row, slice).

    Slices lie along the axis that has one voxel, or clearly the longest steps: as they were scanned. Else along K.
    """
    steps = grid.spacing_mm
    lone = [axis for axis in (2, 1, 0) if grid.shape[axis] == 1]
    longest = max((2, 1, 0), key=steps.__getitem__)
    is_clear = steps[longest] > _CLEARLY * max(step for axis, step in enumerate(steps) if axis != longest)
    return _TURNS[lone[0] if lone else longest if is_clear else 2]


def frames_of(array: np.ndarray, grid: Grid) -> np.ndarray:
    """(I, J, K) voxels of a grid as contiguous (slice, row, column)."""
    return np.ascontiguousarray(turn_of(grid).apply(array).transpose(2, 1, 0))


def _placed(grid: Grid) -> Grid:
    """The same voxels as :func:`frames_of` puts them, index (column, row, slice)."""
    turn = turn_of(grid)
    affine = np.array(grid.affine)
    affine[:3, :3] = affine[:3, list(turn.order)]
    shape = (grid.shape[turn.order[0]], grid.shape[turn.order[1]], grid.shape[turn.order[2]])
    for axis, flip in enumerate(turn.flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
            affine[:3, axis] *= -1
    return Grid(shape, affine)


def affine_of(grid: Grid) -> Affine:
    """(column, row, slice) index of :func:`frames_of` to LPS+ mm.

    Raises:
        GeometryError: If the grid is sheared, which an image plane cannot express.
    """
    ras = _placed(grid).affine
    axes = ras[:3, :3] / np.linalg.norm(ras[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR_TOLERANCE:
        raise GeometryError("grid is sheared", expected="perpendicular axes", hint="resample first")
    return ras_to_lps(ras)


def place(dataset: Dataset, affine: Affine, k: int) -> None:
    """Fill the image plane of slice ``k``."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    position = affine[:3, :3] @ np.array([0.0, 0.0, float(k)]) + affine[:3, 3]
    cosines = affine[:3, :2] / steps[:2]
    dataset.ImagePositionPatient = [text(value) for value in position]
    dataset.ImageOrientationPatient = [text(value) for value in cosines.T.ravel()]
    dataset.PixelSpacing = [text(steps[1]), text(steps[0])]
    dataset.SliceThickness = text(steps[2])
    dataset.SpacingBetweenSlices = text(steps[2])
    dataset.SliceLocation = text(position @ np.cross(cosines[:, 0], cosines[:, 1]))


def count(dataset: Dataset, grid: Grid) -> None:
    """Say of a slice that lies nowhere how many there are (PS3.3 C.7.10.1), and how a lone one is turned (C.7.6.1.1.1)."""
    turn = turn_of(grid)
    dataset.ImagesInAcquisition = grid.shape[turn.order[2]]
    dataset.PatientOrientation = _ORIENTATIONS[turn.order[2]]


def text(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2); -0 becomes 0."""
    number = float(value) + 0.0
    # e-6 where Python writes e-06: that character may be the digit that a power of two needs
    exact = repr(number).replace("e-0", "e-")
    return exact if len(exact) <= _DS_LENGTH else str(format_number_as_ds(number))
