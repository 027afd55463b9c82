"""The regions of an RT structure set as the file holds them: names, contours, and the images they were drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code

STRUCTURE_SET: Final = "1.2.840.10008.5.1.4.1.1.481.3"
_CLOSED: Final = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
_OPEN: Final = frozenset({"POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"})
_CONTOUR_DATA: Final = 0x30060050
_AGAIN: Final = "export the structure set again"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One closed contour.

    Attributes:
        points_mm: LPS+.
        is_xor: CLOSEDPLANAR_XOR: meant to be combined by exclusive or; CLOSED_PLANAR otherwise.
        instance_uids: The images it was drawn on.
    """

    points_mm: Float[np.ndarray, "N 3"]
    is_xor: bool
    instance_uids: frozenset[str]


@final
@dataclass(frozen=True, slots=True)
class Region:
    """One ROI without its points.

    Attributes:
        number: ROINumber.
        name: ROIName, stripped.
        codes: ``SCHEME:VALUE`` of its coded terms.
        frame_of_reference_uid: Or empty.
        instance_uids: The images its contours name.
        closed: How many closed contours of three points and more it has.
        left_out: How many points, open curves and contours of fewer points.
    """

    number: int
    name: str
    codes: tuple[str, ...]
    frame_of_reference_uid: str
    instance_uids: frozenset[str]
    closed: int
    left_out: int


def regions(dataset: Dataset) -> tuple[Region, ...]:
    """The ROIs of a structure set (PS3.3 C.8.8.5), in the order of their numbers.

    Raises:
        UnreadableError: If a number stands twice, or contours belong to no ROI.
    """
    if "StructureSetROISequence" not in dataset or "ROIContourSequence" not in dataset:
        raise UnreadableError(
            "structure set has no regions or no contours", hint=_AGAIN, code=Code.TRUNCATED_FILE
        )
    drawn: dict[int, list[Dataset]] = {}
    for item in dataset.get("ROIContourSequence") or ():
        drawn.setdefault(int(item.ReferencedROINumber), []).extend(item.get("ContourSequence") or ())
    items = {int(item.ROINumber): item for item in dataset.get("StructureSetROISequence") or ()}
    if len(items) < len(dataset.get("StructureSetROISequence") or ()) or not drawn.keys() <= items.keys():
        raise UnreadableError(
            "a region is declared twice or not at all", hint=_AGAIN, code=Code.LABEL_ID_UNKNOWN
        )
    codes = _codes(dataset)
    found = []
    for number, item in sorted(items.items()):
        contours = drawn.get(number, [])
        closed = [contour for contour in contours if _encloses(contour)]
        found.append(
            Region(
                number=number,
                name=str(item.get("ROIName") or "").strip(),
                codes=codes.get(number, ()),
                frame_of_reference_uid=str(item.get("ReferencedFrameOfReferenceUID") or ""),
                instance_uids=frozenset(uid for contour in closed for uid in _images(contour)),
                closed=len(closed),
                left_out=len(contours) - len(closed),
            )
        )
    return tuple(found)


def contours_of(dataset: Dataset, number: int) -> Iterator[Contour]:
    """The closed contours of one ROI.

    Raises:
        UnreadableError: If a contour is damaged.
    """
    drawn = (item for item in dataset.ROIContourSequence if int(item.ReferencedROINumber) == number)
    for contour in (contour for item in drawn for contour in item.get("ContourSequence") or ()):
        if _encloses(contour):
            kind = str(contour.ContourGeometricType).strip()
            yield Contour(_points(contour), kind == "CLOSEDPLANAR_XOR", frozenset(_images(contour)))


def images_of(dataset: Dataset) -> tuple[tuple[str, frozenset[str]], ...]:
    """The series that the structure set names, each with the images it lists (PS3.3 C.8.8.5.2)."""
    return tuple(
        (str(series.get("SeriesInstanceUID") or ""), frozenset(_images(series)))
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    )


def _images(item: Dataset) -> list[str]:
    named = [
        str(image.get("ReferencedSOPInstanceUID") or "") for image in item.get("ContourImageSequence") or ()
    ]
    return [uid for uid in named if uid]


def _codes(dataset: Dataset) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for item in dataset.get("RTROIObservationsSequence") or ():
        codes = tuple(code_of(code) for code in item.get("RTROIIdentificationCodeSequence") or ())
        number = int(item.get("ReferencedROINumber") or 0)
        found[number] = found.get(number, ()) + codes
    return found


def code_of(item: Dataset) -> str:
    """A coded term as ``SCHEME:VALUE``, such as ``SCT:4147007`` (PS3.3 8.8)."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return f"{item.get('CodingSchemeDesignator') or ''}:{value}"


def _encloses(contour: Dataset) -> bool:
    """Whether a contour is closed and has an inside.

    Raises:
        UnreadableError: If its kind is unknown.
    """
    kind = str(contour.get("ContourGeometricType") or "").strip()
    if kind not in _CLOSED | _OPEN:
        raise UnreadableError("a contour is of an unknown kind", hint=_AGAIN, code=Code.UNREADABLE)
    return kind in _CLOSED and len(_raw(contour)) >= 9


def _raw(contour: Dataset) -> list[bytes] | list[float]:
    """The coordinates, not yet converted where pydicom has not done so: its own conversion is fifty times slower."""
    if _CONTOUR_DATA not in contour:
        return []
    # pydicom's annotation leaves out that it may be raw
    element: DataElement | RawDataElement = contour.get_item(_CONTOUR_DATA)
    if not isinstance(element, DataElement):
        return (element.value or b"").strip(b" \0").split(b"\\")
    return [float(value) for value in contour.ContourData]


def _points(contour: Dataset) -> Float[np.ndarray, "N 3"]:
    values = np.array([float(value) for value in _raw(contour)])
    stated = contour.get("NumberOfContourPoints")
    if len(values) % 3 or not np.isfinite(values).all() or int(stated or len(values) // 3) * 3 != len(values):
        raise UnreadableError(
            "a contour is cut short, or its points are no numbers", hint=_AGAIN, code=Code.TRUNCATED_FILE
        )
    return values.reshape(-1, 3)
