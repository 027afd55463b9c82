"""Tiny made-up chests: a body with two lungs, and lesions of two classes in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medaug.core.case import Case
from medaug.core.geometry import Grid
from medaug.core.splits import Fold
from medaug.core.volume import LabelMap, Unit, Volume

CLASSES = ("solid", "ground_glass")
SHAPE = (72, 64, 8)
_LEVEL_HU = {"solid": 40.0, "ground_glass": -520.0}


def chest(
    number: int, lesions: Sequence[str] = ("solid",), *, spacing_mm: float = 1.0, known: bool = True
) -> Case:
    """A CT of -1000 HU air, a 40 HU body and two -820 HU lungs; lesion n of class ``lesions[n]``, in turn in each lung.

    Lesions are ellipsoids of about 5 voxels radius; patient and positions depend on ``number``.
    """
    rng = np.random.default_rng(number)
    i, j, k = np.indices(SHAPE)
    image = np.full(SHAPE, -1000.0)
    image[((i - 36) / 33) ** 2 + ((j - 32) / 28) ** 2 < 1] = 40.0
    for side in (21, 51):
        image[((i - side) / 12) ** 2 + ((j - 32) / 20) ** 2 < 1] = -820.0
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for n, name in enumerate(lesions):
        centre = np.array((21, 51)[n % 2]), 22 + 14 * (n // 2) + int(rng.integers(3)), 4
        radius = rng.uniform(3.5, 5.0)
        ball = ((i - centre[0]) / radius) ** 2 + ((j - centre[1]) / radius) ** 2 + (
            (k - centre[2]) / 2.5
        ) ** 2 < 1
        image[ball], labels[ball] = _LEVEL_HU[name], CLASSES.index(name) + 1
    image += rng.normal(0.0, 15.0, SHAPE)
    grid = Grid(SHAPE, np.diag([spacing_mm, spacing_mm, 2.0 * spacing_mm, 1.0]))
    volume = Volume(np.rint(image)[None].astype(np.float32), grid, Unit.HU, ("CT",), known)
    return Case(f"case_{number:03d}", f"patient_{number:03d}", volume, LabelMap(labels, grid, CLASSES))


def head(number: int) -> Case:
    """The same in arbitrary units, as two channels, with a scanner's gain that differs from case to case."""
    case = chest(number)
    gain = 1.0 + number % 5 + 40.0 * (number > 50)
    image = np.concatenate(
        [(case.volume.image + 1000.0) * gain, (case.volume.image + 1000.0) * 0.3 * gain + 7.0]
    )
    volume = Volume(image.astype(np.float32), case.volume.grid, Unit.ARBITRARY, ("FLAIR", "T1"))
    return replace(case, volume=volume)


def fold_of(train: Sequence[Case], held_out: Sequence[Case] = ()) -> Fold:
    """A fold with the patients of these cases on its two sides."""
    outside = tuple(case.patient_id for case in held_out) or ("somebody_else",)
    return Fold(index=0, train=tuple(case.patient_id for case in train), held_out=outside)


def labels_of(case: Case) -> np.ndarray:
    """The labels of a case that has some."""
    assert case.label_map is not None
    return case.label_map.labels
