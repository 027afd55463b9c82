"""Whether an image may show a head, and so a face: told from its voxels, since nothing else in a dataset says it."""

from __future__ import annotations

from typing import Final, Literal, final

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from medaug.core.volume import Unit, Volume
from medaug.lesions.body import Body

Sight = Literal["head CT", "maybe a head", "no head"]
Slice = Bool[np.ndarray, "P Q"]

# a head is 130 to 170 mm wide and 170 to 230 mm deep, nose and ears included; blur and tilt add to it
_SMALLEST_MM, _WIDEST_MM, _DEEPEST_MM = 100.0, 200.0, 260.0
_LONGEST_NECK_MM = 30.0  # so much of narrow body makes a head
_BONE_HU, _BRAIN_HU = 200.0, (-20.0, 100.0)
_SKULL_MM2, _SKULL_SHARE = (
    2500.0,
    0.05,
)  # smallest closed ring of bone that is a skull; share of the slice if unscaled
_BRAIN_SHARE = 0.85
_LUNG_HU, _LUNG_SHARE = -600.0, 0.15
_CUT_SHARE: Final = 0.9  # of the image's edge that the body fills where the image lies inside it


@final
class _Look:
    """The body in one image, slice by slice, with lengths in mm where they are known."""

    def __init__(self, volume: Volume) -> None:
        self.body = Body.of(volume)
        self.mm = tuple(s * f for s, f in zip(volume.grid.spacing_mm, self.body.factor, strict=True))
        self.field_mm = tuple(s * n for s, n in zip(volume.grid.spacing_mm, volume.grid.shape, strict=True))
        self.is_scaled = volume.spacing_known
        self.slices = [k for k in range(self.body.inside.shape[2]) if self.body.inside[..., k].any()]

    def extent_mm(self, k: int) -> tuple[float, float]:
        """From left to right and from back to front of the body in a slice."""
        inside = self.body.inside[..., k]
        width, depth = (
            float(np.ptp(np.flatnonzero(inside.any(axis=1 - axis))) + 1) * self.mm[axis] for axis in (0, 1)
        )
        return width, depth

    def is_cut(self, k: int) -> bool:
        """Whether the image lies inside the body, so that no skin is seen."""
        inside = self.body.inside[..., k]
        edge = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
        return bool(edge.mean() > _CUT_SHARE)


def look_for_head(volume: Volume) -> Sight:
    """Whether an image shows a head, may show one, or shows none.

    CT tells by a closed ring of bone around brain, or by a narrow body without lungs; all others by size alone: only a
    field too small for a face, an image that lies inside the body, or a body wider than a head throughout is none.
    """
    look = _Look(volume)
    if not look.slices or all(look.is_cut(k) for k in look.slices):
        return "no head"
    if look.is_scaled and max(look.field_mm[:2]) < _SMALLEST_MM:
        return "no head"
    if volume.unit is Unit.HU:
        return _look_at_ct(look)
    if look.is_scaled and all(look.extent_mm(k)[0] > _DEEPEST_MM for k in look.slices):
        return "no head"
    return "maybe a head"


def _look_at_ct(look: _Look) -> Sight:
    hu = look.body.image[0]
    if any(_is_skull(hu[..., k], look) for k in look.slices):
        return "head CT"
    narrow = [k for k in look.slices if not look.is_cut(k) and _is_narrow(look, k)]
    needed = 1 if not look.is_scaled else min(len(look.slices), _LONGEST_NECK_MM / look.mm[2])
    return "maybe a head" if narrow and len(narrow) >= needed else "no head"


def _is_skull(hu: Float[np.ndarray, "P Q"], look: _Look) -> bool:
    bone = ndimage.binary_closing(np.pad(hu > _BONE_HU, 2), iterations=1)[2:-2, 2:-2]
    parts, count = ndimage.label(ndimage.binary_fill_holes(bone) & ~bone)
    if not count:
        return False
    held: Slice = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    area = float(held.sum()) * (look.mm[0] * look.mm[1] if look.is_scaled else 1.0)
    if area < (_SKULL_MM2 if look.is_scaled else _SKULL_SHARE * held.size):
        return False
    low, high = _BRAIN_HU
    return bool(((hu[held] > low) & (hu[held] < high)).mean() > _BRAIN_SHARE)


def _is_narrow(look: _Look, k: int) -> bool:
    inside = look.body.inside[..., k]
    lungs = float((look.body.image[0][..., k][inside] < _LUNG_HU).mean())
    if lungs > _LUNG_SHARE:
        return False
    width, depth = look.extent_mm(k)
    return not look.is_scaled or (_SMALLEST_MM < width < _WIDEST_MM and _SMALLEST_MM < depth < _DEEPEST_MM)
