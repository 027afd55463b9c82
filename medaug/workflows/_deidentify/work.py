"""What a process does with the files that are handed to it: look, clean and write, list."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, final

from medaug.core.certificate import FileOutcome
from medaug.core.errors import IdentifierError, StorageError, UnreadableError
from medaug.core.storage import storage_error, write_bytes_atomic
from medaug.io.headers import quiet_pydicom
from medaug.privacy.deidentify import (
    Deidentified,
    Deidentifier,
    Entry,
    Finding,
    Identifiers,
    Option,
    Profile,
    Secret,
)

_MOST_BYTES: Final = 2 << 30
PIXELS: Final = "pixels-cleaned"
REGION: Final = "writing-in-region"
_HALVES: Final = (".hdr", ".img")  # of Analyze and NIfTI in two files


@final
@dataclass(frozen=True, slots=True)
class Rules:
    """By which all files of a call are cleaned.

    Attributes:
        secret: Behind all pseudonyms; it reaches other processes through a pipe.
        options: Of the profile.
        out: Folder of the output.
    """

    secret: Secret
    options: frozenset[Option]
    out: Path


@final
@dataclass(frozen=True, slots=True)
class Task:
    """A file that is to be cleaned; holds identifiers and is for memory alone.

    Attributes:
        path: Of the source.
        name: Relative to the output; no other content of the call has it.
        identifiers: Of the whole patient.
    """

    path: Path
    name: str
    identifiers: Identifiers


@final
@dataclass(frozen=True, slots=True)
class Done:
    """What became of a file.

    Attributes:
        outcome: As the report has it.
        reasons: Why it was not written, or was left as it is.
    """

    outcome: FileOutcome
    reasons: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def deidentifier(rules: Rules) -> Deidentifier:
    """The one of this process."""
    return Deidentifier(rules.secret, Profile(rules.options))


def look(rules: Rules, paths: Sequence[Path]) -> list[Finding | Done]:
    """What each file is, or why it cannot be read."""
    with quiet_pydicom():
        return [_look(rules, path) for path in paths]


def clean(rules: Rules, tasks: Sequence[Task]) -> list[Done]:
    """Clean files and write what can be made safe.

    Raises:
        StorageError: If one cannot be written, or a link leads out of the output.
    """
    with quiet_pydicom():
        return [_clean(rules, task) for task in tasks]


def list_files(rules: Rules, names: Sequence[str]) -> list[Entry | None]:
    """What the directory of a file-set says of each file of the output.

    Raises:
        StorageError: If one cannot be read.
    """
    found = []
    for name in names:
        try:
            content = (rules.out / name).read_bytes()
        except OSError as error:
            raise storage_error(error) from error
        found.append(deidentifier(rules).entry(content, name))
    return found


def _look(rules: Rules, path: Path) -> Finding | Done:
    try:
        return deidentifier(rules).look(read_content(path))
    except UnreadableError as error:
        code = error.code or "damaged-file"
        is_half = code == "not-dicom" and path.suffix.lower() in _HALVES
        return Done("refused", ("two-files" if is_half else code,))


def _clean(rules: Rules, task: Task) -> Done:
    def made() -> tuple[bytes, tuple[str, ...]]:
        cleaned = deidentifier(rules).clean(read_content(task.path), task.identifiers)
        return cleaned.content, _said(cleaned)

    return put(rules.out, task.name, made)


def put(out: Path, name: str, make: Callable[[], tuple[bytes, tuple[str, ...]]]) -> Done:
    """Write what is made of a file, with what the report says of it, or take back what an earlier call wrote.

    Raises:
        StorageError: If it cannot be written, or a link leads out of the output.
    """
    try:
        content, said = make()
    except IdentifierError as error:
        done = Done("quarantined", (error.code,))
    except UnreadableError as error:
        done = Done("refused", (error.code or "damaged-file",))
    else:
        _write(out, out / name, content)
        return Done("written", said)
    take_back(out, name)
    return done


def take_back(out: Path, name: str) -> None:
    """Remove what an earlier call wrote that knew less, such as fewer names of the patient.

    Raises:
        StorageError: If it cannot be removed, or a link leads out of the output.
    """
    target = out / name
    _require_within(out, target)
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error) from error


def _said(cleaned: Deidentified) -> tuple[str, ...]:
    """What the report says of a file that was written."""
    if cleaned.outcome == "own":
        return ("own-output",)
    blanked = () if cleaned.boxes is None else (f"{PIXELS}:{cleaned.boxes}",)
    return (*blanked, f"{REGION}:{cleaned.spared}") if cleaned.spared else blanked


def _write(out: Path, target: Path, content: bytes) -> None:
    """Write a file unless it stands there already."""
    _require_within(out, target)
    if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
        return
    # read again and compared when the call is repeated: a sync for each of many files would cost more than the rest
    write_bytes_atomic(target, content, sync=False)


def _require_within(out: Path, target: Path) -> None:
    if target.is_symlink() or not target.parent.resolve().is_relative_to(out.resolve()):
        raise StorageError("a link leads out of the output", where="--out", hint="name another folder")


def read_content(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        UnreadableError: If it is no plain file, or too large to be held.
    """
    with _plain_file(path) as handle:
        size = os.fstat(handle).st_size
        if size > _MOST_BYTES:
            raise UnreadableError("file is too large", expected="at most 2 GiB", code="too-large")
        try:
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise UnreadableError("file cannot be read", code="unreadable-file") from error


@contextmanager
def _plain_file(path: Path) -> Iterator[int]:
    """A file that is open; asked of the open file, so that no link or pipe can take its place in between."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        code = "no-plain-file" if path.is_symlink() or not path.is_file() else "unreadable-file"
        raise UnreadableError("file cannot be opened", code=code) from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UnreadableError("no plain file", code="no-plain-file")
        yield handle
    finally:
        os.close(handle)
