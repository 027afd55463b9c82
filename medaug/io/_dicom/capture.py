"""Secondary captures that medaug itself wrote (layouts/dicom.py): slices that lie somewhere, or that are only counted.

Others are refused: nothing tells a scan from a screenshot or a printed report (PS3.3 A.8.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from medaug.core.errors import DataError, GeometryError
from medaug.core.findings import Code, finding
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Frame, Plane, Trait, Vector
from medaug.io._dicom.geometry import Tilt
from medaug.io._dicom.stack import NOMINAL_MM, Stack, open_stacks

CLASS: Final = "1.2.840.10008.5.1.4.1.1.7"
# manufacturer and model
MAKER: Final = "medaug medaug"
_INSTANCE_NUMBER, _IMAGES, _PATIENT_ORIENTATION = 0x00200013, 0x00201002, 0x00200020
TAGS: Final = (_INSTANCE_NUMBER, _IMAGES, _PATIENT_ORIENTATION)

_COUNTED: Final = "images"
_LEFT: Final[Vector] = (1.0, 0.0, 0.0)
_BACK: Final[Vector] = (0.0, 1.0, 0.0)
_FEET: Final[Vector] = (0.0, 0.0, -1.0)
_DIRECTIONS: Final = {"L": _LEFT, "P": _BACK, "F": _FEET}


def told(frame: Frame, elements: Elements, modality: str) -> Frame:
    """The frame with its modality, and, where it lies nowhere, with a nominal place by its number.

    Slices that lie nowhere are 1 mm apart and lie as a picture does (:func:`medaug.core.geometry.planar_grid`), unless
    Patient Orientation says that they are sagittal or coronal.

    Args:
        frame: As read from the header.
        elements: Of the header, read for :data:`TAGS` at least.
        modality: As the header has it; the class says none.
    """
    frame = replace(frame, modality=modality)
    if frame.plane.position_mm is not None:
        return frame
    number, images = elements.whole(_INSTANCE_NUMBER, "IS"), elements.whole(_IMAGES, "IS")
    ways = [_DIRECTIONS.get(word) for word in elements.texts(_PATIENT_ORIENTATION)]
    row, column = ways if len(ways) == 2 and all(ways) else (_LEFT, _BACK)
    position = None if number is None else (0.0, 0.0, NOMINAL_MM * number)
    return replace(
        frame,
        plane=Plane(position, row, column, (NOMINAL_MM, NOMINAL_MM)),
        traits=(*frame.traits, Trait(_COUNTED, str(images or 0))),
    )


def open_captures(frames: Sequence[Frame], *, tilt: Tilt) -> tuple[Stack, ...]:
    """The stacks of one series of captures.

    Args:
        frames: Of one series, in any order, as :func:`told` leaves them.
        tilt: Resample a tilted gantry upright, with a finding, or refuse it.

    Raises:
        UnreadableError: If pixels cannot be read as the headers describe them.
        GeometryError: If frames do not form stacks, or others are there than were written.
        DataError: If frames belong to several patients, frames of reference or modalities, or one instance has two faces.
    """
    counts = {_count(frame) for frame in frames}
    if len(counts) > 1:
        what = "captures of several volumes stand under one series UID"
        raise DataError(what, hint="separate them first", code=Code.SEVERAL_VOLUMES)
    stacks = open_stacks(frames, tilt=tilt)
    (wanted,) = counts
    if wanted is None:
        return stacks
    found = sum(len(volume) for stack in stacks for volume in stack.volumes)
    if found != wanted:
        what = f"{found} of {wanted} slices are there"
        raise GeometryError(what, hint="export or pull the whole series again", code=Code.MISSING_SLICE)
    return tuple(_nominal(stack) for stack in stacks)


def _count(frame: Frame) -> int | None:
    """How many slices were written, where they are only counted."""
    return next((int(trait.value) for trait in frame.traits if trait.name == _COUNTED), None)


def _nominal(stack: Stack) -> Stack:
    message = (
        f"slices say not where they lie: {NOMINAL_MM:g} mm between voxels is nominal, and so are the axes"
    )
    notes = [note for note in stack.findings if note.code != Code.SINGLE_SLICE]
    return replace(
        stack,
        spacing_known=False,
        findings=(finding(Code.SPACING_NOMINAL, "flagged", message), *notes),
    )
