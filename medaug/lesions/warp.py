"""A bank lesion seen through a random smooth change: flipped, turned, bent and resized, without drawing it yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.lesion import LesionCrop
from medaug.core.volume import Image, Mask
from medaug.lesions.parts import largest_part

_WAVES = 3
BEND = 0.05  # of the diameter: amplitude of each wave of the elastic change


@final
@dataclass(frozen=True, slots=True, eq=False)
class Donor:
    """A lesion to be warped: all of it, or one section (``flat``).

    Attributes:
        image: (C, I, J, K) native units.
        mask: (I, J, K) the lesion.
        centre: Index of its middle.
        spacing_mm: Of the donor.
        flat: Whether it is one section.
    """

    image: Image
    mask: Mask
    centre: Float[np.ndarray, "3"]
    spacing_mm: tuple[float, float, float]
    flat: bool

    @staticmethod
    def of(crop: LesionCrop) -> Donor:
        """A whole lesion."""
        centre = np.argwhere(crop.mask).mean(axis=0)
        return Donor(crop.image, crop.mask, centre, crop.entry.spacing_mm, crop.mask.shape[2] == 1)

    def reach_mm(self) -> Float[np.ndarray, "3"]:
        """Farthest the lesion gets from its centre: in plane (twice, since it will be turned), and along K."""
        away = np.abs(np.argwhere(self.mask) - self.centre) * np.array(self.spacing_mm)
        in_plane = float(np.hypot(away[:, 0], away[:, 1]).max())
        return np.array([in_plane, in_plane, float(away[:, 2].max())])

    def sample_mask(self, points: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, " n"]:
        """The mask between its voxels, 0..1."""
        index = points + self.centre[:, None]
        soft = self.mask.astype(np.float32)
        if self.flat:
            return np.asarray(ndimage.map_coordinates(soft[..., 0], index[:2], order=1))
        return np.asarray(ndimage.map_coordinates(soft, index, order=1))

    def sample_texture(self, points: Float[np.ndarray, "3 n"], shape: tuple[int, int, int]) -> Image:
        """The image between its voxels, native units; cubic in a section, so that its grain survives."""
        index = points + self.centre[:, None]
        rows = [
            ndimage.map_coordinates(channel[..., 0], index[:2], order=3, mode="nearest")
            if self.flat
            else ndimage.map_coordinates(channel, index, order=1, mode="nearest")
            for channel in self.image
        ]
        return np.stack(rows).reshape(len(rows), *shape).astype(np.float32)


def section_of(crop: LesionCrop, rng: np.random.Generator) -> Donor:
    """One slice of a lesion, larger ones more often, as a donor of its own."""
    areas = crop.mask.sum(axis=(0, 1)).astype(np.float64)
    k = int(rng.choice(areas.size, p=areas / areas.sum()))
    part = slice(k, k + 1)
    mask = largest_part(crop.mask[..., part])
    centre = np.argwhere(mask).mean(axis=0)
    return Donor(crop.image[..., part], mask, centre, crop.entry.spacing_mm, flat=True)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Host mm (lesion centre at 0) to donor voxels (lesion centre at 0): a turn, flips, a size and long waves."""

    linear: Float[np.ndarray, "3 3"]
    scale: float
    spacing: Float[np.ndarray, "3"]
    waves: Float[np.ndarray, "w 3"]
    phases: Float[np.ndarray, " w"]
    sway: Float[np.ndarray, "w 3"]

    @staticmethod
    def draw(
        diameter_mm: float,
        bend: float,
        spacing: Float[np.ndarray, "3"],
        rng: np.random.Generator,
        *,
        flat: bool,
    ) -> Warp:
        """A random turn, flips, and a few long waves that bend the outline."""
        angle = rng.uniform(0.0, 2.0 * np.pi)
        linear = np.eye(3)
        linear[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        linear = linear @ np.diag(rng.choice((-1.0, 1.0), 3))
        axes = 2 if flat else 3
        waves, sway = np.zeros((_WAVES, 3)), np.zeros((_WAVES, 3))
        waves[:, :axes] = _directions(rng, axes) * (
            2.0 * np.pi / (diameter_mm * rng.uniform(0.8, 1.8, (_WAVES, 1)))
        )
        sway[:, :axes] = _directions(rng, axes) * (bend * BEND * diameter_mm)
        return Warp(linear, 1.0, spacing, waves, rng.uniform(0.0, 2.0 * np.pi, _WAVES), sway)

    def resized(self, scale: float) -> Warp:
        """The same warp at another size."""
        return Warp(self.linear, scale, self.spacing, self.waves, self.phases, self.sway)

    def donor_points(
        self,
        shape: tuple[int, int, int],
        origin: Float[np.ndarray, "3"],
        spacing_mm: tuple[float, float, float],
    ) -> Float[np.ndarray, "3 n"]:
        """Donor voxels, relative to the lesion's centre, that the voxels of a host patch show.

        Args:
            shape: Of the patch.
            origin: Patch index of the lesion's centre.
            spacing_mm: Of the host.
        """
        i, j, k = (np.arange(n) - o for n, o in zip(shape, origin, strict=True))
        linear = self.linear * np.array(spacing_mm) / self.scale
        points = np.stack([(a * i)[:, None, None] + (b * j)[:, None] + c * k for a, b, c in linear])
        # sin(a + b + c) over a box is the product of three short complex waves, far cheaper than a sine a voxel
        for wave, phase, sway in zip(self.waves @ linear, self.phases, self.sway, strict=True):
            along = [np.exp(1j * rate * axis) for rate, axis in zip(wave, (i, j, k), strict=True)]
            bend = (along[0][:, None, None] * along[1][:, None] * (along[2] * np.exp(1j * phase))).imag
            for axis in np.flatnonzero(sway):
                points[axis] += sway[axis] * bend
        return np.asarray(points.reshape(3, -1) / self.spacing[:, None])


def _directions(rng: np.random.Generator, axes: int) -> Float[np.ndarray, "w axes"]:
    """Random unit vectors."""
    vectors = rng.standard_normal((_WAVES, axes))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
