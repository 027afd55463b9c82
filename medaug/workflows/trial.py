"""A few steps of a training, timed: what the whole of it will take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from medaug.core.runs import RunDir, RunRecord
from medaug.experiments.bench import Work

STEPS = 20  # that are tried


@final
@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, by the clock and by the processors."""

    clock: float
    cpu: float

    @classmethod
    def now(cls) -> Mark:
        """This moment."""
        return cls(time.monotonic(), time.process_time())

    def until(self, later: Mark) -> Work:
        """What was spent between two moments."""
        return Work(later.clock - self.clock, later.cpu - self.cpu)

    @property
    def since(self) -> Work:
        """What was spent since."""
        return self.until(Mark.now())


@final
class EnoughError(Exception):
    """Enough steps were timed."""


@final
class Laps:
    """Progress that times steps; it breaks a training of more than so many off with :class:`EnoughError`."""

    def __init__(self, most: int | None = None) -> None:
        self._most, self._total = most, 0
        self._marks: list[Mark] = []
        self._begun = Mark.now()

    def start(self, label: str, total: int | None) -> None:  # noqa: ARG002
        """Another part begins; the last one is timed."""
        self._marks, self._total = [], total or 0

    def advance(self, units: int = 1, note: str = "") -> None:  # noqa: ARG002
        """A step was taken."""
        self._marks += [Mark.now()] * bool(units)
        if self._most is not None and self._most <= len(self._marks) < self._total:
            raise EnoughError

    def say(self, line: str) -> None:
        """Nobody listens."""

    def whole(self, steps: int) -> Work:
        """What so many steps would take, and what was needed once, before and after them; the first step is slow."""
        elapsed = self._begun.since
        if len(self._marks) < 2:
            return elapsed
        span = self._marks[0].until(self._marks[-1])
        more = (steps - len(self._marks)) / (len(self._marks) - 1)
        return elapsed + span.times(more)


@contextmanager
def trial_run() -> Iterator[RunDir]:
    """A run folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="medaug-") as folder:
        record = RunRecord(step="trial", status="running", config={}, inputs={})
        yield RunDir(Path(folder), record, resumed=False)


def left_in(run: RunDir) -> Work:
    """What a step left on the disk."""
    return Work(disk_bytes=sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()))
