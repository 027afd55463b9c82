"""One made-up CT scan: a chest with lesions, sampled with partial volume, bias and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from medaug.core.geometry import Grid
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.phantom.anatomy import draw_chest
from medaug.phantom.fields import Field, Frame, smooth_noise
from medaug.phantom.growth import CLASSES, LesionClass, grow

_OVERSAMPLING = 2  # along z, where voxels are longest
_HU_RANGE = (-1024, 3071)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A made-up CT scan and its lesions.

    Attributes:
        volume: (1, I, J, K) whole HU as float32, RAS+.
        label_map: Ids 1, 2 = ``CLASSES``; a voxel belongs to a lesion that fills at least half of it.
    """

    volume: Volume
    label_map: LabelMap


def draw_scan(shape: tuple[int, int, int], lesions: tuple[LesionClass, ...], seed: SeedTree) -> Scan:
    """Draw a scan; it depends on its arguments alone.

    Args:
        shape: Voxels along I, J, K.
        lesions: The class of each lesion, e.g. ``("solid", "solid")``; empty for a healthy chest.
        seed: Where all its randomness comes from.
    """
    rng = seed.child("scanner").rng()
    in_plane_mm = round(float(rng.uniform(1.0, 1.25)), 4)
    spacing_mm = (in_plane_mm, in_plane_mm, float(rng.choice((2.5, 3.0))))
    fine = Frame.centred(
        (shape[0], shape[1], shape[2] * _OVERSAMPLING), (*spacing_mm[:2], spacing_mm[2] / _OVERSAMPLING)
    )
    chest = draw_chest(fine, seed.child("anatomy").rng())
    growth = grow(chest, fine, lesions, seed.child("lesions").rng())
    image = _acquire(_thicken(growth.image), _thicken(chest.body), Frame.centred(shape, spacing_mm), rng)
    grid = _place(shape, spacing_mm, rng)
    labels = _label(np.stack([_thicken(share) for share in growth.shares]))
    return Scan(Volume(image[None], grid, Unit.HU, ("CT",)), LabelMap(labels, grid, CLASSES))


def _thicken(field: Field) -> Float[np.ndarray, "I J slices"]:
    """Average fine slices into thick ones: the partial volume of a real scanner."""
    parts = field.reshape(*field.shape[:2], -1, _OVERSAMPLING)
    return np.asarray(parts.mean(axis=-1), dtype=np.float32)


def _acquire(image: Field, body: Field, frame: Frame, rng: np.random.Generator) -> Field:
    """What a scanner adds: point spread, a slow bias inside the body, correlated noise, whole HU."""
    blurred = ndimage.gaussian_filter(image, (0.45, 0.45, 0.0))
    bias = 9.0 * smooth_noise(frame, 0.5 * float(frame.x.max()), rng) * body
    noise = ndimage.gaussian_filter(rng.standard_normal(frame.shape, dtype=np.float32), (0.55, 0.55, 0.0))
    noise *= rng.uniform(14.0, 28.0) / float(noise.std())
    noisy = np.rint(blurred + bias + noise * (0.6 + 0.4 * body))
    return np.asarray(np.clip(noisy, *_HU_RANGE), dtype=np.float32)


def _place(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> Grid:
    """Put the field of view somewhere in the scanner, as real ones are; whole tenths of mm."""
    affine = np.diag([*spacing_mm, 1.0])
    middle = np.round(rng.uniform(-40.0, 40.0, 3), 1)
    affine[:3, 3] = np.round(middle - np.diag(affine)[:3] * (np.array(shape) - 1) / 2, 4)
    return Grid(shape, affine)


def _label(shares: Float[np.ndarray, "classes I J K"]) -> UInt8[np.ndarray, "I J K"]:
    """The class that fills at least half of a voxel, 0 where none does."""
    winner = shares.argmax(axis=0) + 1
    return np.where(shares.max(axis=0) >= 0.5, winner, 0).astype(np.uint8)
