"""DICOMDIR (PS3.3 annex F, PS3.10 section 8): which files of its folder a medium names; no path leads out of the folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pydicom.dataset import Dataset

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code
from medaug.io.headers import PYDICOM_ERRORS, quiet_pydicom, read_dataset

_NAME = "DICOMDIR"
_LAST_RECORD = "OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity"
_TAGS = ("DirectoryRecordSequence", _LAST_RECORD)
_MOST_BYTES = 64 << 20


@final
@dataclass(frozen=True, slots=True)
class Medium:
    """What a DICOMDIR names.

    Attributes:
        files: Files that are there, in the order of its records, each once.
        missing: References to files that are not there.
        outside: References that are absolute, climb with ``..``, or are links that lead out of the folder.
    """

    files: tuple[Path, ...]
    missing: int
    outside: int


def is_dicomdir(path: Path) -> bool:
    """Whether a file is called as PS3.10 section 8.6 says."""
    return path.name.upper() == _NAME


def read_medium(dicomdir: Path, files: Iterable[Path]) -> Medium:
    """Match the references of a DICOMDIR against the files of its folder; only those given are ever looked at.

    Names are compared as they are, then without regard to case: many systems show the names of a disc in small letters.

    Args:
        dicomdir: The file.
        files: What was found below its folder.

    Raises:
        UnreadableError: If it is damaged, or larger than any medium needs (code ``dicomdir-reference``).
    """
    names = {path.relative_to(dicomdir.parent).parts: path for path in files}
    shown = {tuple(part.upper() for part in parts): path for parts, path in names.items()}
    home = dicomdir.resolve().parent
    found: dict[Path, None] = {}
    missing = outside = 0
    for reference in _references(dicomdir):
        path = names.get(reference) or shown.get(tuple(_plain(part) for part in reference))
        if any(part in ("", "..") or "/" in part for part in reference):
            outside += 1
        elif path is None:
            missing += 1
        elif not path.resolve().is_relative_to(home):
            outside += 1
        else:
            found[path] = None
    return Medium(tuple(found), missing, outside)


def _plain(part: str) -> str:
    """A name as ISO 9660 compares it: in capitals, without the version."""
    return part.upper().partition(";")[0]


def _references(dicomdir: Path) -> list[tuple[str, ...]]:
    try:
        if dicomdir.stat().st_size > _MOST_BYTES:
            raise UnreadableError("DICOMDIR is larger than any medium needs", code=Code.DICOMDIR_REFERENCE)
        dataset = read_dataset(dicomdir, pixels=False, tags=_TAGS)
        with quiet_pydicom():
            records: Sequence[Dataset] = dataset.DirectoryRecordSequence
            if int(dataset.get(_LAST_RECORD) or 0) >= dicomdir.stat().st_size:
                raise UnreadableError("DICOMDIR is cut short")
            values = [record.get("ReferencedFileID") for record in records]
            return [_parts(value) for value in values if value]
    except (*PYDICOM_ERRORS, UnreadableError) as error:
        raise UnreadableError(
            "DICOMDIR is damaged", hint="copy the medium again", code=Code.DICOMDIR_REFERENCE
        ) from error


def _parts(value: object) -> tuple[str, ...]:
    """The components of a file id, which the standard writes as a list (PS3.3 F.3.2.2)."""
    parts = (
        [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence) else [str(value)]
    )
    return tuple(str(part).strip() for part in parts)
