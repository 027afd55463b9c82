"""Tiny cases for the task's tests: bright balls of two classes in noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medaug.core.case import Case
from medaug.core.config import Frozen
from medaug.core.geometry import Grid
from medaug.core.runs import RunDir, RunRecord
from medaug.core.volume import LabelMap, Unit, Volume

CLASSES = ("dim", "bright")


class Settings(Frozen):
    """Nothing to set."""


def make_case(
    number: int,
    *,
    shape: tuple[int, int, int] = (24, 20, 6),
    classes: tuple[int, ...] = (1, 2),
    labelled: bool = True,
    unit: Unit = Unit.ARBITRARY,
) -> Case:
    """A case with one small box a class; everything follows from its number."""
    rng = np.random.default_rng(number)
    image = rng.normal(0, 0.1, size=(1, *shape)).astype(np.float32)
    image[:, :, -2:] = 8.0  # something every slice shows, by which grey values can be told apart
    labels = np.zeros(shape, dtype=np.uint8)
    for identity in classes:
        start = [int(rng.integers(0, max(1, n - 7))) for n in shape]
        box = tuple(slice(s, s + 5) for s in start)
        image[0][box] = 2.0 * identity
        labels[box] = identity
    grid = Grid(shape, np.eye(4))
    label_map = LabelMap(labels, grid, CLASSES) if labelled else None
    return Case(f"case_{number:03d}", f"patient_{number:03d}", Volume(image, grid, unit, ("T1",)), label_map)


def open_folder(path: Path) -> RunDir:
    """A run folder without a workflow."""
    path.mkdir(parents=True, exist_ok=True)
    return RunDir(path, RunRecord(step="train", status="running", config={}, inputs={}), resumed=False)
