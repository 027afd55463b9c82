"""Claim files: which of several processes, on one machine or many, works on what in a shared folder."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import final

from medaug.core.storage import sha256_text, storage_error

CLAIMS = ".claims"  # the folder of claims inside a run folder; the last one to leave removes it
BEAT_S, DEAD_S = 10.0, 120.0
_PRESENT, _POLL_S = "present", 0.1


@final
class Claims:
    """The claims of one process in a shared folder; a context manager that gives all of them back.

    A claim is an empty file ``THING~HOST~PID~TOKEN``. Whoever wants a thing makes its own file and only then looks for
    others': of two at least one sees the other and steps back, on any file system and without a lock. A claim is dead
    where its process is gone (same machine) or has not touched it for two minutes (by the clock of the file system);
    anyone may remove a dead one, since its name never comes again.

    Args:
        folder: Where the claims lie; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._held = folder, set[Path]()
        self._owner = f"{_machine()}~{os.getpid()}~{uuid.uuid4().hex[:8]}"
        self._left = threading.Event()

    def __enter__(self) -> Claims:
        """Come into the folder: be seen by :meth:`others`."""
        self._make(self._mine(_PRESENT))
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what is still held."""
        self._left.set()
        for path in list(self._held):
            self._drop(path)
        with suppress(OSError):  # others are still there
            self._folder.rmdir()

    def take(self, thing: str) -> bool:
        """Claim a thing, unless another process has it.

        Raises:
            StorageError: If the folder cannot be written.
        """
        if self._rivals(thing):
            return False
        self._make(self._mine(thing))
        if self._rivals(thing):
            self._drop(self._mine(thing))
            return False
        return True

    def give_back(self, thing: str) -> None:
        """Let others have it."""
        self._drop(self._mine(thing))

    @contextmanager
    def held(self, thing: str) -> Iterator[None]:
        """Hold a thing during a block, waiting for it first."""
        while not self.take(thing):
            # two who step back at once do not try again at once
            time.sleep(_POLL_S * (1 + int(self._owner[-2:], 16) / 256))
        try:
            yield
        finally:
            self.give_back(thing)

    def others(self) -> int:
        """How many other processes are in the folder."""
        return len(self._rivals(_PRESENT))

    def taken(self) -> frozenset[str]:
        """What other processes hold."""
        return frozenset(path.name.split("~")[0] for path in self._alive())

    def _mine(self, thing: str) -> Path:
        return self._folder / f"{thing}~{self._owner}"

    def _make(self, path: Path) -> None:
        """Write a claim; the folder may be removed by one who leaves in the same moment."""
        self._held.add(path)
        for _ in range(100):
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                path.touch()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise storage_error(error, self._folder) from error
            return

    def _drop(self, path: Path) -> None:
        self._held.discard(path)
        with suppress(OSError):  # a lost claim is a dead one in two minutes
            path.unlink(missing_ok=True)

    def _rivals(self, thing: str) -> list[Path]:
        return [path for path in self._alive() if path.name.split("~")[0] == thing]

    def _alive(self) -> list[Path]:
        """Claims of other processes; dead ones are removed."""
        now = self._now()
        found = []
        for path in self._folder.glob("*~*~*~*"):
            if path.name.endswith(self._owner):
                continue
            if _is_dead(path, now):
                path.unlink(missing_ok=True)
            else:
                found.append(path)
        return found

    def _now(self) -> float:
        """The time by the clock that touches the claims of all machines."""
        path = self._mine(_PRESENT)
        path.touch()
        return path.stat().st_mtime

    def _beat(self) -> None:
        while not self._left.wait(BEAT_S):
            for path in list(self._held):
                with suppress(
                    OSError
                ):  # one given back in this moment, or a file server that is away for a while
                    os.utime(path)


def _is_dead(path: Path, now: float) -> bool:
    _, machine, pid, _ = path.name.split("~")
    try:
        late = now - path.stat().st_mtime > DEAD_S
    except FileNotFoundError:
        return True
    return late or (machine == _machine() and not _runs(int(pid)))


def _runs(pid: int) -> bool:
    """Whether a process of this machine runs; where it cannot be asked, its claims have to grow old."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@cache
def _machine() -> str:
    """A mark of this machine, and of the container in it, in which process numbers mean the same."""
    space = Path("/proc/self/ns/pid")
    return sha256_text(f"{platform.node()} {space.readlink() if space.is_symlink() else ''}")[:8]
