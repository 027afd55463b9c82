"""Work on several cores of a CPU: parts side by side, each on one core, in place of every small operation on all of them.

Threads of one operation wait for each other at its end. For many operations of a millisecond that costs more than it brings,
and on a machine that is shared far more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")
Result = TypeVar("Result")


def is_watched(*tensors: Tensor) -> bool:
    """Whether a gradient is recorded, or what a thread makes could not be used in another one."""
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return recorded or torch.is_inference_mode_enabled()


@contextmanager
def one_core() -> Iterator[None]:
    """Torch's operations of this thread stay on it."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


def side_by_side(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """The results of all parts, as many at a time as torch has threads; no gradient is recorded.

    A single part has all threads for itself.
    """
    if len(parts) == 1:
        with torch.no_grad():
            return [work(parts[0])]
    return list(one_by_one(work, parts))


def one_by_one(work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
    """Like `side_by_side` for parts that are made or read as they are needed: result after result, in their order.

    Threads are started for the call: a pool that is kept would not survive the fork of a data loader.
    """

    def alone(part: Part) -> Result:
        # both settings are those of a thread
        with one_core(), torch.no_grad():
            return work(part)

    count = torch.get_num_threads()
    if count == 1:
        yield from map(alone, parts)
        return
    try:
        with ThreadPoolExecutor(count) as pool:
            yield from _in_order(pool, alone, parts, most=2 * count)
    finally:
        torch.set_num_threads(count)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Part], Result], parts: Iterable[Part], *, most: int
) -> Iterator[Result]:
    """Results in the order of the parts, of which no more than ``most`` are begun and not yet taken."""
    begun: deque[Future[Result]] = deque()
    for part in parts:
        begun.append(pool.submit(work, part))
        if len(begun) == most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
