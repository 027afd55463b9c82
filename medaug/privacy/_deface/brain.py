"""Where the brain may be: what is as bright as the core of the head and hangs together with it through wide necks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy import ndimage

from medaug.privacy._deface.frame import Levels, Voxels
from medaug.privacy._deface.outline import Outline, fill_sections, sigmas

_CORE_MM = 28.0
_SKULL_MM = 5.0  # thinner are no scalp and skull together
_LOCAL_MM = 20.0
_DARKEST = 0.6  # of the tissue around, that of the brain
_NECKS_MM: Final = (6.0, 8.0, 10.0, 12.0, 14.0)
_RIM_MM = 2.0
_HIGHEST_BRAIN_MM = 170.0  # from the skin of the vertex to the foramen magnum, head bent
_BELOW_MM = 10.0
_LARGE = 0.85  # of the largest section
_WIDEST_GAP_MM = 27.0
_NARROW_MM = 12.0
_STEM_MM = 20.0  # its front, head bent back, ahead of the middle of the brain
_ELSEWHERE_MM = 1e4  # other sections do not count


def estimate_brains(outline: Outline) -> Iterator[tuple[float, Voxels]]:
    """The brain, rather too large than too small at its rim, for wider and wider necks that are cut; none where nothing looks like one.

    A neck joins the brain to nerves, mucosa and muscles that touch it in thick slices; with each estimate comes half the width of
    the widest neck that was cut.
    """
    spacing = outline.frame.spacing_mm
    bright = outline.smooth > _DARKEST * local_level(outline)
    tissue = outline.body & (outline.depth_mm > _SKULL_MM) & bright
    tissue[:, :, : _lowest_level(outline)] = False
    inside = ndimage.distance_transform_edt(tissue, sampling=spacing)
    deep = outline.depth_mm > _CORE_MM
    for neck_mm in _NECKS_MM:
        core = _core(inside > neck_mm, deep, spacing[2])
        if not core.any():
            return
        away = ndimage.distance_transform_edt(~core, sampling=spacing)
        yield neck_mm, _without_tongues((away <= neck_mm + _RIM_MM) & outline.body, outline)


def is_whole(brain: Voxels, outline: Outline) -> bool:
    """Whether at the levels where it is largest the brain comes as close to the skin on all four sides as a brain does."""
    spacing = outline.frame.spacing_mm
    areas = brain.sum(axis=(0, 1))
    levels = np.flatnonzero(areas >= _LARGE * areas.max())
    (left, right), (back, front) = (
        _gaps(brain[:, :, levels], outline.body[:, :, levels], axis) * spacing[axis] for axis in (0, 1)
    )
    # a nose stands ahead of some of the levels
    widest = max(np.median(left), np.median(right), np.median(back), np.percentile(front, 25))
    return bool(widest <= _WIDEST_GAP_MM)


def _gaps(brain: Voxels, body: Voxels, axis: int) -> np.ndarray:
    """From the body to the brain at the low and the high end of an axis, (2, levels)."""
    inner, outer = _ends(brain, axis), _ends(body, axis)
    return np.stack([inner[0] - outer[0], outer[1] - inner[1]])


def _lowest_level(outline: Outline) -> int:
    """Below it lies the neck, as far below the vertex as no brain reaches; 0 where lengths along the body are guessed."""
    top = int(np.flatnonzero(outline.body.any(axis=(0, 1)))[-1])
    return max(top - round(_HIGHEST_BRAIN_MM / outline.frame.spacing_mm[2]), 0) * outline.spacing_believed


def _ends(mask: Voxels, axis: int) -> np.ndarray:
    """First and last index along an axis, (2, levels)."""
    lines = np.asarray(mask.any(axis=1 - axis))
    first = np.argmax(lines, axis=0)
    last = lines.shape[0] - 1 - np.argmax(lines[::-1], axis=0)
    return np.stack([first, last])


def _core(inner: Voxels, deep: Voxels, height_mm: float) -> Voxels:
    """The part with the most voxels deep in the head, and what deep folds part from it at its level or above."""
    numbers, count = ndimage.label(inner)
    shares = np.bincount(numbers[deep], minlength=count + 1)
    shares[0] = 0
    if not shares.any():
        return np.zeros_like(inner)
    main = int(shares.argmax())
    parts = np.arange(1, count + 1)
    levels = np.array(ndimage.center_of_mass(inner, numbers, parts))[:, 2] * height_mm
    return np.isin(numbers, parts[levels >= levels[main - 1] - _BELOW_MM])


def local_level(outline: Outline) -> Levels:
    """How bright tissue is around each voxel: coils see what is close to them brighter."""
    core = outline.smooth[outline.depth_mm > _CORE_MM]
    level = float(np.median(core)) if core.size else float(np.median(outline.smooth[outline.body]))
    counted = outline.body & (outline.depth_mm > 12.0) & (outline.smooth > level / 2)
    widths = sigmas(_LOCAL_MM, outline.frame)
    total = ndimage.gaussian_filter(np.where(counted, np.minimum(outline.smooth, 2 * level), 0.0), widths)
    share = ndimage.gaussian_filter(counted.astype(np.float32), widths)
    return np.where(share > 0.05, total / np.maximum(share, 1e-3), level).astype(np.float32)


def _without_tongues(brain: Voxels, outline: Outline) -> Voxels:
    """Each axial section without what is narrower than a frontal lobe and ahead of the stem: mucosa, nerves, orbits."""
    apart = (*outline.frame.spacing_mm[:2], _ELSEWHERE_MM)
    filled = fill_sections(brain)
    pads = [(1, 1), (1, 1), (0, 0)]
    inner = ndimage.distance_transform_edt(np.pad(filled, pads), sampling=apart)[1:-1, 1:-1] > _NARROW_MM
    if not inner.any():
        return np.zeros_like(brain)
    wide = np.asarray((ndimage.distance_transform_edt(~inner, sampling=apart) <= _NARROW_MM) & filled)
    middle = np.argwhere(wide)[:, 1].mean() + _STEM_MM / apart[1]
    wide[:, : int(middle)] |= filled[:, : int(middle)]
    return wide
