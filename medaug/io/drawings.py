"""What annotation files declare before any voxel is read: names, coded terms, and the images they were drawn on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self, final

from pydicom.dataset import Dataset

from medaug.core.errors import DataError, UnreadableError
from medaug.core.findings import Code
from medaug.io._dicom.contours import STRUCTURE_SET, code_of, images_of, regions
from medaug.io._dicom.frame import Vector
from medaug.io.annotations import open_dicom
from medaug.io.headers import (
    PYDICOM_ERRORS,
    SEGMENTATION_CLASSES,
    Header,
    patient_key,
    quiet_pydicom,
    read_dataset,
)

# Frames that are looked at to tell stacks apart
_SOME: Final = 64
_TAGS: Final = (
    "SOPClassUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "FrameOfReferenceUID",
    "SegmentSequence",
    "ReferencedSeriesSequence",
    "PerFrameFunctionalGroupsSequence",
)


@final
@dataclass(frozen=True, slots=True)
class Declared:
    """One segment or region that a file declares. Names may identify people: they enter no message.

    Attributes:
        number: SegmentNumber or ROINumber.
        name: SegmentLabel or ROIName, else the meaning of its coded type; empty where there is neither.
        codes: Its coded terms as ``SCHEME:VALUE``.
        instance_uids: The images that it alone was drawn on; empty for segments.
    """

    number: int
    name: str
    codes: tuple[str, ...]
    instance_uids: frozenset[str] = frozenset()


@final
@dataclass(frozen=True, slots=True)
class Drawing:
    """One annotation file. Holds identifiers: stays in memory, enters no message.

    Attributes:
        is_structure_set: An RT structure set; a SEG otherwise.
        declared: Segments but for the background of a LABELMAP; regions with a closed contour.
        series_uids: The series it names.
        instance_uids: The images it names.
        frame_of_reference_uids: Those of its segments or regions.
        positions_mm: Where some of the frames of a SEG lie: their first pixels, LPS+.
        patient_key: What tells patients apart.
        fault: Why it cannot be read, where its header alone could.
    """

    path: Path
    is_structure_set: bool
    declared: tuple[Declared, ...]
    series_uids: frozenset[str]
    instance_uids: frozenset[str]
    frame_of_reference_uids: frozenset[str]
    patient_key: str
    positions_mm: tuple[Vector, ...] = ()
    fault: DataError | None = None

    def only(self, numbers: frozenset[int]) -> Self:
        """The same file with some of its segments or regions."""
        return replace(self, declared=tuple(item for item in self.declared if item.number in numbers))


def read_drawing(path: Path) -> Drawing:
    """What a SEG or an RT structure set declares.

    Raises:
        UnreadableError: If the file is damaged, neither of both, or declares nothing.
    """
    dataset = read_dataset(path, pixels=False, tags=_TAGS)
    try:
        with quiet_pydicom():
            kind = str(dataset.get("SOPClassUID") or "")
            if kind == STRUCTURE_SET:
                # all of it is declaration: one that is cut short declares too little
                return _structure_set(path, open_dicom(path)[0])
            if kind not in SEGMENTATION_CLASSES:
                raise UnreadableError(
                    "annotation is neither DICOM SEG nor RT structure set", code=Code.UNSUPPORTED_CLASS
                )
            return _segmentation(path, dataset)
    except DataError:
        raise
    except PYDICOM_ERRORS as error:
        raise UnreadableError(
            "annotation declares no segments", hint="copy or export it again", code=Code.TRUNCATED_FILE
        ) from error


def is_structure_set(header: Header) -> bool:
    """Whether a file is an RT structure set."""
    return header.sop_class_uid == STRUCTURE_SET


def drawing_of(header: Header) -> Drawing:
    """What the file of a header declares; one that cannot be read comes back with its fault, and the series it names."""
    try:
        return read_drawing(header.path)
    except DataError as error:
        return Drawing(
            path=header.path,
            is_structure_set=is_structure_set(header),
            declared=(),
            series_uids=frozenset(header.referenced_series) - {""},
            instance_uids=frozenset(),
            frame_of_reference_uids=frozenset({header.frame_of_reference_uid}) - {""},
            patient_key=header.patient_key,
            fault=error,
        )


def _structure_set(path: Path, dataset: Dataset) -> Drawing:
    found = regions(dataset)
    listed = images_of(dataset)
    return Drawing(
        path=path,
        is_structure_set=True,
        declared=tuple(Declared(r.number, r.name, r.codes, r.instance_uids) for r in found if r.closed),
        series_uids=frozenset(series for series, _ in listed if series),
        instance_uids=frozenset(uid for _, uids in listed for uid in uids),
        frame_of_reference_uids=frozenset(r.frame_of_reference_uid for r in found) - {""},
        patient_key=patient_key(dataset),
    )


def _segmentation(path: Path, dataset: Dataset) -> Drawing:
    named = list(dataset.get("ReferencedSeriesSequence") or ())
    uids = {
        str(image.get("ReferencedSOPInstanceUID") or "")
        for series in named
        for image in series.get("ReferencedInstanceSequence") or ()
    }
    if not uids:
        uids = {
            str(source.get("ReferencedSOPInstanceUID") or "")
            for frame in dataset.get("PerFrameFunctionalGroupsSequence") or ()
            for derived in frame.get("DerivationImageSequence") or ()
            for source in derived.get("SourceImageSequence") or ()
        }
    return Drawing(
        path=path,
        is_structure_set=False,
        declared=tuple(
            _segment(item)
            for item in sorted(dataset.SegmentSequence, key=lambda item: int(item.SegmentNumber))
            if int(item.SegmentNumber) > 0
        ),
        series_uids=frozenset(str(series.get("SeriesInstanceUID") or "") for series in named) - {""},
        instance_uids=frozenset(uids) - {""},
        frame_of_reference_uids=frozenset({str(dataset.get("FrameOfReferenceUID") or "")}) - {""},
        patient_key=patient_key(dataset),
        positions_mm=_positions(dataset),
    )


def _positions(dataset: Dataset) -> tuple[Vector, ...]:
    frames = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())[:_SOME]
    found = []
    for frame in frames:
        place = next(iter(frame.get("PlanePositionSequence") or ()), Dataset()).get("ImagePositionPatient")
        if place is not None and len(place) == 3:
            found.append((float(place[0]), float(place[1]), float(place[2])))
    return tuple(found)


def _segment(item: Dataset) -> Declared:
    terms = list(item.get("SegmentedPropertyTypeCodeSequence") or ())
    meaning = next((str(term.get("CodeMeaning") or "").strip() for term in terms), "")
    name = str(item.get("SegmentLabel") or "").strip() or meaning
    return Declared(int(item.SegmentNumber), name, tuple(code_of(term) for term in terms))
