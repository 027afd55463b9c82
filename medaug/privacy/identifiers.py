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
_SHOWN = 8


def read_identifiers(path: Path) -> Scrubber:
    """Whatever finds the listed identifiers in texts.

    Args:
        path: A text file with one identifier a line (a line without digits is a name: its parts count alone, in any
            order; alone, words of the field do not), or a folder of the original DICOM files, every header of which is read.

    Raises:
        ConfigError: If there is no such file, it is empty, a line could not be searched for, or a DICOM file of the folder cannot be read.
    """
    if not path.exists():
        raise ConfigError("no such file or folder", where=_WHERE)
    lines = () if path.is_dir() else _lines(path)
    found = _harvested(path) if path.is_dir() else _identifiers(lines)
    if not found.names and not found.ids and not any(lines):
        raise ConfigError(f"{path} names no identifier", where=_WHERE, expected="one a line, or DICOM files")
    scrubber = Scrubber(found.names, found.ids)
    _check_searched(lines, scrubber)
    return scrubber


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read", where=_WHERE, expected="text in UTF-8") from error


def _check_searched(lines: Iterable[str], scrubber: Scrubber) -> None:
    """Every listed line would be found where it stands as it is."""
    lost = [n for n, line in enumerate(lines, start=1) if line and not scrubber.holds_identifier(line)]
    if lost:
        shown = ", ".join(map(str, lost[:_SHOWN])) + (", ..." if len(lost) > _SHOWN else "")
        raise ConfigError(
            f"nothing could be searched for line {shown} of the list: a word of the trade, or one sign",
            where=_WHERE,
            hint="write more of it, such as the whole name, or leave it out",
        )


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
