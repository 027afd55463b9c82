"""Work on several cores of a CPU: parts side by side, each on one core, in place of every small operation on all of them.

Threads of one operation wait for each other at its end. For many operations of a millisecond that costs more than it brings,
and on a machine that is shared far more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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

    Threads are started for the call: a pool that is kept would not survive the fork of a data loader.
    """
    count = torch.get_num_threads()
    if count == 1 or len(parts) == 1:
        with torch.no_grad():
            return [work(part) for part in parts]

    def alone(part: Part) -> Result:
        # both settings are those of a thread
        with one_core(), torch.no_grad():
            return work(part)

    try:
        with ThreadPoolExecutor(min(count, len(parts))) as pool:
            return list(pool.map(alone, parts))
    finally:
        torch.set_num_threads(count)
