"""Files on disk: atomic writes, hashes, and free space, with every failure translated."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medaug.core.errors import StorageError


@contextmanager
def atomic_path(path: Path, *, mode: int | None = None, sync: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place, synced, when the block ends well.

    The temporary name keeps the suffixes of ``path``, since writers choose their format by them.
    Nothing is left behind when the block raises. Without ``sync`` a file can be lost with the power of the machine, not with
    the process: for steps that look at their files again when they resume.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.partial.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode is not None:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield temporary
        if sync:
            settle(temporary)
        temporary.replace(path)
        if sync:
            settle(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        with suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)


def clear_leftovers(path: Path) -> None:
    """Remove what a killed run left of this file; a step that opens a run folder sweeps all of that instead.

    Raises:
        StorageError: If the folder cannot be read or written.
    """
    try:
        for left in path.parent.glob(f".*.partial.{glob.escape(path.name)}"):
            left.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


def settle(path: Path) -> None:
    """Let a file, or the names in a folder, outlast a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(error: OSError, path: Path | None = None) -> StorageError:
    """The StorageError for a failed read or write, in words a user can act on; no path of a source belongs here."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        # by its name alone: a folder that is not finished has another name than was asked for
        name = path.name if path is not None else "a file"
        return StorageError(
            f"disk is full while writing {name}", hint="free space and run the same command again"
        )
    what = f"cannot read or write {path or 'a file'}: {error.strerror or type(error).__name__}"
    return StorageError(what, hint="check the folder and its permissions")


def write_bytes_atomic(path: Path, content: bytes, *, mode: int | None = None, sync: bool = True) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path, mode=mode, sync=sync) as temporary:
        temporary.write_bytes(content)


def write_text_atomic(path: Path, content: str, *, mode: int | None = None) -> None:
    """Write a UTF-8 file whole or not at all."""
    write_bytes_atomic(path, content.encode("utf-8"), mode=mode)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path.name}: {error.strerror}") from error


def sha256_if_readable(path: Path) -> str:
    """The same, or ``unreadable`` where the file is to be refused later, by the case it belongs to.

    Nothing but a plain file is opened: a pipe would be waited for.
    """
    if not path.is_file():
        return "unreadable"
    try:
        return sha256_file(path)
    except StorageError:
        return "unreadable"


def sha256_text(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def require_free_space(folder: Path, needed_bytes: int) -> None:
    """Refuse to start a step that the disk cannot hold, or that may not write there.

    Raises:
        StorageError: If nothing may be written where ``folder`` lives or will live, or less than ``needed_bytes`` plus 64 MiB are free there.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        raise storage_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), folder)
    free = shutil.disk_usage(place).free
    wanted = needed_bytes + (64 << 20)
    if free < wanted:
        raise StorageError(
            f"{free / 2**20:.0f} MiB free for {folder}",
            expected=f"{wanted / 2**20:.0f} MiB",
            hint="free space or choose another --out",
        )
