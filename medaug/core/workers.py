"""Work on many items shared among processes, this one included, so that nothing waits for the others to start."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Generic, TypeVar, final

from medaug.core.signals import end_with_parent, uninterrupted

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], list[Result]]
_CHUNK = 32


@final
class Crew:
    """Processes that begin with the first work that is worth it, and stay for the next.

    Args:
        pool: The other processes; none where this one works alone.
        worth: Fewer things stay in this process: starting another costs more.
    """

    def __init__(self, pool: ProcessPoolExecutor | None, worth: int) -> None:
        self._pool, self._worth = pool, worth

    def each(self, work: Work[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
        """The result for each item, in the order of the items whatever the number of processes.

        Args:
            work: A function of a module, or a partial of one, from some items to as many results.
            items: Anything that can be sent to a process.
        """
        chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
        shared = _shared(self._pool, work, chunks) if len(items) >= self._worth else None
        if shared is not None:
            yield from shared.results()
            return
        for chunk in chunks:
            yield from work(chunk)


@contextmanager
def crew(workers: int, worth: int = 500) -> Iterator[Crew]:
    """So many processes, this one counted; they end with the block, and with this process if it is killed."""
    if workers < 2:
        yield Crew(None, worth)
        return
    # a fresh process copies neither threads nor open files of this one, as a fork would
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers - 1, mp_context=context, initializer=end_with_parent)
    try:
        yield Crew(pool, worth)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _shared(
    pool: ProcessPoolExecutor | None, work: Work[Item, Result], chunks: list[Sequence[Item]]
) -> _Shared[Item, Result] | None:
    """Hand the work out; nothing where there are no other processes, or none any more."""
    if pool is None:
        return None
    try:
        with uninterrupted():
            return _Shared(pool, work, chunks)
    except BrokenProcessPool:
        # they were ended from outside
        return None


@final
class _Shared(Generic[Item, Result]):
    """Chunks that wait for a process; this one takes those that none has begun."""

    def __init__(
        self, pool: ProcessPoolExecutor, work: Work[Item, Result], chunks: list[Sequence[Item]]
    ) -> None:
        self._work, self._chunks = work, chunks
        self._waiting: list[Future[list[Result]]] = [pool.submit(work, chunk) for chunk in chunks]
        self._mine: dict[int, list[Result]] = {}
        self._next = 0

    def results(self) -> Iterator[Result]:
        """All results in the order of the items."""
        for number, future in enumerate(self._waiting):
            while number not in self._mine and not future.done() and self._took_one():
                pass
            yield from self._mine.pop(number, None) or self._finished(number)

    def _took_one(self) -> bool:
        """Work on the next chunk that no process has begun; False where there is none left."""
        while self._next < len(self._chunks):
            number, self._next = self._next, self._next + 1
            if self._waiting[number].cancel():
                self._mine[number] = self._work(self._chunks[number])
                return True
        return False

    def _finished(self, number: int) -> list[Result]:
        try:
            return self._waiting[number].result()
        except BrokenProcessPool:
            # the process was ended from outside: nothing of its work is lost but time
            return self._work(self._chunks[number])
