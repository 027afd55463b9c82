"""The phantom's two lesion classes: solid (common) and ground glass (rare)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float

from medaug.core.errors import DataError
from medaug.phantom.anatomy import Chest
from medaug.phantom.fields import Field, Frame, inside, smooth_noise

LesionClass = Literal["solid", "ground_glass"]
CLASSES: tuple[LesionClass, ...] = ("solid", "ground_glass")
_DIAMETER_MM: dict[LesionClass, tuple[float, float]] = {"solid": (5.5, 14.0), "ground_glass": (7.5, 14.0)}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """A chest with lesions grown into it.

    Attributes:
        image: (I, J, K) float32 HU.
        shares: (class, I, J, K) share of each voxel inside a lesion of the class, 0..1.
    """

    image: Field
    shares: Float[np.ndarray, "N I J K"]


def grow(chest: Chest, frame: Frame, classes: tuple[LesionClass, ...], rng: np.random.Generator) -> Growth:
    """Grow one lesion of each named class (a class may be named often) at random places of the lungs.

    Raises:
        DataError: If a lesion finds no room.
    """
    image = chest.image.copy()
    shares = np.zeros((len(CLASSES), *frame.shape), np.float32)
    room = chest.lung_depth_mm.copy()
    for name in classes:
        diameter_mm = _draw_diameter(name, rng)
        centre = _site(room, frame, diameter_mm, rng)
        part, near = _surroundings(frame, centre, diameter_mm)
        distance = _outline(near, centre, diameter_mm, rng)
        # a lesion does not leave the lung
        share = inside(distance, 0.8 if name == "solid" else 2.6) * inside(-chest.lung_depth_mm[part], 1.0)
        image[part] = _fill(image[part], share, name, near, rng)
        layer = shares[CLASSES.index(name)]
        layer[part] = np.maximum(layer[part], share)
        room[part] = np.where(distance < 4.0, -1.0, room[part])
    return Growth(image, shares)


def _draw_diameter(name: LesionClass, rng: np.random.Generator) -> float:
    """A diameter in mm; the middle of the range is the most likely."""
    low, high = _DIAMETER_MM[name]
    return float(low + (high - low) * rng.beta(1.4, 1.5))


def _site(
    room: Field, frame: Frame, diameter_mm: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """A voxel deep enough in the lung, away from the first and last slice; in mm."""
    margin_mm = 0.3 * diameter_mm
    reach = float(np.abs(frame.z).max()) - margin_mm
    fits = (room > 0.55 * diameter_mm) & (np.abs(frame.z) < reach)
    if not fits.any():
        fits = (room > 0.25 * diameter_mm) & (np.abs(frame.z) < reach)
    places = np.flatnonzero(fits)
    if places.size == 0:
        raise DataError(
            f"no room for a lesion of {diameter_mm:.0f} mm", hint="use a larger phantom or fewer lesions"
        )
    i, j, k = np.unravel_index(int(rng.choice(places)), frame.shape)
    return (float(frame.x[i, 0, 0]), float(frame.y[0, j, 0]), float(frame.z[0, 0, k]))


def _surroundings(
    frame: Frame, centre: tuple[float, float, float], diameter_mm: float
) -> tuple[tuple[slice, slice, slice], Frame]:
    """The box of voxels that the lesion can reach, and its frame."""
    spans = []
    for axis, middle in zip((frame.x.ravel(), frame.y.ravel(), frame.z.ravel()), centre, strict=True):
        hits = np.flatnonzero(np.abs(axis - middle) <= 1.1 * diameter_mm + 3.0)
        spans.append(slice(int(hits[0]), int(hits[-1]) + 1))
    part = (spans[0], spans[1], spans[2])
    return part, frame.crop(part)


def _outline(
    near: Frame, centre: tuple[float, float, float], diameter_mm: float, rng: np.random.Generator
) -> Field:
    """Signed distance to a turned ellipsoid with a lobulated surface."""
    radius = diameter_mm / 2
    axes = np.exp(rng.normal(0.0, 0.16, 3))
    axes *= radius / np.cbrt(axes.prod())
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    offset = np.stack(np.broadcast_arrays(near.x - centre[0], near.y - centre[1], near.z - centre[2]))
    scaled = np.tensordot((turn / axes[:, None]).astype(np.float32), offset, axes=1)
    ball = (np.sqrt((scaled**2).sum(axis=0)) - 1.0) * radius
    lobes = smooth_noise(near, 0.38 * radius, rng) * rng.uniform(0.10, 0.22) * radius
    return np.asarray(ball + lobes, dtype=np.float32)


def _fill(image: Field, share: Field, name: LesionClass, near: Frame, rng: np.random.Generator) -> Field:
    """Lay the lesion's tissue into the image: solid replaces the lung, ground glass veils it."""
    if name == "solid":
        tissue = rng.normal(40.0, 15.0) + 14 * smooth_noise(near, 1.3, rng)
        return np.asarray(image + (tissue - image) * share, dtype=np.float32)
    veil = rng.normal(285.0, 30.0) * (1 + 0.28 * smooth_noise(near, 1.4, rng))
    # vessels stay visible through ground glass, and nothing becomes denser than soft tissue
    return np.asarray(np.minimum(image + veil * share, np.maximum(image, 60.0)), dtype=np.float32)
