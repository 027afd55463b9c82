"""Where slices lie, and whether they form a straight, even stack (PS3.3 C.7.6.2.1.1); LPS+ mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from medaug.core.errors import GeometryError
from medaug.core.findings import Code
from medaug.core.geometry import Affine
from medaug.core.wording import counted
from medaug.io._dicom.frame import Frame, Plane

Tilt = Literal["resample", "refuse"]
COSINE_TOLERANCE = 1e-3
STEP_TOLERANCE = 0.02
POSITION_TOLERANCE_MM = 0.02
SAME_PLACE_MM = 1e-3
_TILT_TOLERANCE = 0.01
_WHOLE_TOLERANCE = 0.05
_APART = "export each acquisition as a series of its own"
_AGAIN = "export the original series again"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """What the frames of a stack share.

    Attributes:
        row: Unit vector along a row, to growing columns.
        column: Unit vector along a column, to growing rows.
        normal: Their cross product: the direction in which slices are counted.
        spacing_mm: Distance between rows, distance between columns.
    """

    row: np.ndarray
    column: np.ndarray
    normal: np.ndarray
    spacing_mm: tuple[float, float]

    def affine(self, origin_mm: np.ndarray, step_mm: np.ndarray) -> Affine:
        """(column, row, slice) index to LPS+ mm."""
        affine = np.eye(4)
        affine[:3, 0] = self.row * self.spacing_mm[1]
        affine[:3, 1] = self.column * self.spacing_mm[0]
        affine[:3, 2] = step_mm
        affine[:3, 3] = origin_mm
        return affine


@final
@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """How slices follow each other.

    Attributes:
        step_mm: From one slice to the next, LPS+.
        tilt_deg: Angle between the step and the normal of the slices; 0 where they are upright.
    """

    step_mm: np.ndarray
    tilt_deg: float


def pose_of(frames: Sequence[Frame]) -> Pose:
    """The orientation and spacing that all frames share.

    Raises:
        GeometryError: If a frame does not say where it lies, or the frames differ.
    """
    if any(frame.plane.position_mm is None for frame in frames):
        raise _missing("ImagePositionPatient", 3, Code.MISSING_POSITION)
    first, *others = (_pose(plane) for plane in dict.fromkeys(_placeless(frame.plane) for frame in frames))
    for other in others:
        _require_like(other, first)
    sizes = sorted({(frame.pixels.rows, frame.pixels.columns) for frame in frames})
    if len(sizes) > 1:
        what = f"slices are {' and '.join(f'{rows} x {columns}' for rows, columns in sizes[:3])}"
        raise GeometryError(what, expected="one size", hint=_APART, code=Code.MIXED_SIZE)
    return first


def _placeless(plane: Plane) -> Plane:
    return Plane(None, plane.row, plane.column, plane.spacing_mm)


def _pose(plane: Plane) -> Pose:
    if plane.row is None or plane.column is None:
        raise _missing("ImageOrientationPatient", 6, Code.MISSING_ORIENTATION)
    if plane.spacing_mm is None:
        raise _missing("PixelSpacing", 2, Code.MISSING_PIXEL_SPACING)
    row, column = np.array(plane.row), np.array(plane.column)
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    # written so that what is no number fails, too
    if not (np.abs(lengths - 1).max() <= COSINE_TOLERANCE and abs(row @ column) <= COSINE_TOLERANCE):
        what = "image orientation is no pair of perpendicular directions"
        raise GeometryError(what, hint=_AGAIN, code=Code.BAD_ORIENTATION)
    if not (min(plane.spacing_mm) > 0 and np.isfinite(plane.spacing_mm).all()):
        raise GeometryError("pixel spacing is not positive", hint=_AGAIN, code=Code.BAD_PIXEL_SPACING)
    return Pose(row, column, np.cross(row, column), plane.spacing_mm)


def _missing(name: str, count: int, code: Code) -> GeometryError:
    return GeometryError(f"{name} is missing", expected=f"{count} numbers", hint=_AGAIN, code=code)


def _require_like(other: Pose, first: Pose) -> None:
    turned = np.abs(np.concatenate([other.row - first.row, other.column - first.column])).max()
    if turned > COSINE_TOLERANCE:
        hint = "export scouts and reformats as series of their own"
        raise GeometryError("slices have different orientations", hint=hint, code=Code.MIXED_ORIENTATION)
    if not np.allclose(other.spacing_mm, first.spacing_mm, rtol=1e-4, atol=0):
        raise GeometryError("slices have different pixel spacings", hint=_APART, code=Code.MIXED_SPACING)


def positions_mm(frames: Sequence[Frame]) -> np.ndarray:
    """(frames, 3) LPS+ mm of frames that all say where they lie.

    Raises:
        GeometryError: If a position is not finite.
    """
    positions = np.array([frame.plane.position_mm for frame in frames], dtype=np.float64)
    if not np.isfinite(positions).all():
        raise GeometryError("ImagePositionPatient is not finite", hint=_AGAIN, code=Code.MISSING_POSITION)
    return positions


def slots_of(frames: Sequence[Frame], normal: np.ndarray) -> list[list[Frame]]:
    """Frames by the place they stand at, sorted along the normal; frames of a place in their given order.

    Raises:
        GeometryError: If frames stand at one distance along the normal and beside each other.
    """
    positions = positions_mm(frames)
    offsets = positions @ normal
    slots: list[list[int]] = []
    for number in np.argsort(offsets, kind="stable").tolist():
        if slots and offsets[number] - offsets[slots[-1][0]] < SAME_PLACE_MM:
            slots[-1].append(number)
        else:
            slots.append([number])
    for slot in slots:
        if len(slot) > 1 and np.abs(positions[slot] - positions[slot[0]]).max() > POSITION_TOLERANCE_MM:
            what = "slices stand beside each other at one distance"
            raise GeometryError(what, expected="one stack", hint=_APART, code=Code.CONFLICTING_POSITION)
    return [[frames[number] for number in sorted(slot)] for slot in slots]


def line_of(frames: Sequence[Frame], normal: np.ndarray) -> Line:
    """The straight, even line on which at least two sorted slices lie.

    Raises:
        GeometryError: If slices are missing or uneven, or not on a straight line.
    """
    positions = positions_mm(frames)
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    _require_even(positions @ normal)
    length = float(np.linalg.norm(step))
    strays = np.abs(positions - (positions[0] + np.outer(np.arange(len(positions)), step))).max()
    if strays > max(POSITION_TOLERANCE_MM, STEP_TOLERANCE * length):
        raise GeometryError("slices do not lie on one straight line", hint=_AGAIN, code=Code.CURVED_STACK)
    is_tilted = float(np.linalg.norm(np.cross(step, normal))) > _TILT_TOLERANCE * length
    angle_deg = float(np.degrees(np.arccos(np.clip(step @ normal / length, -1, 1))))
    return Line(step, angle_deg if is_tilted else 0.0)


def _require_even(offsets: np.ndarray) -> None:
    gaps = np.diff(offsets)
    usual = float(np.median(gaps)) if len(gaps) > 2 else float(gaps.min())
    allowed = max(POSITION_TOLERANCE_MM, STEP_TOLERANCE * usual)
    if np.abs(gaps - usual).max() <= allowed:
        return
    for step in (usual, float(gaps.min())):
        ratios = gaps / step
        lost = int(np.rint(ratios).sum()) - len(gaps)
        if lost > 0 and np.abs(ratios - np.rint(ratios)).max() < _WHOLE_TOLERANCE and ratios.min() > 0.5:
            what = f"{counted(lost, 'slice')} {'is' if lost == 1 else 'are'} missing between others"
            hint = "export or pull the whole series again"
            raise GeometryError(
                what, expected=f"a slice every {step:.3g} mm", hint=hint, code=Code.MISSING_SLICE
            )
    what = f"slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart"
    raise GeometryError(what, expected="even spacing", hint=_AGAIN, code=Code.UNEVEN_SPACING)
