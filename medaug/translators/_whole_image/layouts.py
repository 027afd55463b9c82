"""Label maps that are nobody's: a training patient's, bent, turned and mirrored, with a drawn lesion in it.

What of the patient remains: which tissues there are, how large their parts are and how they lie beside each other, within
the reach of the deformation. What does not: any intensity, the lesions, the place of the scanner's grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Integer
from scipy import ndimage

from medaug.core.errors import DataError
from medaug.core.geometry import NEIGHBOURS_26, Grid
from medaug.core.volume import Labels, Mask
from medaug.translators._whole_image.frames import LabelTable, Scene
from medaug.translators._whole_image.settings import LayoutSettings
from medaug.translators._whole_image.tissue import OUTSIDE

_RING = 2
_USUAL = 0.1  # of the rings of a class: a label below that share is no place for its lesions
_JITTER = 0.06  # of the image, about the place of a training lesion
_SIZE_JITTER = 0.15  # of the logarithm of a training lesion's diameter
_LARGEST_ASPECT = 1.5
_SMALLEST_VOXELS = 4
_SHARES = (0.9, 0.75, 0.6)  # of a lesion on usual labels, strict to lenient


@final
@dataclass(frozen=True, slots=True, eq=False)
class LesionStatistics:
    """Sizes and places of the training lesions of one class; no voxels.

    Attributes:
        class_name: Class.
        diameters_mm: (n,) of the disc of the largest section's area.
        places: (n, 3) centres over the image's shape, 0..1.
        rings: (P,) share of each label in the rings around the lesions.
    """

    class_name: str
    diameters_mm: Float[np.ndarray, " n"]
    places: Float[np.ndarray, "n 3"]
    rings: Float[np.ndarray, " P"]


@final
class StatisticsGatherer:
    """Collects :class:`LesionStatistics` from one scene after the other."""

    def __init__(self, table: LabelTable) -> None:
        self._table = table
        self._sizes: dict[str, list[float]] = {name: [] for name in table.lesions}
        self._places: dict[str, list[np.ndarray]] = {name: [] for name in table.lesions}
        self._rings = {name: np.zeros(table.planes) for name in table.lesions}

    def add(self, scene: Scene) -> None:
        """Measure the lesions of a scene; a connected part each."""
        voxel_mm2 = float(np.prod(scene.grid.spacing_mm[:2]))
        lesions = np.isin(scene.layout, [self._table.number(name) for name in self._table.lesions])
        for name in self._table.lesions:
            parts, _ = ndimage.label(scene.layout == self._table.number(name), NEIGHBOURS_26)
            for number, box in enumerate(ndimage.find_objects(parts), start=1):
                part = parts[box] == number
                area = int(part.sum(axis=(0, 1)).max())
                if area < _SMALLEST_VOXELS:
                    continue
                self._sizes[name].append(float(np.sqrt(4 * area * voxel_mm2 / np.pi)))
                centre = np.argwhere(part).mean(axis=0) + [side.start for side in box]
                self._places[name].append((centre + 0.5) / scene.layout.shape)
            self._rings[name] += _ring_counts(scene.layout, parts > 0, lesions, self._table.planes)

    def statistics(self) -> tuple[LesionStatistics, ...]:
        """Those of all lesion classes.

        Raises:
            DataError: If a class has no lesion.
        """
        found = []
        for name in self._table.lesions:
            if not self._sizes[name]:
                hint = "choose another fold, or leave the class out of the labels"
                raise DataError(f"no training case shows a lesion of class {name}", hint=hint)
            rings = self._rings[name] / max(1.0, self._rings[name].sum())
            sizes, places = np.array(self._sizes[name]), np.array(self._places[name])
            found.append(LesionStatistics(name, sizes, places, rings))
        return tuple(found)


def _ring_counts(layout: Labels, mask: Mask, lesions: Mask, planes: int) -> Float[np.ndarray, " P"]:
    """Voxels of each label around a mask, in plane, lesions left out."""
    if not mask.any():
        return np.zeros(planes)
    grown = ndimage.binary_dilation(mask, np.ones((3, 3, 1), dtype=bool), _RING + 2)
    near = ndimage.binary_dilation(mask, np.ones((3, 3, 1), dtype=bool), 2)  # the blurred rim tells nothing
    return np.bincount(layout[grown & ~near & ~lesions], minlength=planes).astype(np.float64)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A label map that is nobody's.

    Attributes:
        labels: (I, J, K) of the :class:`LabelTable`.
        site: Voxel in the middle of the new lesion.
    """

    labels: Labels
    site: tuple[int, int, int]


def bend(labels: Labels, settings: LayoutSettings, rng: np.random.Generator) -> Labels:
    """Turn, resize, shift, mirror and bend a label map in plane, all its slices alike."""
    shape = labels.shape[:2]
    angle = np.deg2rad(rng.uniform(-settings.rotation_deg, settings.rotation_deg))
    scale = np.exp(rng.uniform(-1, 1, 2) * np.log1p(settings.scale))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = (np.array(shape) - 1) / 2
    shift = rng.uniform(-settings.shift, settings.shift, 2) * shape
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).astype(np.float64)
    moved = np.einsum("ab,bij->aij", turn, places - middle[:, None, None])
    moved += (middle + shift)[:, None, None] + _elastic(shape, settings, rng)
    if settings.flip and rng.random() < 0.5:
        moved[0] = shape[0] - 1 - moved[0]
    rows = [_folded(np.rint(axis).astype(int), n) for axis, n in zip(moved, shape, strict=True)]
    return np.ascontiguousarray(labels[rows[0], rows[1]])


def _folded(places: Integer[np.ndarray, "I J"], size: int) -> Integer[np.ndarray, "I J"]:
    """Places beyond an edge, mirrored back into the image: repeating its edge would draw streaks."""
    period = max(1, 2 * (size - 1))
    turned = np.mod(places, period)
    return np.asarray(np.minimum(turned, period - turned) if size > 1 else np.zeros_like(places))


def _elastic(
    shape: tuple[int, int], settings: LayoutSettings, rng: np.random.Generator
) -> Float[np.ndarray, "2 I J"]:
    field = rng.standard_normal((2, *shape))
    smooth = ndimage.gaussian_filter(field, (0, settings.elastic_reach, settings.elastic_reach), mode="wrap")
    deviation = smooth.std(axis=(1, 2), keepdims=True)
    return np.asarray(settings.elastic_voxels * smooth / np.maximum(deviation, 1e-9))


def add_lesion(
    labels: Labels,
    grid: Grid,
    lesions: LesionStatistics,
    table: LabelTable,
    settings: LayoutSettings,
    rng: np.random.Generator,
) -> Layout:
    """Draw a lesion of a class where its training lesions lie: an ellipsoid with an elastic outline.

    Raises:
        DataError: If no place of those tried has enough of the tissue that surrounds such lesions.
    """
    usual = lesions.rings >= min(_USUAL, lesions.rings.max())
    usual[OUTSIDE] = False
    allowed = usual[labels]
    if not allowed.any():
        raise DataError(f"the label map shows no tissue for a {lesions.class_name} lesion")
    best = _most_fitting(allowed, grid, lesions, settings, rng)
    if best is None or best[0] < _SHARES[-1]:
        found = "none" if best is None else f"{best[0]:.0%} at best"
        raise DataError(
            f"no place for a {lesions.class_name} lesion among {settings.tries}: on its usual tissue lies {found}",
            expected=f"{_SHARES[-1]:.0%}",
        )
    drawn = labels.copy()
    drawn[tuple(best[1])] = table.number(lesions.class_name)
    i, j, k = (round(float(n)) for n in best[1].mean(axis=1))
    return Layout(drawn, (i, j, k))


def _most_fitting(
    allowed: Mask, grid: Grid, lesions: LesionStatistics, settings: LayoutSettings, rng: np.random.Generator
) -> tuple[float, Integer[np.ndarray, "3 N"]] | None:
    """Voxels of the first lesion that lies well, else of the one that lies best, and the share of them that is allowed."""
    best: tuple[float, np.ndarray] | None = None
    for attempt in range(settings.tries):
        row = int(rng.integers(len(lesions.places)))
        diameter = lesions.diameters_mm[row] * np.exp(rng.normal(0, _SIZE_JITTER))
        if attempt > settings.tries // 2:
            # large ones have had their chance
            diameter = min(diameter, float(np.median(lesions.diameters_mm)))
        centre = (lesions.places[row] + rng.normal(0, _JITTER, 3)) * allowed.shape - 0.5
        voxels = _ellipsoid(allowed.shape, grid, centre, diameter, settings.elasticity, rng)
        if len(voxels[0]) < _SMALLEST_VOXELS:
            continue
        share = float(allowed[voxels].mean())
        if best is None or share > best[0]:
            best = (share, np.stack(voxels))
        if share >= _SHARES[attempt * len(_SHARES) // settings.tries]:
            break
    return best


def _ellipsoid(
    shape: tuple[int, ...],
    grid: Grid,
    centre: Float[np.ndarray, "3"],
    diameter_mm: float,
    elasticity: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, ...]:
    """Voxels of an ellipsoid whose section in plane has the area of a disc of that diameter."""
    spacing = np.array(grid.spacing_mm)
    aspect = rng.uniform(1.0, _LARGEST_ASPECT) ** 0.5
    radii = diameter_mm / 2 * np.array([aspect, 1 / aspect, rng.uniform(0.8, 1.2)])
    reach = np.ceil(1.8 * radii.max() / spacing).astype(int) + 1
    low = np.maximum(np.floor(centre).astype(int) - reach, 0)
    high = np.minimum(np.floor(centre).astype(int) + reach + 1, shape)
    if (high <= low).any():
        return (np.empty(0, int),) * 3
    index = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"))
    offset = (index - centre[:, None, None, None]) * spacing[:, None, None, None]
    if shape[2] == 1:
        offset[2] = 0.0
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * offset[0] + np.sin(angle) * offset[1]
    across = np.cos(angle) * offset[1] - np.sin(angle) * offset[0]
    distance = np.sqrt((along / radii[0]) ** 2 + (across / radii[1]) ** 2 + (offset[2] / radii[2]) ** 2)
    around = np.arctan2(across, along)
    outline = np.zeros_like(around)
    for wave in range(2, 7):
        outline += rng.normal() / wave * np.cos(wave * around + rng.uniform(0, 2 * np.pi))
    inside = distance <= np.exp(elasticity * outline)
    return tuple(axis[inside] for axis in index)
