"""DICOM headers: which files are images, which series they belong to; no pixel is read here.

Each file is parsed once, and only for the elements that are wanted. Many files are shared among processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, final

import pydicom
from pydicom.dataset import Dataset, FileDataset

from medaug.core.errors import DataError, UnreadableError
from medaug.core.findings import Code
from medaug.core.workers import crew
from medaug.io._dicom import capture, classic
from medaug.io._dicom.border import PYDICOM_ERRORS, quiet_pydicom
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Frame
from medaug.io._dicom.parse import Parsed, PixelElement, parse

__all__ = [
    "PYDICOM_ERRORS",
    "SEGMENTATION_CLASSES",
    "Header",
    "Scan",
    "Series",
    "looks_like_dicom",
    "patient_key",
    "quiet_pydicom",
    "read_dataset",
    "read_header",
    "scan",
]

_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
SEGMENTATION_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_SOP_CLASS, _INSTANCE, _SERIES, _STUDY, _REFERENCE = (
    0x00080016,
    0x00080018,
    0x0020000E,
    0x0020000D,
    0x00200052,
)
_PATIENT_ID, _PATIENT_NAME, _BIRTH_DATE, _MODALITY = 0x00100020, 0x00100010, 0x00100030, 0x00080060
_ROWS, _FRAMES, _REFERENCED = 0x00280010, 0x00280008, 0x00081115
_SYNTHETIC_DATA = 0x0008001C
# of the device, not of the institution
_MANUFACTURER, _MODEL, _SEX, _AGE = 0x00080070, 0x00081090, 0x00100040, 0x00101010
_WANTED: Final = (
    *(_SOP_CLASS, _INSTANCE, _SERIES, _STUDY, _REFERENCE, _PATIENT_ID, _PATIENT_NAME, _BIRTH_DATE),
    *(_MODALITY, _ROWS, _FRAMES, _REFERENCED, _MANUFACTURER, _MODEL, _SEX, _AGE, _SYNTHETIC_DATA),
    *classic.TAGS,
)
# The first element of a data set that was stored without preamble: group 0002 or 0008, little endian
_BARE_STARTS = (b"\x02\x00", b"\x08\x00")


@final
@dataclass(frozen=True, slots=True)
class Header:
    """What grouping and reading need of one DICOM file. Holds identifiers: stays in memory, enters no message.

    Attributes:
        frames_in_file: NumberOfFrames; 1 where the header is silent.
        frames: The frame of a classic CT, MR or PET object; empty for all others, which are parsed when they are opened.
        scanner: Manufacturer and model.
        sex: PatientSex.
        age: PatientAge.
        says_synthetic: Whether Synthetic Data (PS3.3 C.12.1) is YES.
        fault: Why the frame of a classic object cannot be read; raised when its series is opened.
    """

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
    frames_in_file: int = 1
    frames: tuple[Frame, ...] = ()
    fault: DataError | None = None
    scanner: str = ""
    sex: str = ""
    age: str = ""
    says_synthetic: bool = False

    @property
    def is_segmentation(self) -> bool:
        """Whether the file is a DICOM SEG object."""
        return self.sop_class_uid in SEGMENTATION_CLASSES

    @property
    def is_own_capture(self) -> bool:
        """Whether the file is a secondary capture that medaug wrote."""
        return self.sop_class_uid == capture.CLASS and self.scanner == capture.MAKER

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by position, which is several times quicker than by name."""
        return (Header, tuple([getattr(self, name) for name in _HEADER]))


_HEADER = tuple(field.name for field in fields(Header))


@final
@dataclass(frozen=True, slots=True)
class Series:
    """The files that share a SeriesInstanceUID, sorted by SOPInstanceUID and then path.

    Attributes:
        headers: Of its files.
        rivals: Headers of other series that claim the SOPInstanceUID of one of these files.
    """

    headers: tuple[Header, ...]
    rivals: tuple[Header, ...] = ()

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
            return _begins_as_dicom(handle.read(132))
    except OSError:
        return False


def _begins_as_dicom(start: bytes) -> bool:
    return start[128:] == b"DICM" or (len(start) == 132 and start[:2] in _BARE_STARTS)


def read_header(path: Path) -> Header | None:
    """The header of one file, or None where it is no DICOM, or a DICOMDIR.

    Raises:
        UnreadableError: If the file begins as DICOM does and cannot be parsed, or names no class or series.
    """
    try:
        with path.open("rb") as handle, quiet_pydicom():
            if not _begins_as_dicom(handle.read(132)):
                return None
            handle.seek(0)
            return _header(path, parse(handle, _WANTED))
    except PYDICOM_ERRORS as error:
        raise _damaged() from error


def _damaged() -> UnreadableError:
    return UnreadableError("DICOM header is cut short or damaged", code=Code.TRUNCATED_FILE)


def _header(path: Path, parsed: Parsed) -> Header | None:
    elements = parsed.elements
    if parsed.media_class == _DICOMDIR_CLASS:
        return None
    sop_class = elements.text(_SOP_CLASS) or parsed.media_class
    instance = elements.text(_INSTANCE) or parsed.media_instance
    # an image that was stripped of its series is a series of its own
    series = elements.text(_SERIES) or (instance if elements.has(_ROWS) else "")
    if not sop_class or not series:
        raise UnreadableError("DICOM file names no class or no series", code=Code.UNREADABLE)
    header = Header(
        path=path,
        sop_class_uid=sop_class,
        sop_instance_uid=instance,
        series_uid=series,
        study_uid=elements.text(_STUDY),
        frame_of_reference_uid=elements.text(_REFERENCE),
        modality=elements.text(_MODALITY),
        is_image=elements.has(_ROWS) and sop_class not in SEGMENTATION_CLASSES,
        referenced_series=tuple(item.text(_SERIES) for item in elements.items(_REFERENCED)),
        frames_in_file=elements.whole(_FRAMES, "IS") or 1,
        patient_key=_patient(elements)[0],
        scanner=f"{elements.person(_MANUFACTURER)} {elements.person(_MODEL)}".strip(),
        sex=elements.text(_SEX),
        age=elements.text(_AGE),
        says_synthetic=elements.text(_SYNTHETIC_DATA).upper() == "YES",
    )
    if sop_class not in classic.CLASSES or header.frames_in_file > 1 or classic.is_mosaic(elements):
        return header
    try:
        belonging = _belonging(parsed, classic.CLASSES[sop_class])
        frame = classic.frame_of(elements, belonging, path, parsed.required_pixels)
    except DataError as error:
        return replace(header, fault=error)
    return replace(header, frames=(frame,))


def _patient(elements: Elements) -> tuple[str, str, str]:
    """What tells patients apart, as :func:`patient_key` does; name; birth date."""
    name, born = elements.person(_PATIENT_NAME), elements.text(_BIRTH_DATE)
    return elements.person(_PATIENT_ID).strip() or f"{name}|{born}".strip("|"), name, born


def _belonging(parsed: Parsed, modality: str) -> classic.Belonging:
    return classic.Belonging(
        parsed.elements.text(_INSTANCE) or parsed.media_instance,
        _patient(parsed.elements),
        parsed.elements.text(_REFERENCE),
        modality,
        parsed.transfer_syntax,
    )


@final
@dataclass(frozen=True, slots=True)
class ParsedImage:
    """An image file that holds many slices, parsed up to its pixels.

    Attributes:
        elements: Of the header.
        belonging: To what it belongs.
        pixels: Where the pixel data stand; None where they lie in a stream that is deflated.
        frames_in_file: NumberOfFrames; 1 where the header is silent.
    """

    elements: Elements
    belonging: classic.Belonging
    pixels: PixelElement | None
    frames_in_file: int


def parse_image(header: Header, modality: str, tags: Sequence[int]) -> ParsedImage:
    """Parse a file for more than its header keeps.

    Args:
        header: Of the file.
        modality: What its class makes.
        tags: Elements that are wanted.

    Raises:
        UnreadableError: If the file is cut short or damaged, or holds no pixel data.
    """
    try:
        with header.path.open("rb") as handle, quiet_pydicom():
            parsed = parse(handle, [*_WANTED, *tags])
            pixels = parsed.required_pixels
            return ParsedImage(parsed.elements, _belonging(parsed, modality), pixels, header.frames_in_file)
    except PYDICOM_ERRORS as error:
        raise _damaged() from error


def patient_key(dataset: Dataset) -> str:
    """What tells patients apart: the PatientID, or name and birth date where there is none (private)."""
    identity = str(dataset.get("PatientID") or "").strip()
    if identity:
        return identity
    return f"{dataset.get('PatientName') or ''}|{dataset.get('PatientBirthDate') or ''}".strip("|")


def scan(files: Iterable[Path], tick: Callable[[], None] = lambda: None, workers: int = 1) -> Scan:
    """Sort files into series by SeriesInstanceUID, reading headers only.

    Args:
        files: Candidates; names and extensions do not matter.
        tick: Called once a file.
        workers: Processes that parse, this one counted; a few hundred files stay in it. The result is the same.

    Returns:
        Series in the order of their UIDs; files that are no DICOM, and damaged ones, apart.
    """
    groups: dict[str, list[Header]] = {}
    segmentations, strangers, damaged = [], [], []
    paths = list(files)
    with crew(workers) as processes:
        for path, looked in zip(paths, processes.each(_look_at, paths), strict=True):
            tick()
            if isinstance(looked, UnreadableError):
                damaged.append(path)
            elif looked is None:
                strangers.append(path)
            elif looked.is_segmentation:
                segmentations.append(looked)
            else:
                groups.setdefault(looked.series_uid, []).append(looked)
    series = _with_rivals(
        [
            tuple(sorted(group, key=lambda h: (h.sop_instance_uid, str(h.path))))
            for _, group in sorted(groups.items())
        ]
    )
    return Scan(
        images=tuple(s for s in series if any(h.is_image for h in s.headers)),
        segmentations=tuple(sorted(segmentations, key=lambda h: (h.series_uid, h.sop_instance_uid))),
        other_dicom=tuple(s for s in series if not any(h.is_image for h in s.headers)),
        not_dicom=tuple(strangers),
        damaged=tuple(damaged),
    )


def _with_rivals(groups: Sequence[tuple[Header, ...]]) -> list[Series]:
    """Series that know which of their instances another series claims, too."""
    owners: dict[str, list[Header]] = {}
    for header in (header for group in groups for header in group if header.is_image):
        owners.setdefault(header.sop_instance_uid, []).append(header)
    claimed = {
        uid: rivals for uid, rivals in owners.items() if uid and len({r.series_uid for r in rivals}) > 1
    }
    return [
        Series(
            group,
            tuple(
                rival
                for uid in dict.fromkeys(header.sop_instance_uid for header in group)
                for rival in claimed.get(uid, ())
                if rival.series_uid != group[0].series_uid
            ),
        )
        for group in groups
    ]


_Looked = Header | UnreadableError | None


def _look_at(paths: Sequence[Path]) -> list[_Looked]:
    with quiet_pydicom():
        return [_look(path) for path in paths]


def _look(path: Path) -> _Looked:
    try:
        return read_header(path)
    except UnreadableError as error:
        return error
