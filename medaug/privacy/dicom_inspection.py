"""What a DICOM file that medaug wrote may not carry: looked at element by element, at every depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset

from medaug.core.errors import UnreadableError
from medaug.io.headers import PYDICOM_ERRORS, quiet_pydicom, read_dataset

# PS3.15 Table E.1-1 rows that identify a person directly; a header written by medaug leaves them empty or out
_IDENTIFYING: Final = frozenset(
    [
        "PatientBirthDate",
        "PatientBirthTime",
        "PatientAddress",
        "PatientTelephoneNumbers",
        "PatientMotherBirthName",
        "PatientBirthName",
        "OtherPatientIDs",
        "OtherPatientIDsSequence",
        "OtherPatientNames",
        "AccessionNumber",
        "ReferringPhysicianName",
        "PerformingPhysicianName",
        "NameOfPhysiciansReadingStudy",
        "RequestingPhysician",
        "OperatorsName",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "StationName",
        "DeviceSerialNumber",
        "DeviceUID",
    ]
)
# the standard's own, those derived from a key, and the libraries that medaug writes with
_UID = re.compile(r"1\.2\.840\.10008(\.\d+)+|2\.25\.\d+|1\.2\.826\.0\.1\.3680043\.(8\.498|9\.7433)(\.\d+)+")
_BINARY: Final = frozenset(["OB", "OW", "OF", "OD", "OL", "OV", "UN"])
_BINARY_ALLOWED: Final = frozenset(
    [
        "PixelData",
        "FileMetaInformationVersion",
        "ICCProfile",
        "RedPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData",
    ]
)
_CURVES, _OVERLAYS = range(0x5000, 0x5100), range(0x6000, 0x6100)
_PATH = re.compile(r"(?<![\w.:/])/[\w.\-]+/[\w.\-/]*|\b[A-Za-z]:\\|\\\\\w+\\|file://")
MAIL: Final = re.compile(r"[\w.+\-]+@[\w\-]+\.[A-Za-z]{2,}")
_PREAMBLE = 128


def inspect_dicom(
    path: Path, name: str, tells: Callable[[str], bool], *, all_synthetic: bool
) -> tuple[str, ...]:
    """Reasons why a DICOM file may not leave; what is of no known kind is one.

    Args:
        path: The file.
        name: What to call it.
        tells: Whether a text holds a listed identifier.
        all_synthetic: Whether it must be marked as synthetic data.
    """
    try:
        dataset = read_dataset(path)
        with quiet_pydicom():
            reasons = {f"{name} {reason}" for reason in _reasons(dataset, tells)}
        preamble = path.read_bytes()[:_PREAMBLE]
    except (UnreadableError, OSError, *PYDICOM_ERRORS):
        return (f"{name} cannot be read",)
    if preamble.strip(b"\0"):
        reasons.add(f"{name} carries bytes in its preamble")
    if dataset.get("PixelData") is not None and len(dataset.PixelData) != _pixel_bytes(dataset):
        reasons.add(f"{name} carries bytes after its pixels")
    mark = str(dataset.get("SyntheticData", ""))
    if all_synthetic and mark != "YES":
        reasons.add(f"{name} is not marked as synthetic data (0008,001C)")
    elif mark not in ("YES", "NO"):
        reasons.add(f"{name} does not say whether it is synthetic data (0008,001C)")
    return tuple(sorted(reasons))


def _reasons(dataset: FileDataset, tells: Callable[[str], bool]) -> Iterator[str]:
    for element in chain(dataset.file_meta, dataset.iterall()):
        yield from _of_element(element, tells)


def _of_element(element: DataElement, tells: Callable[[str], bool]) -> Iterator[str]:
    tag, what = element.tag, element.keyword or f"{element.tag.group:04x},xxxx"
    if tag.is_private or element.keyword in ("PrivateInformation", "PrivateInformationCreatorUID"):
        yield f"carries a private element ({tag.group:04x},xxxx)"
    elif tag.group in _CURVES or tag.group in _OVERLAYS:
        yield f"carries an overlay or curve ({tag.group:04x},xxxx)"
    elif not element.keyword:
        yield f"carries an unknown element ({tag.group:04x},xxxx)"
    elif element.VR in _BINARY and element.keyword not in _BINARY_ALLOWED:
        yield f"carries bytes of no known kind in {what}"
    elif element.keyword in _IDENTIFYING and any(text not in ("", "0", "None") for text in _texts(element)):
        # medaug's own serial number is 0
        yield f"carries {what}"
    elif element.VR == "UI":
        if not all(_UID.fullmatch(text) for text in _texts(element) if text):
            yield f"carries a UID that medaug did not make in {what}"
    elif element.VR != "SQ" and element.VR not in _BINARY:
        yield from (f"holds {kind} in {what}" for kind in _of_texts(_texts(element), tells))


def _of_texts(texts: Iterable[str], tells: Callable[[str], bool]) -> Iterator[str]:
    for text in texts:
        if _PATH.search(text):
            yield "an absolute path"
        if MAIL.search(text):
            yield "an e-mail address"
        if tells(text):
            yield "a listed identifier"


def _texts(element: DataElement) -> tuple[str, ...]:
    """Every value of an element as a text; of a sequence, whether it holds an item."""
    if element.VR == "SQ":
        return ("items",) if element.value else ()
    if element.VM > 1:
        return tuple(str(one) for one in element.value)
    return ("" if element.value is None else str(element.value),)


def _pixel_bytes(dataset: Dataset) -> int:
    """How long the pixels of a native file are, an even number (PS3.5 8.1.1); what is compressed counts as it is."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return len(dataset.PixelData)
    bits = (
        int(dataset.Rows)
        * int(dataset.Columns)
        * int(dataset.get("SamplesPerPixel", 1))
        * int(dataset.get("NumberOfFrames", 1) or 1)
        * int(dataset.BitsAllocated)
    )
    length = (bits + 7) // 8
    return length + length % 2
