"""A list of what must not stand in anything that leaves: written by a person, or harvested from the original headers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from medaug.core.errors import ConfigError, UnreadableError
from medaug.io.headers import looks_like_dicom
from medaug.privacy._deidentify.text import Scrubber
from medaug.privacy.deidentify import Deidentifier, Identifiers, Profile, Secret, parse_options

_WHERE = "--identifiers"
_NAME_PART = re.compile(r"[^\W\d_]{2,}")
_SHORTEST = 2


def read_identifiers(path: Path) -> Scrubber:
    """Whatever finds the listed identifiers in texts.

    Args:
        path: A text file with one identifier a line (a line without digits is a name: its parts count alone, in any
            order), or a folder of the original DICOM files, every header of which is read.

    Raises:
        ConfigError: If there is no such file, it is empty, or a DICOM file of the folder cannot be read.
    """
    if path.is_dir():
        found = _harvested(path)
    elif path.is_file():
        found = _listed(path)
    else:
        raise ConfigError("no such file or folder", where=_WHERE)
    if not found.names and not found.ids:
        raise ConfigError(
            f"{path.name} names no identifier", where=_WHERE, expected="one a line, or DICOM files"
        )
    return Scrubber(found.names, found.ids)


def _listed(path: Path) -> Identifiers:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} cannot be read", where=_WHERE, expected="text in UTF-8") from error
    return _identifiers(line.strip() for line in lines)


def _identifiers(lines: Iterable[str]) -> Identifiers:
    whole = [line for line in lines if len(line) >= _SHORTEST]
    names = {part for line in whole if not any(map(str.isdigit, line)) for part in _NAME_PART.findall(line)}
    return Identifiers(frozenset(names), frozenset(whole))


def _harvested(folder: Path) -> Identifiers:
    # nothing is replaced here, so that the secret does not matter
    reader = Deidentifier(Secret.of(b"\0" * 32), Profile(parse_options("basic")))
    found = Identifiers()
    try:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and looks_like_dicom(path):
                found = found.joined(reader.look(path.read_bytes()).identifiers)
    except (OSError, UnreadableError) as error:
        raise ConfigError(
            "a DICOM file of the folder cannot be read", where=_WHERE, hint="leave it out, or list by hand"
        ) from error
    return found
