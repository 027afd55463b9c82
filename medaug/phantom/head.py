"""One made-up head MR: brain, skull, eyes, nose, jaw and neck of ellipsoids, in several weightings, tilts and sizes.

Lengths are those of an adult; they are round figures of anatomy, no measurement of anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal, final

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Mask, Unit, Volume

Weighting = Literal["T1", "T2", "FLAIR", "PD"]
Points = Float64[np.ndarray, "3 I J K"]
_Inside = Bool[np.ndarray, "I J K"]

_LESION_MM, _LESION_RADIUS_MM = (24.0, 52.0, 14.0), 8.0
_CHILD_FACE = 0.8
_FORAMEN_MM = -58.0


class _Tissue(IntEnum):
    """What a voxel is."""

    AIR, BONE, FAT, MUSCLE, CSF, GREY, WHITE, EYE, MUCOSA, LESION = range(10)


_SIGNAL: Final[dict[Weighting, tuple[float, ...]]] = {
    "T1": (0, 15, 250, 90, 35, 110, 150, 30, 100, 80),
    "T2": (0, 15, 150, 50, 250, 115, 85, 255, 180, 190),
    "FLAIR": (0, 12, 220, 70, 15, 120, 100, 20, 90, 210),
    "PD": (0, 25, 180, 110, 150, 170, 140, 150, 150, 190),
}


@final
@dataclass(frozen=True, slots=True)
class HeadSpec:
    """How a head is made up and scanned.

    Attributes:
        weighting: Of the sequence.
        spacing_mm: Of the voxels.
        turn_deg: Nodding (chin up is positive), tilting to a shoulder, turning to a side.
        size: Of an adult; a child's face is smaller still.
        is_child: Whether the face is small below the brain.
        has_skin: Whether all but the brain was masked out.
        bottom_mm: Where the scan ends below the middle of the brain.
        crooked_mm: By how much the nose and jaw are shifted to the right.
        bias: Of the coil, as a share.
        noise: Standard deviation, as a share of the signal of white matter.
    """

    weighting: Weighting = "T1"
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: float = 1.0
    is_child: bool = False
    has_skin: bool = True
    bottom_mm: float = 150.0
    crooked_mm: float = 0.0
    bias: float = 0.3
    noise: float = 0.03


@final
@dataclass(frozen=True, slots=True, eq=False)
class HeadScan:
    """A made-up head and what is known of it.

    Attributes:
        volume: (1, I, J, K), RAS+.
        label_map: One lesion above the orbit.
        brain: All brain tissue, down to the foramen magnum.
        nose: The outer nose and the front of both eyes.
    """

    volume: Volume
    label_map: LabelMap
    brain: Mask
    nose: Mask


def draw_head(spec: HeadSpec, rng: np.random.Generator) -> HeadScan:
    """Draw a head; it depends on its arguments alone."""
    grid = _grid(spec)
    points = _points(grid, spec)
    folds = ndimage.gaussian_filter(
        rng.standard_normal(grid.shape), [2.5 * spec.size / s for s in spec.spacing_mm]
    )
    tissue, nose = _anatomy(points, folds / folds.std(), spec)
    brain = np.isin(tissue, (_Tissue.GREY, _Tissue.WHITE, _Tissue.LESION)) & (points[2] > _FORAMEN_MM)
    if not spec.has_skin:
        tissue = np.where(ndimage.binary_closing(brain, iterations=2), tissue, _Tissue.AIR)
    image = _acquire(tissue, spec, rng)
    volume = Volume(image[None], grid, Unit.ARBITRARY, (spec.weighting,))
    labels = (tissue == _Tissue.LESION).astype(np.uint8)
    return HeadScan(volume, LabelMap(labels, grid, ("lesion",)), brain, nose)


def _grid(spec: HeadSpec) -> Grid:
    """Air all around, but for the bottom, where the neck goes on."""
    low = np.array([-105.0, -125.0, -spec.bottom_mm]) * spec.size
    high = np.array([105.0, 150.0, 125.0]) * spec.size
    shape = np.round((high - low) / spec.spacing_mm).astype(int)
    affine = np.diag([*spec.spacing_mm, 1.0])
    affine[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _points(grid: Grid, spec: HeadSpec) -> Points:
    """Where each voxel lies in an upright adult head."""
    index = np.indices(grid.shape).reshape(3, -1)
    place = grid.affine[:3, :3] @ index + grid.affine[:3, 3:]
    nod, tilt, turn = spec.turn_deg
    turned = Rotation.from_euler("xyz", [nod, tilt, turn], degrees=True)
    return np.asarray(turned.inv().apply(place.T / spec.size).T.reshape(3, *grid.shape))


def _ball(points: Points, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> _Inside:
    """An ellipsoid."""
    away = sum(
        ((axis - middle) / radius) ** 2 for axis, middle, radius in zip(points, centre, radii, strict=True)
    )
    return np.asarray(away <= 1)


def _pair(points: Points, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> _Inside:
    """An ellipsoid on either side."""
    x, y, z = centre
    return np.asarray(_ball(points, (x, y, z), radii) | _ball(points, (-x, y, z), radii))


def _floor(y: Float[np.ndarray, "I J K"], drop: float) -> Float[np.ndarray, "I J K"]:
    """Height of the skull's floor: high below the frontal lobes, low below the temporal ones, lowest behind."""
    front = 1 / (1 + np.exp(-(y - 36) / 3))
    back = 1 / (1 + np.exp((y + 18) / 4))
    return -27 + 25 * front - 24 * back - drop


def _anatomy(points: Points, folds: np.ndarray, spec: HeadSpec) -> tuple[np.ndarray, Mask]:
    """Tissue of every voxel, later lines over earlier ones, and the nose with the front of the eyes."""
    face = points.copy()
    face[0] -= spec.crooked_mm * (points[2] < -25)
    if spec.is_child:
        face[2] = np.where(face[2] < 0, face[2] / _CHILD_FACE, face[2])
        face[1] = np.where(face[1] > 60, 60 + (face[1] - 60) / _CHILD_FACE, face[1])
    tissue = np.full(points.shape[1:], _Tissue.AIR, dtype=np.int64)
    nose = _soft_tissue(tissue, face)
    middle = (0.0, -8.0, 20.0)
    tissue[_ball(points, middle, (78, 98, 84)) & (points[2] > -40)] = _Tissue.FAT
    tissue[_ball(points, middle, (73, 93, 79)) & (points[2] > _floor(points[1], 5))] = _Tissue.BONE
    inside = _ball(points, middle, (66, 86, 72)) & (points[2] > _floor(points[1], 0))
    stem = (points[0] ** 2 + (points[1] + 14) ** 2 < 11**2) & (points[2] < -20)
    tissue[(points[0] ** 2 + (points[1] + 14) ** 2 < 20**2) & (points[2] < -45)] = _Tissue.BONE
    tissue[(points[0] ** 2 + (points[1] + 14) ** 2 < 14**2) & (points[2] < -20)] = _Tissue.CSF
    tissue[inside] = _Tissue.CSF
    cortex = _ball(points, middle, (63, 83, 69)) & (points[2] > _floor(points[1], -3)) & (folds < 1.4)
    tissue[cortex | stem] = _Tissue.GREY
    core = _ball(points, middle, (56, 75, 60)) & (points[2] > _floor(points[1], -9))
    tissue[core & (folds < 0.9)] = _Tissue.WHITE
    tissue[_pair(points, (12, 0, 22), (7, 32, 12))] = _Tissue.CSF
    lesion = _ball(points, _LESION_MM, (_LESION_RADIUS_MM,) * 3)
    tissue[lesion & inside] = _Tissue.LESION
    return tissue, nose


def _soft_tissue(tissue: np.ndarray, face: Points) -> Mask:
    """Face and neck, drawn in place; returns the nose and the front of the eyes."""
    soft = _ball(face, (0, 40, -55), (64, 54, 78)) | _ball(face, (0, 42, -92), (50, 56, 42))
    neck = ((face[0] / 60) ** 2 + ((face[1] + 22) / 60) ** 2 < 1) & (face[2] < -30)
    nose = _ball(face, (0, 98, -42), (15, 24, 24)) | _ball(face, (0, 92, -22), (9, 12, 22))
    tissue[soft | neck | _pair(face, (82, -14, -18), (6, 15, 28))] = _Tissue.FAT
    tissue[
        _ball(face, (0, 38, -58), (56, 48, 70)) | (neck & (face[0] ** 2 + (face[1] + 22) ** 2 < 52**2))
    ] = _Tissue.MUSCLE
    tissue[nose] = _Tissue.MUSCLE
    tissue[_pair(face, (30, 66, -20), (19, 26, 18))] = _Tissue.FAT
    eyes = _pair(face, (31, 80, -19), (12, 12, 12))
    tissue[eyes] = _Tissue.EYE
    tissue[_ball(face, (0, 66, -46), (14, 36, 24))] = _Tissue.MUCOSA
    tissue[_pair(face, (6, 70, -48), (3, 36, 20)) | _pair(face, (29, 58, -50), (14, 16, 15))] = _Tissue.AIR
    tissue[_ball(face, (0, 48, -78), (24, 40, 3))] = _Tissue.AIR
    jaw = _ball(face, (0, 40, -92), (44, 50, 34)) & ~_ball(face, (0, 34, -88), (34, 42, 34))
    tissue[jaw] = _Tissue.BONE
    return np.asarray((nose & (face[1] > 88)) | (eyes & (face[1] > 84)))


def _acquire(tissue: np.ndarray, spec: HeadSpec, rng: np.random.Generator) -> Float[np.ndarray, "I J K"]:
    """Signal of each tissue, a coil that sees one side brighter, partial volume and the noise of a magnitude image."""
    signal = np.asarray(_SIGNAL[spec.weighting])[tissue]
    blurred = ndimage.gaussian_filter(signal, 0.5)
    low = rng.standard_normal((4, 4, 4))
    zoom = [n / 4 for n in tissue.shape]
    field = ndimage.zoom(low, zoom, order=3, mode="nearest", grid_mode=True)
    field *= spec.bias / max(float(np.abs(field).max()), 1e-6)
    scaled = blurred * (1 + field)
    spread = spec.noise * 150.0
    real, imaginary = rng.normal(0.0, spread, (2, *tissue.shape))
    magnitude = np.hypot(scaled + real, imaginary)
    image = magnitude if spec.has_skin else np.where(tissue == _Tissue.AIR, 0.0, magnitude)
    return np.round(image).astype(np.float32)
