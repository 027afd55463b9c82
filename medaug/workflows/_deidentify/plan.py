"""What is settled between the two readings: whose texts belong together, and under which name each file goes out."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final, final

from medaug.privacy.deidentify import Finding, Identifiers, Names
from medaug.workflows._deidentify.work import read_content

DIRECTORY: Final = "DICOMDIR"
_ROOT = "2.25."
_NAME_DIGITS = 12
# PS3.10 8.2 and 8.5: what the path of a file in a file-set is made of
_FILE_SIGNS: Final = string.digits + string.ascii_uppercase
_FILE_LENGTH = 8


@final
class Circles:
    """Identifiers of all that have a patient or a study in common."""

    def __init__(self) -> None:
        self._found: dict[str, Identifiers] = {}
        self._leads_to: dict[str, str] = {}

    def add(self, finding: Finding) -> None:
        """Join what was found in a file to what is known."""
        one = self._root(f"patient {finding.patient}")
        other = self._root(f"study {finding.study}") if finding.study else one
        known = self._found.pop(one, Identifiers())
        if other != one:
            known = known.joined(self._found.pop(other, Identifiers()))
            self._leads_to[one] = other
        self._found[other] = known.joined(finding.identifiers)

    def of(self, finding: Finding) -> Identifiers:
        """All that is known where this file belongs."""
        return self._found[self._root(f"patient {finding.patient}")]

    def _root(self, one: str) -> str:
        while (above := self._leads_to.get(one, one)) != one:
            one = above
        return one


@final
class NameBook:
    """Gives each content a name of its own, made of pseudonyms alone.

    Files of one instance UID and another content are numbered in the order in which they come.

    Args:
        is_file_set: Whether a directory will list them, which wants short names of capitals and digits.
    """

    def __init__(self, *, is_file_set: bool) -> None:
        self._named = _file_set_name if is_file_set else _name
        self._taken: dict[str, Path] = {}
        self._digests: dict[str, bytes] = {}

    def name(self, names: Names, path: Path) -> str:
        """Relative path in the output.

        Raises:
            UnreadableError: If a file cannot be read again; its name is not said.
        """
        for number in count(1):
            name = self._named(names, number)
            if name not in self._taken or self._digest(name) == _sha256(path):
                break
        self._taken.setdefault(name, path)
        return name

    def _digest(self, name: str) -> bytes:
        if name not in self._digests:
            self._digests[name] = _sha256(self._taken[name])
        return self._digests[name]


def _sha256(path: Path) -> bytes:
    return hashlib.sha256(read_content(path)).digest()


def _name(names: Names, number: int) -> str:
    """``PATIENT/STUDY/SERIES/INSTANCE.dcm``."""
    again = f"-{number}" if number > 1 else ""
    folders = (_short(names.study_uid), _short(names.series_uid))
    return "/".join((names.patient_id, *folders, f"{names.instance_uid.removeprefix(_ROOT)}{again}.dcm"))


def _short(uid: str) -> str:
    """Enough of a UID made from a hash to tell it from others; one that was kept, whole."""
    return (uid.removeprefix(_ROOT)[:_NAME_DIGITS] if uid.startswith(_ROOT) else uid) or "none"


def _file_set_name(names: Names, number: int) -> str:
    """``PATIENT/STUDY/SERIES/INSTANCE`` of eight signs each."""
    uids: Sequence[str] = (names.study_uid, names.series_uid, f"{names.instance_uid} {number}")
    return "/".join(_signs(one) for one in (names.patient_id, *uids))


def _signs(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:16], "big")
    signs = ""
    while len(signs) < _FILE_LENGTH:
        number, place = divmod(number, len(_FILE_SIGNS))
        signs += _FILE_SIGNS[place]
    return signs
