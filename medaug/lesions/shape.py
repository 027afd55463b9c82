"""New lesions out of old ones: a bank lesion changed smoothly and to the size that is wanted, with its texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from medaug.core.geometry import Box
from medaug.core.lesion import LesionCrop
from medaug.core.volume import Image, Mask
from medaug.lesions.diameter import (
    ball_diameter_mm,
    is_met,
    mask_diameter_mm,
    smallest_mm,
    too_small,
    too_thick,
    wanted_voxels,
)
from medaug.lesions.parts import largest_part
from medaug.lesions.warp import BEND, Donor, Warp, section_of

_LEVELS = (0.15, 0.85)  # soft-mask values at which the outline may be drawn to meet a diameter
_CORRECTIONS = 6
_MOST_STRETCH = 1.5
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


@final
@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A new shape without its texture, which takes longer to draw and is not needed before a place is found.

    Attributes:
        mask: As in :class:`DrawnShape`.
        diameter_mm: What the mask measures.
        texture: Draws the texture, once the shape is wanted.
    """

    mask: Mask
    diameter_mm: float
    texture: Callable[[], Image]

    def fill(self) -> DrawnShape:
        """The shape with its texture."""
        return DrawnShape(self.mask, self.texture(), self.diameter_mm)


def draw_outline(crop: LesionCrop, target: ShapeTarget, rng: np.random.Generator) -> Outline:
    """Draw a new shape from a bank lesion: random flips, in-plane turn, elastic change and size.

    A lesion that reaches beyond the slices of the host is cut off there.

    Args:
        crop: The donor.
        target: Spacing and size wanted; volume (area in one slice) met within 10%, or within a voxel of tiny lesions.
        rng: Randomness.

    Raises:
        DataError: If the wanted diameter is less than about two voxels of the host, or more than its slices take.
    """
    donor = section_of(crop, rng) if target.slices == 1 else Donor.of(crop)
    spacing = drawn_spacing(crop, target)
    own = mask_diameter_mm(donor.mask, donor.spacing_mm)
    wanted = wanted_diameter_mm(own, spacing, target, rng, flat=donor.flat)
    warp = Warp.draw(own, target.bend, np.array(donor.spacing_mm), rng, flat=donor.flat)
    room = _Room(spacing, 1 if donor.flat else target.slices)
    mask, warp, middle = _fit_mask(donor, warp, wanted, room, exact=target.diameter_mm is not None)
    patch, offset = in_patch(mask, target, flat=donor.flat)
    origin = middle - np.array(offset)

    def texture() -> Image:
        points = warp.donor_points(_shape3(patch), origin, spacing)
        return crop.scale.normalise(donor.sample_texture(points, _shape3(patch)))

    return Outline(patch, mask_diameter_mm(patch, spacing), texture)


def drawn_spacing(crop: LesionCrop, target: ShapeTarget) -> tuple[float, float, float]:
    """The host's spacing; the donor's where one of both is nominal, so that sizes are kept in voxels."""
    known = target.spacing_known and crop.entry.spacing == "known"
    return target.spacing_mm if known else crop.entry.spacing_mm


def wanted_diameter_mm(
    own_mm: float,
    spacing: tuple[float, float, float],
    target: ShapeTarget,
    rng: np.random.Generator,
    *,
    flat: bool,
) -> float:
    """The target's diameter; where it leaves that open, the donor's but for up to a fifth, and at least three voxels."""
    if target.diameter_mm is not None:
        return target.diameter_mm
    return max(own_mm * float(rng.uniform(0.8, 1.2)), smallest_mm(spacing, flat=flat))


def in_patch(
    mask: Mask, target: ShapeTarget, *, flat: bool
) -> tuple[Bool[np.ndarray, "P Q R"], tuple[int, int, int]]:
    """A drawn mask in the middle of a patch with context; and the patch's start, seen from the mask."""
    extent = Box.around(mask).shape
    in_plane = max(target.patch_voxels, 2 * max(extent[:2]))
    slices = 1 if flat else max(extent[2], min(2 * extent[2], target.slices))
    return _centred(mask, (in_plane, in_plane, slices))


def draw_shape(crop: LesionCrop, target: ShapeTarget, rng: np.random.Generator) -> DrawnShape:
    """A new shape with its texture; see :func:`draw_outline`."""
    return draw_outline(crop, target, rng).fill()


@final
@dataclass(frozen=True, slots=True)
class _Room:
    """The host's voxels, and how many slices of them there are."""

    spacing: tuple[float, float, float]
    slices: int


def _fit_mask(
    donor: Donor, warp: Warp, wanted_mm: float, room: _Room, *, exact: bool
) -> tuple[Mask, Warp, Float[np.ndarray, "3"]]:
    """Resize until the mask measures what is wanted; returns mask, warp, and the index of its middle.

    A size that nobody asked for (not ``exact``) is that of what the host's slices show of the lesion.
    """
    start = wanted_mm / mask_diameter_mm(donor.mask, donor.spacing_mm)
    scale = start
    if not exact:
        soft, _ = _warped(donor, warp.resized(scale), room)
        if soft.shape[2] == room.slices > 1:
            seen = max(int((soft >= 0.5).sum()), 3)
            wanted_mm = min(wanted_mm, ball_diameter_mm(seen * float(np.prod(room.spacing))))
    wanted = wanted_voxels(wanted_mm, room.spacing, flat=donor.flat)
    for _ in range(_CORRECTIONS):
        resized = warp.resized(scale)
        soft, middle = _warped(donor, resized, room)
        mask = _levelled(soft, wanted)
        found = int(mask.sum())
        if is_met(found, wanted):
            return mask, resized, middle
        ratio = (wanted / max(found, 1)) ** (1 / 2 if donor.flat else 1 / 3)
        scale = float(min(scale * np.clip(ratio, 0.8, 1.5), _MOST_STRETCH * start))
    thin = not donor.flat and room.slices * room.spacing[2] < wanted_mm
    raise too_thick(wanted_mm, room.slices) if thin else too_small(wanted_mm, room.spacing)


def _warped(
    donor: Donor, warp: Warp, room: _Room
) -> tuple[Float[np.ndarray, "I J K"], Float[np.ndarray, "3"]]:
    """The warped mask, 0..1, within the host's slices; and the index of the donor's centre."""
    own = mask_diameter_mm(donor.mask, donor.spacing_mm)
    reach = (donor.reach_mm() + 3.0 * BEND * own + np.array(donor.spacing_mm)) * warp.scale
    half = np.ceil(reach / np.array(room.spacing)).astype(int) + 1
    shape = (int(2 * half[0] + 1), int(2 * half[1] + 1), min(int(2 * half[2] + 1), room.slices))
    middle = (np.array(shape) - 1) / 2
    points = warp.donor_points(shape, middle, room.spacing)
    return donor.sample_mask(points).reshape(shape), middle


def _levelled(soft: Float[np.ndarray, "I J K"], wanted: float) -> Mask:
    """The outline drawn where the size is met best; its largest part."""
    count = int(np.clip(round(wanted), 1, soft.size))
    level = float(np.partition(soft.ravel(), soft.size - count)[soft.size - count])
    return largest_part(soft >= np.clip(level, *_LEVELS))


def _centred(
    mask: Mask, shape: tuple[int, int, int]
) -> tuple[Bool[np.ndarray, "P Q R"], tuple[int, int, int]]:
    """The mask in a patch of a shape, its bounding box in the middle; and the patch's start, seen from the mask."""
    tight = Box.around(mask)
    i, j, k = (s + (e - s) // 2 for s, e in zip(tight.start, tight.stop, strict=True))
    box = Box.centred((i, j, k), shape)
    patch = np.zeros(shape, dtype=bool)
    patch[tight.index_in(box)] = mask[tight.slices]
    return patch, box.start


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
