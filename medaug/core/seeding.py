"""Randomness as an argument: a tree of seeds, so that results depend neither on order nor on workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import final

import numpy as np


@final
@dataclass(frozen=True, slots=True)
class SeedTree:
    """A seed with named children: the same names give the same randomness, whatever ran before.

    Example:
        >>> SeedTree(0).child("render", "case_0001").seed == SeedTree(0).child("render", "case_0001").seed
        True
    """

    root: int
    path: tuple[str, ...] = ()

    def child(self, *names: str | int) -> SeedTree:
        """The seed tree below these names."""
        return SeedTree(self.root, self.path + tuple(str(name) for name in names))

    @property
    def seed(self) -> int:
        """An integer of 63 bits for this place of the tree."""
        text = "\x1f".join((str(self.root), *self.path))
        return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1

    def rng(self) -> np.random.Generator:
        """A fresh generator for this place of the tree."""
        return np.random.default_rng(self.seed)
