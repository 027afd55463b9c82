"""What a released file may not hold: header fields, private elements, paths and identifiers in texts."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from medaug.core.case import SOURCES_PRIVATE
from medaug.io.headers import looks_like_dicom
from medaug.io.nifti import is_nifti
from medaug.privacy._deidentify.text import Scrubber
from medaug.privacy.dicom_inspection import MAIL, inspect_dicom

_FREE_TEXT_FIELDS = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
# numbers that medaug leaves at 0; some are remains of ANALYZE that no reader looks at
_UNUSED_FIELDS = (
    *("extents", "session_error", "glmax", "glmin", "intent_p1", "intent_p2", "intent_p3", "intent_code"),
    *("slice_start", "slice_end", "slice_code", "slice_duration", "toffset", "cal_max", "cal_min"),
)
_FIRST_VOXEL = 352  # of a NIfTI-1 file in one part, without extensions
_EXTENDER = slice(348, 352)
_GZIP = b"\x1f\x8b"
_TEXT_SUFFIXES = (".json", ".jsonl", ".csv", ".md", ".tsv")
_TEXT_NAMES = (".bidsignore",)
_SUSPICIOUS = {
    "an absolute path": re.compile(
        r"(?<![\w.:/])~?/[\w.\-]+/[\w.\-/]*|\b[A-Za-z]:[\\/]{1,2}\w|\\\\\w+\\|~[\w.\-]*/|file://"
    ),
    "an e-mail address": MAIL,
    "a DICOM UID": re.compile(r"(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\w.])"),
}
_HASH = re.compile(r"[0-9a-f]{64}")


@final
@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a release before its files are looked at.

    Attributes:
        listed: Finds what a person listed as identifying; None where nothing was listed.
        all_synthetic: Whether every DICOM file must be marked as synthetic data.
    """

    listed: Scrubber | None = None
    all_synthetic: bool = True

    def tells(self, text: str) -> bool:
        """Whether a listed identifier stands in a text; a hash is none."""
        return (
            self.listed is not None and _HASH.fullmatch(text) is None and self.listed.holds_identifier(text)
        )


_NOTHING: Final = Known()


def inspect_file(path: Path, name: str, known: Known = _NOTHING) -> tuple[str, ...]:
    """Reasons why a file may not leave, each naming the file by its path inside the release.

    Args:
        path: The file.
        name: Its path relative to the release.
        known: What is to be searched for.

    Raises:
        StorageError: If the file cannot be read.
    """
    if known.tells(name):
        return ("the name of a file holds a listed identifier",)
    if Path(name).name == SOURCES_PRIVATE:
        return (f"{name} ties pseudonyms to sources",)
    if is_nifti(path):
        return _inspect_nifti(path, name)
    if looks_like_dicom(path):
        return inspect_dicom(path, name, known.tells, all_synthetic=known.all_synthetic)
    if path.suffix in _TEXT_SUFFIXES or path.name in _TEXT_NAMES:
        return _inspect_text(path, name, known)
    return (f"{name} is of a kind that no release holds",)


def _inspect_nifti(path: Path, name: str) -> tuple[str, ...]:
    """Every field of the NIfTI header that may carry more than geometry, extensions, and what gzip says (RFC 1952)."""
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
    reasons += [f"{name} carries a number in {field}" for field in _UNUSED_FIELDS if np.any(header[field])]
    if len(header.extensions):
        reasons.append(f"{name} carries {len(header.extensions)} header extensions")
    elif raw[_EXTENDER].strip(b"\0"):
        reasons.append(f"{name} carries bytes where extensions are announced")
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


def _inspect_text(path: Path, name: str, known: Known) -> tuple[str, ...]:
    try:
        strings = list(_strings(path.read_text(encoding="utf-8"), path.suffix))
    except (OSError, ValueError, RecursionError):  # also: no UTF-8, no JSON, a key twice, nested too deeply
        return (f"{name} cannot be read",)
    reasons = [
        f"{name} holds {what}" for what, found in _SUSPICIOUS.items() if any(map(found.search, strings))
    ]
    if any(map(known.tells, strings)):
        reasons.append(f"{name} holds a listed identifier")
    return tuple(reasons)


def _strings(text: str, suffix: str) -> Iterator[str]:
    """Every string of a text file; JSON is decoded first, so that escapes hide nothing."""
    if suffix == ".json":
        yield from _walk(json.loads(text, object_pairs_hook=_only_once))
    elif suffix == ".jsonl":
        for line in text.splitlines():
            yield from _walk(json.loads(line, object_pairs_hook=_only_once))
    else:
        yield text


def _only_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; of a key that stands twice most readers see one value only, and the other would hide."""
    held = dict(pairs)
    if len(held) < len(pairs):
        raise ValueError("a key stands twice")
    return held


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
