"""Made-up cases whose lesions have a texture of their own, as lesions do."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medaug.core.case import Case, Origin
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.quality.samples import LesionSample, cut_lesions

CLASSES = ("solid", "ground_glass")
SHAPE = (36, 34, 6)


def textured(number: int, *, name: str = "solid", channels: int = 1, slices: int = 6) -> Case:
    """A noisy background with one ellipsoid of 6 to 8 voxels radius, brighter and with a coarse random texture."""
    rng = np.random.default_rng(number)
    shape = (*SHAPE[:2], slices)
    i, j, k = np.indices(shape)
    radii = rng.uniform(6.0, 8.0, 2)
    ball = ((i - 18) / radii[0]) ** 2 + ((j - 17) / radii[1]) ** 2 + ((k - slices // 2) / 3.0) ** 2 < 1
    layers = []
    for _ in range(channels):
        coarse = ndimage.gaussian_filter(rng.standard_normal(shape), (1.3, 1.3, 0.7))
        lesion = -100.0 + 150.0 * coarse / coarse.std()
        layers.append(np.where(ball, lesion, -800.0 + rng.normal(0.0, 40.0, shape)))
    grid = Grid(shape, np.diag([0.8, 0.8, 2.0, 1.0]))
    names = tuple(f"ch{n}" for n in range(channels))
    volume = Volume(np.stack(layers).astype(np.float32), grid, Unit.HU, names)
    labels = LabelMap((ball * (CLASSES.index(name) + 1)).astype(np.uint8), grid, CLASSES)
    return Case(f"case_{number:04d}", f"patient_{number:04d}", volume, labels, Origin.REAL)


def lesion(number: int, *, channels: int = 1, slices: int = 6) -> LesionSample:
    """The lesion of a textured case."""
    return cut_lesions(textured(number, channels=channels, slices=slices))[0]
