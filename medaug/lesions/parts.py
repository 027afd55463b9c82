"""The single lesions of a label map: its 26-connected components, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import ndimage

from medaug.core.geometry import NEIGHBOURS_26, Box, Grid, Slices
from medaug.core.volume import LabelMap, Mask
from medaug.lesions.diameter import mask_diameter_mm


@final
@dataclass(frozen=True, slots=True, eq=False)
class LesionPart:
    """One lesion of a label map.

    Attributes:
        name: The only one of its name in the label map: label id and number.
        class_name: Its class.
        box: Where it is.
        mask: (I, J, K) its voxels, in the box.
    """

    name: str
    class_name: str
    box: Box
    mask: Mask

    @property
    def voxels(self) -> int:
        """How many."""
        return int(np.count_nonzero(self.mask))

    @property
    def centre(self) -> tuple[float, float, float]:
        """Mean index of its voxels, along I, J, K of the label map."""
        i, j, k = np.argwhere(self.mask).mean(axis=0) + np.array(self.box.start)
        return float(i), float(j), float(k)

    def covers(self, voxel: tuple[int, int, int]) -> bool:
        """Whether a voxel of the label map is the lesion's."""
        place = tuple(at - start for at, start in zip(voxel, self.box.start, strict=True))
        inside = all(0 <= at < n for at, n in zip(place, self.box.shape, strict=True))
        return inside and bool(self.mask[place])

    def diameter_mm(self, grid: Grid) -> float:
        """Of the ball of its volume; of the disc of its area in an image of one slice."""
        return mask_diameter_mm(self.mask, grid.spacing_mm, flat=grid.shape[2] == 1)


def lesion_parts(label_map: LabelMap) -> Iterator[LesionPart]:
    """Every lesion, class by class; none is too small."""
    if not label_map.labels.any():
        return
    near = Box.around(label_map.labels > 0)
    labels = label_map.labels[near.slices]
    present = set(np.unique(labels).tolist())
    for number, class_name in enumerate(label_map.class_names, start=1):
        if number not in present:
            continue
        components, _ = ndimage.label(labels == number, NEIGHBOURS_26)
        for part, found in enumerate(ndimage.find_objects(components), start=1):
            box = moved_box(found, near)
            yield LesionPart(f"{number}_{part:03d}", class_name, box, components[found] == part)


def largest_part(mask: Mask) -> Mask:
    """The largest 26-connected part of a mask."""
    labelled, parts = ndimage.label(mask, NEIGHBOURS_26)
    if parts < 2:
        return mask
    return np.asarray(labelled == 1 + int(np.argmax(np.bincount(labelled.ravel())[1:])))


def moved_box(found: Slices, near: Box) -> Box:
    """A part of a box, as a box of the image."""
    start = [part.start + s for part, s in zip(found, near.start, strict=True)]
    stop = [part.stop + s for part, s in zip(found, near.start, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
