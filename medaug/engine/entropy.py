"""Randomness for differential privacy: uniform and normal numbers from the operating system's entropy.

torch's and numpy's generators can be predicted from what they gave (torch's Mersenne Twister on the CPU even has no more
than 32 bits of seed), and a noise that can be repeated can be taken off again. Each normal number is the sum of four
(Holohan and Braghin, Secure random sampling in differential privacy, ESORICS 2021): the low bits of one alone tell
which sums of signal and noise are possible at all (Mironov, CCS 2012).
"""

from __future__ import annotations

import os
from typing import Protocol, final

import numpy as np
from jaxtyping import Float
from scipy import special

from medaug.core.seeding import SeedTree

_SUMMED = 4
_BITS = 53


class Entropy(Protocol):
    """A source of random numbers."""

    def uniform(self, count: int) -> Float[np.ndarray, " N"]:
        """Independent, between 0 and 1, neither of them."""
        ...


@final
class SystemEntropy:
    """The operating system's generator; nothing repeats it."""

    def uniform(self, count: int) -> Float[np.ndarray, " N"]:
        """See :class:`Entropy`."""
        words = np.frombuffer(os.urandom(8 * count), dtype=np.uint64) >> np.uint64(64 - _BITS)
        return np.asarray((words + 0.5) / 2.0**_BITS)


@final
class SeededEntropy:
    """A seeded generator, for tests; hides nobody."""

    def __init__(self, seed: SeedTree) -> None:
        self._rng = seed.rng()

    def uniform(self, count: int) -> Float[np.ndarray, " N"]:
        """See :class:`Entropy`."""
        return np.asarray((self._rng.integers(2**_BITS, size=count) + 0.5) / 2.0**_BITS)


def gaussian(entropy: Entropy, count: int) -> Float[np.ndarray, " N"]:
    """Standard normal numbers, each the sum of four over two."""
    parts = special.ndtri(entropy.uniform(_SUMMED * count)).reshape(_SUMMED, count)
    return np.asarray(parts.sum(axis=0) / _SUMMED**0.5)
