"""One task shared by several processes of this machine, which report through this one and end with it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Event
from types import FrameType, TracebackType
from typing import Protocol, final

import torch

from medaug.core.errors import MedaugError, TrainingError
from medaug.core.runs import Progress
from medaug.core.signals import end_with_parent, uninterrupted

_END_S = 30.0  # for a worker to leave its files whole


class Task(Protocol):
    """What each process does; it is pickled, so a function of a module, or a partial of one."""

    def __call__(self, progress: Progress, stopping: Callable[[], bool]) -> None:
        """Work until nothing is left, or until ``stopping`` says to begin nothing new."""
        ...


def threads_each(workers: int) -> int:
    """Threads of torch for each of several workers, so that together they use what this process may use."""
    return max(1, torch.get_num_threads() // workers)


@contextmanager
def threads_for(workers: int) -> Iterator[None]:
    """Compute with the threads of one worker of several, to see what it takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_each(workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_crew(task: Task, workers: int, progress: Progress) -> None:
    """Let that many processes work; when one fails, the others end what they have begun, then its error is raised.

    Ctrl-C ends all of them at once, each leaving its files whole.

    Raises:
        MedaugError: What a worker raised.
        TrainingError: If a worker was killed, or failed in another way.
    """
    context = multiprocessing.get_context("spawn")
    stop, threads = context.Event(), threads_each(workers)
    members: list[_Member] = []
    try:
        with uninterrupted():
            for _ in range(workers):
                members.append(_Member(context, task, threads, stop))  # noqa: PERF401  (those begun are ended below)
        _listen(members, stop, progress)
    finally:
        for member in members:
            member.ask_to_end()
        for member in members:
            member.end()


@final
class _Member:
    """One worker, as this process sees it."""

    def __init__(self, context: SpawnContext, task: Task, threads: int, stop: Event) -> None:
        self.line, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(task, threads, theirs, stop))
        self._process.start()
        theirs.close()

    def death(self) -> TrainingError | None:
        """The error of a worker that closed its pipe without sending one; None where it ended well."""
        self._process.join()
        code = self._process.exitcode or 0
        if code == 0:
            return None
        how = f"was killed (signal {-code})" if code < 0 else f"ended with code {code}"
        hint = "it may have lacked memory: use fewer --workers; the same command again goes on"
        return TrainingError(f"a worker {how}", hint=hint)

    def ask_to_end(self) -> None:
        """As Ctrl-C would."""
        if self._process.is_alive():
            self._process.terminate()

    def end(self) -> None:
        """Wait for it for half a minute, then kill it."""
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.line.close()


def _listen(members: list[_Member], stop: Event, progress: Progress) -> None:
    """Pass on what they say until all have ended; raise the first failure."""
    failures: list[BaseException] = []
    speaking = {member.line: member for member in members}
    while speaking:
        ready = wait(list(speaking))
        for line in [one for one in speaking if one in ready]:
            said = _heard(line)
            if isinstance(said, str):
                progress.say(said)
                continue
            if said is None:
                said = speaking.pop(line).death()
            if said is not None:
                failures.append(said)
                stop.set()
    if failures:
        raise failures[0]


def _heard(line: Connection) -> str | BaseException | None:
    """A line for the user, a failure, or None at the end."""
    try:
        said: str | BaseException | None = line.recv()
    except (EOFError, OSError):
        return None
    return said


# ---- in the worker


def _work(task: Task, threads: int, line: Connection, stop: Event) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    end_with_parent()
    torch.set_num_threads(threads)
    with _Reported(line):
        task(_Wire(line), stop.is_set)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@final
class _Reported:
    """Sends the failure of its block to the parent, which raises it there; an interruption needs no words."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Send what a user can act on; a defect is named only, since its words may quote a file."""
        if kind is None or isinstance(error, KeyboardInterrupt):
            return True
        known = isinstance(error, MedaugError | OSError)
        hint = "run with --workers 1 --debug to see where"
        self._line.send(error if known else TrainingError(f"a worker failed with {kind.__name__}", hint=hint))
        return True


@final
class _Wire:
    """Progress that the parent shows; its bars are left out, since several would overwrite each other."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def start(self, label: str, total: int | None) -> None:
        """Left out."""

    def advance(self, units: int = 1, note: str = "") -> None:
        """Left out."""

    def say(self, line: str) -> None:
        """Pass on."""
        self._line.send(line)
