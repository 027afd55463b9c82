"""Where slices lie (PS3.3 C.7.6.2): an affine to RAS+ mm as position, orientation and spacing in LPS+ mm."""

from __future__ import annotations

from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from medaug.core.errors import GeometryError
from medaug.core.geometry import Affine, Grid, Reorientation, ras_to_lps

# columns run to the patient's left and rows to the back, as scanners store axial slices
TO_DICOM: Final = Reorientation((0, 1, 2), (True, True, False))
_SHEAR_TOLERANCE = 1e-4


def frames_of(array: np.ndarray) -> np.ndarray:
    """(I, J, K) in RAS+ order as contiguous (slice, row, column)."""
    return np.ascontiguousarray(TO_DICOM.apply(array).transpose(2, 1, 0))


def affine_of(grid: Grid) -> Affine:
    """(column, row, slice) index of :func:`frames_of` to LPS+ mm.

    Raises:
        GeometryError: If the grid is sheared, which an image plane cannot express.
    """
    ras = np.array(grid.affine)
    for axis, flip in enumerate(TO_DICOM.flips):
        if flip:
            ras[:3, 3] += ras[:3, axis] * (grid.shape[axis] - 1)
            ras[:3, axis] *= -1
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


def text(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2); -0 becomes 0."""
    return str(format_number_as_ds(float(value) + 0.0))
