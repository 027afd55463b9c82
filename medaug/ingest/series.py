"""Folders of DICOM files: a case a series, with the segmentations that refer to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from medaug.core.errors import DataError, UnreadableError
from medaug.ingest.sources import ClassId, Discovery, ImageSource, LabelSource, SourceCase, Stated, Stray
from medaug.io.headers import PYDICOM_ERRORS, Header, Scan, Series, quiet_pydicom, read_dataset, scan

_SCANS = ("CT", "MR")


def pair_series(files: Sequence[Path], source: int, tick: Callable[[], None] = lambda: None) -> Discovery:
    """Find the image series among files, and tie each segmentation to the series it was drawn on.

    A SEG belongs to the series its ReferencedSeriesSequence names (PS3.3 C.8.20.2), else to the only image series of its
    frame of reference. Patients are told apart by PatientID.

    Args:
        files: Candidates of any name.
        source: Index of the SRC.
        tick: Called once a file.
    """
    found = scan(files, tick)
    scans = [series for series in found.images if series.first.modality in _SCANS]
    drawn: dict[str, list[Header]] = {series.first.series_uid: [] for series in scans}
    strays = _left_over(found)
    for seg in found.segmentations:
        target = _series_of(seg, scans)
        if target is None:
            message = "segmentation refers to no image series that was found"
            strays.append(Stray("image-missing", "refused", message, (seg.path,)))
        else:
            drawn[target.first.series_uid].append(seg)
    return Discovery(
        tuple(_case(series, drawn[series.first.series_uid], source) for series in scans), tuple(strays)
    )


def _left_over(found: Scan) -> list[Stray]:
    strays = []
    if found.not_dicom:
        message = f"{len(found.not_dicom)} files are neither DICOM nor NIfTI and were left out"
        strays.append(Stray("not-an-image", "flagged", message, found.not_dicom))
    for path in found.damaged:
        message = "DICOM file is cut short or damaged, and belongs to no series that can be told"
        strays.append(Stray("unreadable", "refused", message, (path,)))
    for series in found.other_dicom:
        what = series.first.modality[:16] or "unknown modality"
        strays.append(
            Stray(
                "not-an-image", "flagged", f"DICOM objects without image ({what}) were left out", series.files
            )
        )
    for series in found.images:
        if series.first.modality not in _SCANS:
            what = series.first.modality[:16] or "unknown"
            message = f"series of modality {what} is not supported; expected {' or '.join(_SCANS)}"
            strays.append(Stray("unsupported-modality", "refused", message, series.files))
    return strays


def _series_of(seg: Header, scans: list[Series]) -> Series | None:
    for uid in seg.referenced_series:
        for series in scans:
            if series.first.series_uid == uid:
                return series
    near = [
        s
        for s in scans
        if seg.frame_of_reference_uid and s.first.frame_of_reference_uid == seg.frame_of_reference_uid
    ]
    return near[0] if len(near) == 1 and not seg.referenced_series else None


def _case(series: Series, segs: list[Header], source: int) -> SourceCase:
    problem, classes = "", []
    if any(seg.patient_key != series.first.patient_key for seg in segs):
        problem = "segmentation and image belong to different patients"
    for seg in segs:
        try:
            classes += segment_table(seg.path)
        except DataError as error:
            problem = problem or error.line()
    return SourceCase(
        source=source,
        case_key=series.first.series_uid,
        patient_key=series.first.patient_key or series.first.study_uid or series.first.series_uid,
        ids_are_pseudonyms=False,
        images=(ImageSource("dicom", series.files),),
        label=LabelSource("dicom", tuple(seg.path for seg in segs)) if segs else None,
        classes=tuple(classes),
        stated=Stated(modality=series.first.modality),
        problem=problem,
    )


def segment_table(path: Path) -> list[ClassId]:
    """The segments a SEG file declares, background (segment 0 of a label map) left out.

    Raises:
        UnreadableError: If the file is damaged, or a segment has no label.
    """
    dataset = read_dataset(path, pixels=False, tags=("SegmentSequence",))
    try:
        with quiet_pydicom():
            items = [
                ClassId(int(s.SegmentNumber), str(s.SegmentLabel).strip()) for s in dataset.SegmentSequence
            ]
    except PYDICOM_ERRORS as error:
        raise UnreadableError("DICOM SEG declares no segments") from error
    return [item for item in items if item.label_id > 0]
