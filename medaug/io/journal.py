"""What a transfer has already done: a private file that grows by one synced line for each instance.

It holds UIDs and what was asked, so it has mode 600, and nothing but the transfer itself reads it. A line that a kill
cut short is forgotten, and what it stood for is done again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, final

from pydantic import ValidationError

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.storage import storage_error

_VERSION = 1
_MODE = 0o600


@final
class _Head(Frozen):
    schema_version: int = _VERSION
    step: str
    asked: dict[str, str]


@final
class Entry(Frozen):
    """One thing done: a key that tells it from others, how it ended, and the file it concerns."""

    key: str
    state: str
    file: str


@final
@dataclass(slots=True)
class Journal:
    """An open journal; the last entry of a key counts."""

    _handle: BinaryIO
    _entries: dict[str, Entry] = field(repr=False)

    def get(self, key: str) -> Entry | None:
        """The last entry of this key."""
        return self._entries.get(key)

    def count(self, state: str) -> int:
        """How many keys are in a state."""
        return sum(entry.state == state for entry in self._entries.values())

    def add(self, entry: Entry) -> None:
        """Write one entry, which lasts from then on.

        Raises:
            StorageError: If the disk is full.
        """
        try:
            _append(self._handle, entry)
        except OSError as error:
            raise storage_error(error) from error
        self._entries[entry.key] = entry


@contextmanager
def open_journal(path: Path, step: str, asked: dict[str, str]) -> Iterator[Journal]:
    """Open a journal to go on with it, or begin one.

    Args:
        path: Its file.
        step: Who writes it.
        asked: What makes it the same transfer.

    Raises:
        ConfigError: If it is that of another transfer, or another process is at it.
        DataError: If it is damaged.
        StorageError: If it cannot be read or written.
    """
    head = _Head(step=step, asked=asked)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _MODE)
        with os.fdopen(descriptor, "r+b") as handle:
            _lock(handle, path)
            os.fchmod(handle.fileno(), _MODE)
            entries = _read(handle, head, path)
            yield Journal(handle, entries)
    except OSError as error:
        raise storage_error(error, Path(path.name)) from error


def _lock(handle: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"{path.name} is in use", hint="wait for the other call to end") from error


def _read(handle: BinaryIO, head: _Head, path: Path) -> dict[str, Entry]:
    """All whole lines; what follows the last of them is cut off."""
    *lines, torn = handle.read().split(b"\n")
    if torn:
        handle.truncate(handle.seek(-len(torn), os.SEEK_END))
    handle.seek(0, os.SEEK_END)
    if not lines:
        _append(handle, head)
        return {}
    hint = "name a new folder or delete this one"
    try:
        before = _Head.model_validate_json(lines[0])
        entries = [Entry.model_validate_json(line) for line in lines[1:]]
    except ValidationError as error:
        raise DataError(f"{path.name} is damaged", hint=hint) from error
    if before.schema_version != _VERSION:
        raise DataError(f"{path.name} is of another version of medaug", hint=hint)
    if before != head:
        keys = sorted(k for k in {*before.asked, *head.asked} if before.asked.get(k) != head.asked.get(k))
        said = f"another {' and '.join(keys)}" if keys else "another step"
        raise ConfigError(f"{path.name} belongs to {said}", hint=hint)
    return {entry.key: entry for entry in entries}


def _append(handle: BinaryIO, line: Frozen) -> None:
    handle.write(json.dumps(line.model_dump()).encode("utf-8") + b"\n")
    handle.flush()
    os.fsync(handle.fileno())
