"""Checks of a label map, by itself and against its image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from medaug.core.findings import Code, Finding, finding
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.core.wording import counted

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
_SPECK_VOXELS = 2
_LEAST_MM3 = 3.0
# lung is about -850; smoothed air around the body stays below this
_AIR_HU, _DARK_SHARE = -930.0, 0.03
_GRAIN_VOXELS, _LEAST_AIR_SHARE = 1.0, 0.02
_OUTSIDE_SHARE, _GONE_SHARE = 0.5, 0.5
# the ends of the axes of a grid in RAS+ order
_SIDES = (("left", "right"), ("back", "front"), ("lowest slice", "highest slice"))


@final
@dataclass(frozen=True, slots=True, eq=False)
class ClassLesions:
    """The lesions of one class in one case.

    Attributes:
        name: The class.
        box: Where they are in the image.
        parts: In the box, the number of the lesion (26-connected component) of each voxel; 0 outside.
        sizes: Voxels of lesion 1, 2, ...
    """

    name: str
    box: tuple[slice, slice, slice]
    parts: np.ndarray
    sizes: np.ndarray


def ids_present(labels: np.ndarray) -> tuple[int, ...]:
    """The label ids that occur, sorted; ids are whole numbers from 0."""
    return tuple(int(number) for number in np.flatnonzero(np.bincount(labels.reshape(-1))))


def lesions_by_class(label_map: LabelMap) -> tuple[ClassLesions, ...]:
    """The lesions of every class that is present."""
    found = []
    boxes = ndimage.find_objects(label_map.labels, max_label=len(label_map.class_names))
    for number, (name, box) in enumerate(zip(label_map.class_names, boxes, strict=True), start=1):
        if box is not None:
            parts, _ = ndimage.label(label_map.labels[box] == number, structure=_NEIGHBOURS_26)
            found.append(ClassLesions(name, box, parts, np.bincount(parts.ravel())[1:]))
    return tuple(found)


def check_tiny_lesion(lesions: ClassLesions, voxel_mm3: float | None, case_id: str) -> Finding | None:
    """``tiny-lesion``: all of the class is below 3 voxels, or below 3 mm3 where the spacing is known."""
    voxels = int(lesions.sizes.sum())
    mm3 = None if voxel_mm3 is None else voxels * voxel_mm3
    if voxels > _SPECK_VOXELS and (mm3 is None or mm3 >= _LEAST_MM3):
        return None
    size = counted(voxels, "voxel") + ("" if mm3 is None else f", {mm3:.2g} mm3")
    message = f"all of {lesions.name} is {size}; check whether it is a lesion"
    return finding(Code.TINY_LESION, "flagged", message, case_id)


def check_islands(lesions: ClassLesions, case_id: str) -> Finding | None:
    """``tiny-islands``: specks of one or two voxels beside larger lesions of the class."""
    specks = int(np.count_nonzero(lesions.sizes <= _SPECK_VOXELS))
    if not specks or specks == lesions.sizes.size:
        return None
    message = f"{specks} of {lesions.sizes.size} parts of {lesions.name} are specks of {_SPECK_VOXELS} voxels or fewer"
    return finding(Code.TINY_ISLANDS, "flagged", message + "; erase slips of the brush", case_id)


def check_holes(lesions: ClassLesions, labels: np.ndarray, case_id: str) -> Finding | None:
    """``holes``: voxels of no class that the lesions of a class enclose; in plane where the image is one slice."""
    drawn = lesions.parts > 0
    if labels.shape[2] == 1:
        filled = ndimage.binary_fill_holes(drawn[..., 0])[..., None]
    else:
        filled = ndimage.binary_fill_holes(drawn)
    holes = int(np.count_nonzero(filled & (labels[lesions.box] == 0)))
    if not holes:
        return None
    message = f"lesions of {lesions.name} enclose {counted(holes, 'voxel')} of no class; fill them if they are slips"
    return finding(Code.HOLES, "flagged", message, case_id)


def check_border(lesions: ClassLesions, shape: tuple[int, int, int], case_id: str) -> Finding | None:
    """``lesion-at-border``: a lesion reaches the first or last voxel of an axis, of those with two or more."""
    touched = [
        side
        for span, size, sides in zip(lesions.box, shape, _SIDES, strict=True)
        for side, at in ((sides[0], span.start == 0), (sides[1], span.stop == size))
        if at and size > 1
    ]
    if not touched:
        return None
    message = f"{lesions.name} touches the border of the image ({', '.join(touched)}) and may be cut off"
    return finding(Code.LESION_AT_BORDER, "flagged", message, case_id)


def check_outside_body(
    lesions: ClassLesions, outside: Bool[np.ndarray, "I J K"], case_id: str
) -> Finding | None:
    """``label-outside-body``: lesions of which more than half lie in the air around the body."""
    in_air = np.bincount(lesions.parts[outside[lesions.box]], minlength=lesions.sizes.size + 1)[1:]
    lost = int(np.count_nonzero(in_air > _OUTSIDE_SHARE * lesions.sizes))
    if not lost:
        return None
    gone = in_air.sum() > _GONE_SHARE * lesions.sizes.sum()
    message = (
        f"{lost} of {lesions.sizes.size} lesions of {lesions.name} lie in the air around the body; "
        "check that image and label belong together"
    )
    return finding(Code.LABEL_OUTSIDE_BODY, "refused" if gone else "flagged", message, case_id)


def air_around(volume: Volume, slices: np.ndarray) -> Bool[np.ndarray, "I J K"]:
    """Air around the body in these slices: dark in every channel, joined to the border of the slice, and much of it.

    In CT dark is below -930 HU once the grain is smoothed away, so lung does not count even where a crop cuts through
    it; elsewhere it is the lowest hundredths of the range between the 0.1st and 99.9th percentile.
    """
    outside = np.zeros(volume.grid.shape, dtype=bool)
    limits = [_air_limit(channel, volume.unit) for channel in volume.image]
    for k in np.flatnonzero(slices):
        dark = np.ones(volume.grid.shape[:2], dtype=bool)
        for limit, channel in zip(limits, volume.image, strict=True):
            dark &= ndimage.gaussian_filter(channel[..., k], _GRAIN_VOXELS) < limit
        outside[..., k] = _joined_to_border(dark)
    return outside


def _air_limit(channel: np.ndarray, unit: Unit) -> float:
    if unit is Unit.HU:
        return _AIR_HU
    stride = -(-channel.size // (1 << 20))
    low, high = np.percentile(channel.reshape(-1)[::stride], (0.1, 99.9))
    return float(low + _DARK_SHARE * (high - low))


def _joined_to_border(dark: Bool[np.ndarray, "I J"]) -> Bool[np.ndarray, "I J"]:
    parts, count = ndimage.label(dark)
    if not count:
        return dark
    edge = set(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]).tolist()) - {0}
    sizes = np.bincount(parts.ravel())
    kept = [number for number in edge if sizes[number] > _LEAST_AIR_SHARE * dark.size]
    return np.isin(parts, kept)


def check_labels(volume: Volume, label_map: LabelMap, case_id: str) -> Iterator[Finding | None]:
    """Every check of a label map that holds something."""
    lesions = lesions_by_class(label_map)
    outside = air_around(volume, np.asarray(label_map.labels.any(axis=(0, 1))))
    voxel_mm3 = volume.grid.voxel_mm3 if volume.spacing_known and min(volume.grid.shape) > 1 else None
    for one in lesions:
        yield check_tiny_lesion(one, voxel_mm3, case_id)
        yield check_islands(one, case_id)
        yield check_holes(one, label_map.labels, case_id)
        yield check_border(one, volume.grid.shape, case_id)
        yield check_outside_body(one, outside, case_id)
