"""Work on many DICOM files shared among processes: this one works, too, so that nothing waits for the others to start."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Generic, TypeVar, final

from medaug.core.signals import uninterrupted
from medaug.io._dicom.border import quiet_pydicom

Result = TypeVar("Result")
# Starting a process costs as long as parsing a thousand headers
_WORTH_WORKERS = 500
_CHUNK = 32


def each_file(work: Callable[[Path], Result], paths: Sequence[Path], workers: int) -> Iterator[Result]:
    """The result for each file, in the order of the files whatever the number of processes.

    Args:
        work: A function of a module, that raises nothing.
        paths: Files; a few hundred stay in this process.
        workers: Processes, this one counted.
    """
    if workers < 2 or len(paths) < _WORTH_WORKERS:
        for start in range(0, len(paths), _CHUNK):
            yield from _chunk(work, paths[start : start + _CHUNK])
        return
    # a fresh process copies neither threads nor open files of this one, as a fork would
    pool = ProcessPoolExecutor(workers - 1, mp_context=multiprocessing.get_context("spawn"))
    try:
        with uninterrupted():
            shared = _Shared(pool, work, paths)
        yield from shared.results()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunk(work: Callable[[Path], Result], paths: Sequence[Path]) -> list[Result]:
    with quiet_pydicom():
        return [work(path) for path in paths]


@final
class _Shared(Generic[Result]):
    """Chunks of files that wait for a process; this one takes those that none has begun."""

    def __init__(
        self, pool: ProcessPoolExecutor, work: Callable[[Path], Result], paths: Sequence[Path]
    ) -> None:
        self._work = work
        self._chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
        self._waiting: list[Future[list[Result]]] = [
            pool.submit(_chunk, work, chunk) for chunk in self._chunks
        ]
        self._mine: dict[int, list[Result]] = {}
        self._next = 0

    def results(self) -> Iterator[Result]:
        """All results in the order of the files."""
        for number, future in enumerate(self._waiting):
            while number not in self._mine and not future.done() and self._took_one():
                pass
            yield from self._mine.pop(number, None) or self._finished(number)

    def _took_one(self) -> bool:
        """Work on the next chunk that no process has begun; False where there is none left."""
        while self._next < len(self._chunks):
            number, self._next = self._next, self._next + 1
            if self._waiting[number].cancel():
                self._mine[number] = _chunk(self._work, self._chunks[number])
                return True
        return False

    def _finished(self, number: int) -> list[Result]:
        try:
            return self._waiting[number].result()
        except BrokenProcessPool:
            # the process was ended from outside: nothing of its work is lost but time
            return _chunk(self._work, self._chunks[number])
