"""DICOM headers: which files are images, which series they belong to; no pixel is read here."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from medaug.core.errors import UnreadableError

# What pydicom and its plugins raise on damaged files; each is turned into one clear line where it is caught.
PYDICOM_ERRORS = (
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    InvalidDicomError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
SEGMENTATION_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_HEADER_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "Modality",
    "SeriesNumber",
    "Rows",
    "ReferencedSeriesSequence",
)
# The first element of a data set that was stored without preamble: group 0002 or 0008, little endian
_BARE_STARTS = (b"\x02\x00", b"\x08\x00")


@final
@dataclass(frozen=True, slots=True)
class Header:
    """What grouping needs of one DICOM file. Holds identifiers: stays in memory, enters no message."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    patient_key: str
    modality: str
    is_image: bool
    referenced_series: tuple[str, ...]

    @property
    def is_segmentation(self) -> bool:
        """Whether the file is a DICOM SEG object."""
        return self.sop_class_uid in SEGMENTATION_CLASSES


@final
@dataclass(frozen=True, slots=True)
class Series:
    """The files that share a SeriesInstanceUID, sorted by SOPInstanceUID and then path."""

    headers: tuple[Header, ...]

    @property
    def first(self) -> Header:
        """The header that stands for the series; grouping guarantees that there is one."""
        return self.headers[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the series."""
        return tuple(header.path for header in self.headers)


@final
@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds: series of images, segmentations, and files that are neither."""

    images: tuple[Series, ...]
    segmentations: tuple[Header, ...]
    other_dicom: tuple[Series, ...]
    not_dicom: tuple[Path, ...]
    damaged: tuple[Path, ...]


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom's and highdicom's own warnings, which quote values and paths that may identify a patient.

    What matters of them is checked here and raised, or becomes a finding.
    """
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pydicom\..*")
        warnings.filterwarnings("ignore", module=r"highdicom\..*")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def read_dataset(
    path: Path, *, pixels: bool = True, tags: Sequence[str] | None = None, where: str = ""
) -> FileDataset:
    """Parse one DICOM file; a file without the 128-byte preamble is read where its first tag looks like one.

    Raises:
        UnreadableError: If the file is missing, cut short or no DICOM.
    """
    try:
        with quiet_pydicom():
            return pydicom.dcmread(
                path,
                force=_starts_bare(path),
                stop_before_pixels=not pixels,
                specific_tags=None if tags is None else list(tags),
            )
    except PYDICOM_ERRORS as error:
        raise UnreadableError("DICOM file is cut short or damaged", where=where) from error


def _starts_bare(path: Path) -> bool:
    with path.open("rb") as handle:
        start = handle.read(132)
    return start[128:] != b"DICM" and start[:2] in _BARE_STARTS and len(start) == 132


def looks_like_dicom(path: Path) -> bool:
    """Whether the first bytes are those of a DICOM file (PS3.10 section 7.1, or a bare data set)."""
    try:
        with path.open("rb") as handle:
            start = handle.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or (len(start) == 132 and start[:2] in _BARE_STARTS)


def read_header(path: Path) -> Header | None:
    """The header of one file, or None where it is no DICOM, or a DICOMDIR.

    Raises:
        UnreadableError: If the file begins as DICOM does and cannot be parsed, or names no class or series.
    """
    if not looks_like_dicom(path):
        return None
    dataset = read_dataset(path, pixels=False, tags=_HEADER_TAGS)
    try:
        with quiet_pydicom():
            return _header(path, dataset)
    except PYDICOM_ERRORS as error:
        raise UnreadableError("DICOM header is damaged") from error


def _header(path: Path, dataset: FileDataset) -> Header | None:
    sop_class, series = str(dataset.get("SOPClassUID") or ""), str(dataset.get("SeriesInstanceUID") or "")
    if not sop_class or not series:
        if str(dataset.file_meta.get("MediaStorageSOPClassUID") or "") == _DICOMDIR_CLASS:
            return None
        raise UnreadableError("DICOM file names no class or no series")
    referenced = tuple(
        str(item.get("SeriesInstanceUID", "")) for item in dataset.get("ReferencedSeriesSequence") or ()
    )
    return Header(
        path=path,
        sop_class_uid=sop_class,
        sop_instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        series_uid=series,
        study_uid=str(dataset.get("StudyInstanceUID") or ""),
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID") or ""),
        patient_key=patient_key(dataset),
        modality=str(dataset.get("Modality") or ""),
        is_image=dataset.get("Rows") is not None and sop_class not in SEGMENTATION_CLASSES,
        referenced_series=referenced,
    )


def patient_key(dataset: Dataset) -> str:
    """What tells patients apart: the PatientID, or name and birth date where there is none (private)."""
    identity = str(dataset.get("PatientID") or "").strip()
    if identity:
        return identity
    return f"{dataset.get('PatientName') or ''}|{dataset.get('PatientBirthDate') or ''}".strip("|")


def scan(files: Iterable[Path], tick: Callable[[], None] = lambda: None) -> Scan:
    """Sort files into series by SeriesInstanceUID, reading headers only.

    Args:
        files: Candidates; names and extensions do not matter.
        tick: Called once a file.

    Returns:
        Series in the order of their UIDs; files that are no DICOM, and damaged ones, apart.
    """
    groups: dict[str, list[Header]] = {}
    segmentations, strangers, damaged = [], [], []
    for path in files:
        tick()
        try:
            header = read_header(path)
        except UnreadableError:
            damaged.append(path)
            continue
        if header is None:
            strangers.append(path)
        elif header.is_segmentation:
            segmentations.append(header)
        else:
            groups.setdefault(header.series_uid, []).append(header)
    series = [
        Series(tuple(sorted(group, key=lambda h: (h.sop_instance_uid, str(h.path)))))
        for _, group in sorted(groups.items())
    ]
    return Scan(
        images=tuple(s for s in series if any(h.is_image for h in s.headers)),
        segmentations=tuple(sorted(segmentations, key=lambda h: (h.series_uid, h.sop_instance_uid))),
        other_dicom=tuple(s for s in series if not any(h.is_image for h in s.headers)),
        not_dicom=tuple(strangers),
        damaged=tuple(damaged),
    )
