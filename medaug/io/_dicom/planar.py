"""Pictures that lie nowhere in the patient: ultrasound, computed and digital radiographs, mammograms.

Each instance is a picture of its own and never stacked. It lies on the grid of
:func:`medaug.core.geometry.planar_grid`, the same as if it had come as a PNG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import planar_grid, ras_to_lps
from medaug.io._dicom.claims import check_frames
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Frame, Plane
from medaug.io._dicom.stack import Stack, require_one_patient, without_copies
from medaug.io._dicom.values import unit_of, value_notes

CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.6.1": "US",
    "1.2.840.10008.5.1.4.1.1.6": "US",
    "1.2.840.10008.5.1.4.1.1.3.1": "US",
    "1.2.840.10008.5.1.4.1.1.3": "US",
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.1.2": "MG",
    "1.2.840.10008.5.1.4.1.1.1.2.1": "MG",
}
_PIXEL_SPACING, _CALIBRATION, _IMAGER_SPACING = 0x00280030, 0x00280A02, 0x00181164
_REGIONS, _UNITS_X, _UNITS_Y, _DELTA_X, _DELTA_Y = 0x00186011, 0x00186024, 0x00186026, 0x0018602C, 0x0018602E
TAGS: Final = (_PIXEL_SPACING, _CALIBRATION, _IMAGER_SPACING, _REGIONS)

_CENTIMETRES, _MM_PER_CM = 3, 10.0
_NOMINAL_MM = (1.0, 1.0)

Spacing = tuple[float, float]


def placed(frame: Frame, elements: Elements) -> Frame:
    """The frame with the distance between its pixels, and nothing else of where it lies.

    In this order: PixelSpacing; the one region of SequenceOfUltrasoundRegions if it is measured in centimetres (PS3.3
    C.8.5.5); ImagerPixelSpacing, which is measured at the detector and larger than in the patient (PS3.3 10.7.1.3).

    Args:
        frame: As read from the header.
        elements: Of the header, read for :data:`TAGS` at least.
    """
    spacing_mm, notes = _spacing(elements)
    return replace(frame, plane=Plane(None, None, None, spacing_mm), notes=(*frame.notes, *notes))


def _spacing(elements: Elements) -> tuple[Spacing | None, tuple[Finding, ...]]:
    calibrated = _pair(elements.numbers(_PIXEL_SPACING))
    imager = _pair(elements.numbers(_IMAGER_SPACING))
    if calibrated is not None and (calibrated != imager or elements.text(_CALIBRATION)):
        return calibrated, ()
    region = _region_spacing(elements.items(_REGIONS))
    if region is not None:
        return region, ()
    if imager is None:
        return None, ()
    message = (
        "distances hold at the detector, not in the patient, who lies nearer to the source: measure with care"
    )
    return imager, (finding(Code.SPACING_AT_DETECTOR, "flagged", message),)


def _region_spacing(regions: Sequence[Elements]) -> Spacing | None:
    """Of a picture with one region whose both axes are lengths."""
    if len(regions) != 1:
        return None
    units = [regions[0].whole(tag, "US") for tag in (_UNITS_X, _UNITS_Y)]
    deltas = [abs(regions[0].number(tag, "FD") or 0.0) * _MM_PER_CM for tag in (_DELTA_Y, _DELTA_X)]
    return _pair(tuple(deltas)) if units == [_CENTIMETRES, _CENTIMETRES] else None


def _pair(numbers: tuple[float, ...]) -> Spacing | None:
    if len(numbers) != 2 or not all(0 < number < math.inf for number in numbers):
        return None
    return (numbers[0], numbers[1])


def open_pictures(frames: Sequence[Frame]) -> tuple[Stack, ...]:
    """Each instance as a stack of its own: one picture, or the pictures of a cine in order, one after another.

    Args:
        frames: Of one series, in any order, as :func:`placed` leaves them.

    Raises:
        UnreadableError: If pixels cannot be read as the headers describe them.
        DataError: If frames belong to several patients, or one instance has two faces.
    """
    require_one_patient(frames)
    check_frames(frames)
    kept, notes = without_copies(frames)
    instances: dict[str, list[Frame]] = {}
    for frame in sorted(kept, key=lambda one: (one.instance_uid, str(one.path), one.number)):
        instances.setdefault(frame.instance_uid or str(frame.path), []).append(frame)
    return tuple(
        _picture(pictures, f"image_{number}" if len(instances) > 1 else "", notes)
        for number, pictures in enumerate(instances.values(), start=1)
    )


def _picture(frames: Sequence[Frame], part: str, notes: Sequence[Finding]) -> Stack:
    first = frames[0]
    rows, columns = first.pixels.rows, first.pixels.columns
    spacing_mm = first.plane.spacing_mm
    grid = planar_grid(rows, columns, spacing_mm or _NOMINAL_MM)
    odd = [note for frame in frames for note in value_notes(frame)]
    is_cine = len(frames) > 1
    return Stack(
        part=part,
        volumes=tuple((frame,) for frame in frames),
        channels=tuple(f"frame_{n}" for n in range(1, len(frames) + 1)) if is_cine else (first.modality,),
        affine_lps=ras_to_lps(grid.affine),
        shape=grid.shape,
        shear=None,
        modality=first.modality,
        unit=unit_of(first),
        spacing_known=spacing_mm is not None,
        findings=tuple(dict.fromkeys([*notes, *odd])),
    )
