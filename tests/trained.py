"""Short trainings in tests: who listens to them, and ways to damage what they leave."""

from __future__ import annotations

from pathlib import Path

import torch

from medaug.core.config import Frozen
from medaug.generators.base import CARD, WEIGHTS, read_card

DAMAGES = ("missing", "cut", "other classes", "other weights", "other content")


class Said:
    """Remembers what was said, and stops the training after some steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.lines: list[str] = []
        self.left = stop_after

    def start(self, label: str, total: int | None) -> None:
        pass

    def say(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, units: int = 1, note: str = "") -> None:
        if self.left is not None and note:
            self.left -= units
            if self.left <= 0:
                raise KeyboardInterrupt


class NoSettings(Frozen):
    """Settings of a run folder that has none."""


def damaged_generator(run: Path, copy: Path, damage: str) -> None:
    """A generator's card and weights in another folder, with one of ``DAMAGES``."""
    for name in (WEIGHTS, CARD):
        (copy / name).write_bytes((run / name).read_bytes())
    card = read_card(run)
    if damage == "missing":
        (copy / WEIGHTS).unlink()
    elif damage == "cut":
        (copy / WEIGHTS).write_bytes((run / WEIGHTS).read_bytes()[:1000])
    elif damage == "other classes":
        card.model_copy(update={"classes": ("a", "b", "c")}).write(copy / CARD)
    elif damage == "other weights":
        card.model_copy(update={"weights_sha256": "0" * 64}).write(copy / CARD)
    else:
        torch.save({"net": {}}, copy / WEIGHTS)
