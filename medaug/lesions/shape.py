"""New lesions out of old ones: a bank lesion flipped, turned, bent and resized, with its texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from medaug.core.errors import DataError
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale
from medaug.core.lesion import LesionCrop
from medaug.core.volume import Image, Mask

_CONNECTED = np.ones((3, 3, 3), dtype=bool)
_WAVES = 3
_BEND = 0.05  # of the diameter: amplitude of each wave of the elastic change
_LEVELS = (0.15, 0.85)  # soft-mask values at which the outline may be drawn to meet a diameter
_TOLERANCE = 0.1
_CORRECTIONS = 4
_ANGLES = np.linspace(-np.pi, np.pi, 48, endpoint=False)


@final
@dataclass(frozen=True, slots=True)
class ShapeTarget:
    """What a shape is drawn for.

    Attributes:
        spacing_mm: Of the host.
        spacing_known: False where the host's spacing is nominal; the shape then keeps its size in voxels.
        slices: Slices of the host; 1 makes a lesion of one slice, a section of the donor.
        diameter_mm: Wanted diameter (of the ball of equal volume; of the disc of equal area where ``slices`` is 1);
            None keeps the donor's size but for up to a fifth.
        patch_voxels: Smallest in-plane size of the patch.
        bend: Strength of the elastic change, 1 is mild, 0 none.
    """

    spacing_mm: tuple[float, float, float]
    spacing_known: bool
    slices: int
    diameter_mm: float | None = None
    patch_voxels: int = 48
    bend: float = 1.0


@final
@dataclass(frozen=True, slots=True, eq=False)
class DrawnShape:
    """A new shape with the donor's texture, on the host's spacing.

    Attributes:
        mask: (I, J, K) one connected lesion around the middle voxel (``shape // 2``).
        texture: (C, I, J, K) the donor's image under the same warp, normalised units.
        diameter_mm: What the mask measures, as in :class:`ShapeTarget`.
    """

    mask: Mask
    texture: Image
    diameter_mm: float


def ball_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the ball of that volume."""
    return float(np.cbrt(6.0 * volume_mm3 / np.pi))


def mask_diameter_mm(mask: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Diameter of the ball of the mask's volume; of the disc of its area where the patch has one slice."""
    in_plane = int(mask.sum()) * spacing_mm[0] * spacing_mm[1]
    if mask.shape[2] == 1:
        return float(np.sqrt(4.0 * in_plane / np.pi))
    return ball_diameter_mm(in_plane * spacing_mm[2])


@final
@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A new shape without its texture, which takes longer to draw and is not needed before a place is found.

    Attributes:
        mask: As in :class:`DrawnShape`.
        diameter_mm: What the mask measures.
    """

    mask: Mask
    diameter_mm: float
    _donor: _Donor
    _warp: _Warp
    _origin: Float[np.ndarray, "3"]
    _spacing_mm: tuple[float, float, float]
    _scale: CaseScale

    def fill(self) -> DrawnShape:
        """The shape with the donor's texture under the same warp."""
        points = self._warp.donor_points(_shape3(self.mask), self._origin, self._spacing_mm)
        texture = self._donor.sample_texture(points, _shape3(self.mask))
        return DrawnShape(self.mask, self._scale.normalise(texture), self.diameter_mm)


def draw_outline(crop: LesionCrop, target: ShapeTarget, rng: np.random.Generator) -> Outline:
    """Draw a new shape from a bank lesion: random flips, in-plane turn, elastic change and size.

    Args:
        crop: The donor.
        target: Spacing and size wanted; met within 10%.
        rng: Randomness.

    Raises:
        DataError: If the wanted diameter is less than about two voxels of the host.
    """
    donor = _section(crop, rng) if target.slices == 1 else _Donor.of(crop)
    known = target.spacing_known and crop.entry.spacing == "known"
    spacing = target.spacing_mm if known else crop.entry.spacing_mm
    own = mask_diameter_mm(donor.mask, donor.spacing_mm)
    wanted = target.diameter_mm
    if wanted is None:
        wanted = max(own * float(rng.uniform(0.8, 1.2)), _smallest_mm(spacing, flat=donor.flat))
    warp = _Warp.draw(own, target.bend, np.array(donor.spacing_mm), rng, flat=donor.flat)
    mask, warp, middle = _fit_mask(donor, warp, wanted, spacing)
    extent = Box.around(mask).shape
    in_plane = max(target.patch_voxels, 2 * max(extent[:2]))
    slices = 1 if donor.flat else max(extent[2], min(2 * extent[2], target.slices))
    patch, offset = _centred(mask, (in_plane, in_plane, slices))
    return Outline(
        patch, mask_diameter_mm(patch, spacing), donor, warp, middle - np.array(offset), spacing, crop.scale
    )


def draw_shape(crop: LesionCrop, target: ShapeTarget, rng: np.random.Generator) -> DrawnShape:
    """A new shape with its texture; see :func:`draw_outline`."""
    return draw_outline(crop, target, rng).fill()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Donor:
    """A lesion to be warped: all of it, or one section (``flat``)."""

    image: Image
    mask: Mask
    centre: Float[np.ndarray, "3"]
    spacing_mm: tuple[float, float, float]
    flat: bool

    @staticmethod
    def of(crop: LesionCrop) -> _Donor:
        centre = np.argwhere(crop.mask).mean(axis=0)
        return _Donor(crop.image, crop.mask, centre, crop.entry.spacing_mm, crop.mask.shape[2] == 1)

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


def _section(crop: LesionCrop, rng: np.random.Generator) -> _Donor:
    """One slice of a lesion, larger ones more often, as a donor of its own."""
    areas = crop.mask.sum(axis=(0, 1)).astype(np.float64)
    k = int(rng.choice(areas.size, p=areas / areas.sum()))
    part = slice(k, k + 1)
    mask = crop.mask[..., part]
    labelled, count = ndimage.label(mask, _CONNECTED)
    if count > 1:
        mask = labelled == 1 + int(np.argmax(np.bincount(labelled.ravel())[1:]))
    centre = np.argwhere(mask).mean(axis=0)
    return _Donor(crop.image[..., part], mask, centre, crop.entry.spacing_mm, flat=True)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Warp:
    """Host mm (lesion centre at 0) to donor voxels (lesion centre at 0)."""

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
    ) -> _Warp:
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
        sway[:, :axes] = _directions(rng, axes) * (bend * _BEND * diameter_mm)
        return _Warp(linear, 1.0, spacing, waves, rng.uniform(0.0, 2.0 * np.pi, _WAVES), sway)

    def resized(self, scale: float) -> _Warp:
        """The same warp at another size."""
        return _Warp(self.linear, scale, self.spacing, self.waves, self.phases, self.sway)

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


def _fit_mask(
    donor: _Donor, warp: _Warp, wanted_mm: float, spacing: tuple[float, float, float]
) -> tuple[Mask, _Warp, Float[np.ndarray, "3"]]:
    """Resize until the mask measures what is wanted; returns mask, warp, and the index of its middle."""
    scale = wanted_mm / mask_diameter_mm(donor.mask, donor.spacing_mm)
    for _ in range(_CORRECTIONS):
        resized = warp.resized(scale)
        mask, middle = _warped_mask(donor, resized, wanted_mm, spacing)
        found = mask_diameter_mm(mask, spacing)
        if mask.any() and abs(found / wanted_mm - 1.0) <= _TOLERANCE / 2:
            break
        scale *= float(np.clip(wanted_mm / max(found, 1e-6), 0.8, 1.5))
    if not mask.any() or abs(found / wanted_mm - 1.0) > _TOLERANCE:
        raise DataError(
            f"a lesion of {wanted_mm:.1f} mm cannot be drawn on voxels of {spacing[0]:.1f} mm",
            hint="ask for a larger diameter",
        )
    return mask, resized, middle


def _smallest_mm(spacing: tuple[float, float, float], *, flat: bool) -> float:
    """Diameter of a lesion of three voxels, the smallest that is drawn unasked."""
    area = 3.0 * spacing[0] * spacing[1]
    return float(np.sqrt(4.0 * area / np.pi)) if flat else ball_diameter_mm(area * spacing[2])


def _warped_mask(
    donor: _Donor, warp: _Warp, wanted_mm: float, spacing: tuple[float, float, float]
) -> tuple[Mask, Float[np.ndarray, "3"]]:
    """The warped mask, its outline drawn where the size is met best, and the index of the donor's centre."""
    own = mask_diameter_mm(donor.mask, donor.spacing_mm)
    reach = (donor.reach_mm() + 3.0 * _BEND * own + np.array(donor.spacing_mm)) * warp.scale
    half = np.ceil(reach / np.array(spacing)).astype(int) + 1
    if donor.flat:
        half[2] = 0
    shape = (int(2 * half[0] + 1), int(2 * half[1] + 1), int(2 * half[2] + 1))
    points = warp.donor_points(shape, half.astype(float), spacing)
    soft = donor.sample_mask(points).reshape(shape)
    voxel = spacing[0] * spacing[1] * (1.0 if donor.flat else spacing[2])
    size = np.pi / 4.0 * wanted_mm**2 if donor.flat else np.pi / 6.0 * wanted_mm**3
    count = int(np.clip(round(size / voxel), 1, soft.size))
    level = float(np.partition(soft.ravel(), soft.size - count)[soft.size - count])
    mask = soft >= np.clip(level, *_LEVELS)
    labelled, parts = ndimage.label(mask, _CONNECTED)
    if parts > 1:
        mask = labelled == 1 + int(np.argmax(np.bincount(labelled.ravel())[1:]))
    return mask, half.astype(float)


def _centred(
    mask: Mask, shape: tuple[int, int, int]
) -> tuple[Bool[np.ndarray, "P Q R"], tuple[int, int, int]]:
    """The mask in a patch of a shape, its bounding box in the middle; and the patch's start, seen from the mask."""
    box = Box.around(mask)
    start = [s + (e - s) // 2 - n // 2 for s, e, n in zip(box.start, box.stop, shape, strict=True)]
    patch = np.zeros(shape, dtype=bool)
    inner = tuple(slice(s - o, e - o) for s, e, o in zip(box.start, box.stop, start, strict=True))
    patch[inner] = mask[box.slices]
    return patch, (start[0], start[1], start[2])


def fit_texture(drawn: DrawnShape, mask: Mask) -> Image:
    """The texture of a drawn lesion bent onto another mask, outline onto outline, slice by slice.

    Inside, distances from the lesion's centre are stretched to the new outline; outside, distances from the
    outline are kept, so that the new lesion has the donor's edge and surroundings.

    Args:
        drawn: A lesion of about the mask's size.
        mask: (I, J, K) the outline it is to fill.

    Returns:
        (C, I, J, K) normalised units, on the mask's patch.
    """
    middle = np.array(drawn.mask.shape) // 2
    box = Box.centred((int(middle[0]), int(middle[1]), int(middle[2])), _shape3(mask))
    texture, covered = box.cut(drawn.texture), box.cut(drawn.mask)
    filled = np.flatnonzero(covered.any(axis=(0, 1)))
    fitted = texture.copy()
    for k in np.flatnonzero(mask.any(axis=(0, 1))):
        like = int(filled[np.argmin(np.abs(filled - k))])
        fitted[..., k] = _fit_slice(texture[..., like], covered[..., like], mask[..., k])
    return np.asarray(fitted)


def _shape3(mask: Mask) -> tuple[int, int, int]:
    return (int(mask.shape[0]), int(mask.shape[1]), int(mask.shape[2]))


def _fit_slice(
    texture: Float[np.ndarray, "C I J"], covered: Bool[np.ndarray, "I J"], mask: Bool[np.ndarray, "I J"]
) -> Float[np.ndarray, "C I J"]:
    """Radial warp that takes the outline of ``covered`` to that of ``mask``."""
    from_centre, to_centre = np.argwhere(covered).mean(axis=0), np.argwhere(mask).mean(axis=0)
    i, j = np.indices(mask.shape)
    i, j = i - to_centre[0], j - to_centre[1]
    radius, angle = np.hypot(i, j), np.arctan2(j, i)
    outer = np.interp(angle, _ANGLES, _outline(mask, to_centre), period=2.0 * np.pi)
    inner = np.interp(angle, _ANGLES, _outline(covered, from_centre), period=2.0 * np.pi)
    stretched = np.where(radius <= outer, radius * inner / outer, inner + radius - outer)
    points = [from_centre[0] + stretched * np.cos(angle), from_centre[1] + stretched * np.sin(angle)]
    rows = [ndimage.map_coordinates(channel, points, order=3, mode="nearest") for channel in texture]
    return np.stack(rows).astype(np.float32)


def _outline(mask: Bool[np.ndarray, "I J"], centre: Float[np.ndarray, "2"]) -> Float[np.ndarray, " a"]:
    """Farthest voxel of the mask in each direction from the centre, at least half a voxel."""
    offsets = np.argwhere(mask) - centre
    radius, angle = np.hypot(offsets[:, 0], offsets[:, 1]) + 0.5, np.arctan2(offsets[:, 1], offsets[:, 0])
    # each voxel is as wide as it looks from the centre, so that near ones leave no gaps
    away = np.abs((angle[:, None] - _ANGLES + np.pi) % (2.0 * np.pi) - np.pi)
    seen = np.where(away <= np.arctan2(0.7, radius[:, None]), radius[:, None], 0.5)
    return np.asarray(ndimage.gaussian_filter1d(seen.max(axis=0), 1.0, mode="wrap"))
