"""What a file may not carry out of the house: header fields, private elements, paths and identifiers in texts."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from pydicom.dataset import Dataset

from medaug.core.case import SOURCES_PRIVATE
from medaug.core.errors import UnreadableError
from medaug.io.headers import looks_like_dicom, read_dataset
from medaug.io.nifti import is_nifti

_FREE_TEXT_FIELDS = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
_FIRST_VOXEL = 352  # of a NIfTI-1 file in one part, without extensions
_GZIP = b"\x1f\x8b"
_TEXT_SUFFIXES = (".json", ".jsonl", ".csv", ".md", ".tsv")
_TEXT_NAMES = (".bidsignore",)
_SUSPICIOUS = {
    "an absolute path": re.compile(
        r"(?<![\w.:/])~?/[\w.\-]+/[\w.\-/]*|\b[A-Za-z]:[\\/]{1,2}\w|\\\\\w+\\|~[\w.\-]*/|file://"
    ),
    "an e-mail address": re.compile(r"[\w.+\-]+@[\w\-]+\.[A-Za-z]{2,}"),
    "a DICOM UID": re.compile(r"(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\w.])"),
}
# PS3.15 Table E.1-1 rows that identify a person directly; a header written by medaug leaves them empty or out
_IDENTIFYING = (
    "PatientBirthDate",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "DeviceSerialNumber",
)


def inspect_file(path: Path, name: str) -> tuple[str, ...]:
    """Reasons why a file may not leave, each naming the file by its path inside the release.

    Args:
        path: The file.
        name: Its path relative to the release.

    Raises:
        StorageError: If the file cannot be read.
    """
    if Path(name).name == SOURCES_PRIVATE:
        return (f"{name} ties pseudonyms to sources",)
    if is_nifti(path):
        return _inspect_nifti(path, name)
    if looks_like_dicom(path):
        return _inspect_dicom(path, name)
    if path.suffix in _TEXT_SUFFIXES or path.name in _TEXT_NAMES:
        return _inspect_text(path, name)
    return (f"{name} is of a kind that no release holds",)


def _inspect_nifti(path: Path, name: str) -> tuple[str, ...]:
    """Free text of the NIfTI header, extensions, and what gzip says of the file it packed (RFC 1952)."""
    try:
        content = path.read_bytes()
        raw, rest = _unpack(content)
        image = nib.Nifti1Image.from_bytes(raw)
    except (OSError, ImageFileError, HeaderDataError, WrapStructError, ValueError, zlib.error):
        return (f"{name} cannot be read",)
    header = image.header
    reasons = [
        f"{name} carries text in {field}"
        for field in _FREE_TEXT_FIELDS
        if header[field].tobytes().strip(b"\0")
    ]
    if len(header.extensions):
        reasons.append(f"{name} carries {len(header.extensions)} header extensions")
    proxy = image.dataobj
    start = int(proxy.offset) if isinstance(proxy, ArrayProxy) else _FIRST_VOXEL
    if not len(header.extensions) and start != _FIRST_VOXEL:
        reasons.append(f"{name} carries bytes between header and voxels")
    if rest or len(raw) != start + math.prod(image.shape) * header.get_data_dtype().itemsize:
        reasons.append(f"{name} carries bytes after its voxels")
    if content[:2] == _GZIP and (content[3] != 0 or content[4:8] != b"\0\0\0\0"):
        reasons.append(f"{name} carries a file name, comment or time in its gzip header")
    return tuple(reasons)


def _unpack(content: bytes) -> tuple[bytes, bytes]:
    """The first gzip member unpacked, and what follows it; a file that is not packed is given back as it is."""
    if content[:2] != _GZIP:
        return content, b""
    stream = zlib.decompressobj(wbits=31)
    raw = stream.decompress(content)
    return raw, stream.unused_data


def _inspect_dicom(path: Path, name: str) -> tuple[str, ...]:
    try:
        dataset = read_dataset(path, pixels=False)
    except UnreadableError:
        return (f"{name} cannot be read",)
    reasons = {f"{name} carries a private element ({tag})" for tag in _private_tags(dataset)}
    reasons |= {f"{name} carries {word}" for word in _IDENTIFYING if _filled(dataset, word)}
    if path.read_bytes()[:128].strip(b"\0"):
        reasons.add(f"{name} carries bytes in its preamble")
    if str(dataset.get("SyntheticData", "")) != "YES":
        reasons.add(f"{name} is not marked as synthetic data (0008,001C)")
    return tuple(sorted(reasons))


def _filled(dataset: Dataset, keyword: str) -> bool:
    """Whether an element is there, at any depth, and says anything; medaug's own serial number is 0."""
    return any(
        element.keyword == keyword and str(element.value) not in ("", "0", "None")
        for element in dataset.iterall()
    )


def _private_tags(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.tag.is_private:
            yield f"{element.tag.group:04x},xxxx"


def _inspect_text(path: Path, name: str) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        strings = list(_strings(text, path.suffix))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return (f"{name} cannot be read",)
    return tuple(
        f"{name} holds {what}" for what, found in _SUSPICIOUS.items() if any(map(found.search, strings))
    )


def _strings(text: str, suffix: str) -> Iterator[str]:
    """Every string of a text file; JSON is decoded first, so that escapes hide nothing."""
    if suffix == ".json":
        yield from _walk(json.loads(text))
    elif suffix == ".jsonl":
        for line in text.splitlines():
            yield from _walk(json.loads(line))
    else:
        yield text


def _walk(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _walk(part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield str(key)
            yield from _walk(part)
