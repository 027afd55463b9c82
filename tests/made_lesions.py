"""Small lesion banks and requests, made of noise and balls, for tests of generators."""

from __future__ import annotations

import numpy as np

from medaug.core.case import Case
from medaug.core.geometry import Box, Grid
from medaug.core.intensity import CaseScale
from medaug.core.lesion import LesionRequest
from medaug.core.splits import Fold
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.lesions.bank import Bank, bank_of_cases

SHAPE = (40, 40, 6)
LEVELS_HU = {"faint": -600.0, "bright": 100.0}


def ball(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    """(I, J, K) True in a ball in the middle, twice as flat along K."""
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    return np.asarray(axes[0] ** 2 + axes[1] ** 2 + (2 * axes[2]) ** 2 <= radius**2)


def case(
    number: int, class_name: str, *, unit: Unit = Unit.HU, classes: tuple[str, ...] = tuple(LEVELS_HU)
) -> Case:
    """A ball of the class's level in noise of -850 HU; two cases a patient."""
    rng = np.random.default_rng(number)
    mask = ball(SHAPE, 5 + rng.uniform(0, 3))
    image = rng.normal(-850, 30, (1, *SHAPE)).astype(np.float32)
    image[0, mask] = rng.normal(LEVELS_HU[class_name], 40, int(mask.sum()))
    grid = Grid(SHAPE, np.diag([0.7, 0.7, 2.0, 1.0]))
    labels = (mask * (1 + classes.index(class_name))).astype(np.uint8)
    label_map = LabelMap(labels, grid, classes)
    return Case(
        f"case_{number:03d}", f"patient_{number // 2:03d}", Volume(image, grid, unit, ("CT",)), label_map
    )


def bank(
    faint: int = 8, bright: int = 8, *, unit: Unit = Unit.HU, classes: tuple[str, ...] = tuple(LEVELS_HU)
) -> Bank:
    """A bank in memory with so many faint and bright lesions."""
    names = ["faint"] * faint + ["bright"] * bright
    cases = [case(n, name, unit=unit, classes=classes) for n, name in enumerate(names)]
    patients = tuple(sorted({c.patient_id for c in cases}))
    return bank_of_cases(cases, Fold(index=0, train=patients, held_out=("patient_999",)), "0" * 64)


def request(
    class_name: str = "bright", *, shape: tuple[int, int, int] = SHAPE, radius: float = 6.0, seed: int = 0
) -> LesionRequest:
    """A ball to be drawn into noise of -850 HU."""
    rng = np.random.default_rng(seed)
    host = rng.normal(-850, 30, (1, *shape)).astype(np.float32)
    texture = rng.normal(LEVELS_HU[class_name], 40, (1, *shape)).astype(np.float32)
    scale = CaseScale((-400.0,), (500.0,), (-1024.0,), (1500.0,))
    box = Box((0, 0, 0), shape)
    return LesionRequest(
        class_name, ball(shape, radius), host, texture, scale, (0.7, 0.7, 2.0), box, ("patient_000",)
    )
