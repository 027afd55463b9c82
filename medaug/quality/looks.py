"""Lesions as networks and figures see them: cut to one size, with mask, class, patient and radiological features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.nn import functional

from medaug.core.errors import DataError
from medaug.core.geometry import Box
from medaug.core.volume import Image, Mask
from medaug.quality.features import lesion_features

_ROOM = 1.5  # the window is at least so many times as wide as the lesion
_MARGIN_VOXELS = 6


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One lesion in its surroundings.

    Attributes:
        image: (C, I, J, K) normalised units.
        mask: (I, J, K) the lesion; not empty.
        class_index: Its class, an index into the class table.
        patient_id: Whose resampling unit it is: its patient, or the donor of its outline.
        spacing_mm: Of the image.
    """

    image: Image
    mask: Mask
    class_index: int
    patient_id: str
    spacing_mm: tuple[float, float, float]

    def largest_slice(self) -> Sighting:
        """The slice where the lesion is largest."""
        k = int(np.argmax(self.mask.sum(axis=(0, 1))))
        image, mask = self.image[..., k : k + 1], self.mask[..., k : k + 1]
        return Sighting(image, mask, self.class_index, self.patient_id, self.spacing_mm)

    def features(self) -> Float[np.ndarray, " F"]:
        """Radiological features, see :func:`medaug.quality.features.lesion_features`."""
        box = Box.around(self.mask)
        grown = Box(
            (box.start[0] - _MARGIN_VOXELS, box.start[1] - _MARGIN_VOXELS, box.start[2]),
            (box.stop[0] + _MARGIN_VOXELS, box.stop[1] + _MARGIN_VOXELS, box.stop[2]),
        ).clipped((self.mask.shape[0], self.mask.shape[1], self.mask.shape[2]))
        crop = self.image[(slice(None), *grown.slices)]
        return lesion_features(crop, self.mask[grown.slices], self.spacing_mm)

    def levels(self) -> Float[np.ndarray, " C"]:
        """Mean inside the lesion, a channel each."""
        return np.asarray(self.image[:, self.mask].mean(axis=1), dtype=np.float64)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Many lesions, cut to one size.

    Attributes:
        images: (N, C, *S) normalised units; two axes S for slices, three for volumes.
        masks: (N, *S) the lesions.
        class_index: (N,) index into the class table.
        patients: (N,) the resampling units.
        features: (N, F) radiological features.
        levels: (N, C) mean inside each lesion, normalised units.
    """

    images: Float[np.ndarray, "N C *S"]
    masks: Bool[np.ndarray, "N *S"]
    class_index: Int[np.ndarray, " N"]
    patients: tuple[str, ...]
    features: Float[np.ndarray, "N F"]
    levels: Float[np.ndarray, "N C"]

    def __len__(self) -> int:
        return len(self.patients)

    def at(self, rows: Int[np.ndarray, " M"]) -> Looks:
        """The lesions of these rows."""
        return Looks(
            self.images[rows],
            self.masks[rows],
            self.class_index[rows],
            tuple(self.patients[int(row)] for row in rows),
            self.features[rows],
            self.levels[rows],
        )

    def of_class(self, number: int) -> Looks:
        """The lesions of one class."""
        return self.at(np.flatnonzero(self.class_index == number))


def look_at(sightings: Sequence[Sighting], size: tuple[int, ...]) -> Looks:
    """Cut lesions to one size, at native resolution where they fit with room to spare, else shrunk.

    Args:
        sightings: The lesions.
        size: Voxels along each axis; two axes show the slice where the lesion is largest, three a volume.

    Raises:
        DataError: If there is none.
    """
    if not sightings:
        raise DataError("no lesion to look at")
    shown = [s.largest_slice() for s in sightings] if len(size) == 2 else list(sightings)
    pairs = [_cut(sighting, size) for sighting in shown]
    return Looks(
        np.stack([image for image, _ in pairs]),
        np.stack([mask for _, mask in pairs]),
        np.asarray([s.class_index for s in shown]),
        tuple(s.patient_id for s in shown),
        np.stack([s.features() for s in shown]),
        np.stack([s.levels() for s in shown]),
    )


def _cut(sighting: Sighting, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask in a window around the lesion; beyond the image its edge is repeated."""
    tight = Box.around(sighting.mask)
    middle = [(a + b) // 2 for a, b in zip(tight.start, tight.stop, strict=True)]
    grow = max(1.0, *(_ROOM * tight.shape[n] / size[n] for n in (0, 1)))
    deep = max(size[2], tight.shape[2]) if len(size) == 3 else 1
    shape = (round(size[0] * grow), round(size[1] * grow), deep)
    box = Box.centred((middle[0], middle[1], middle[2]), shape)
    image = torch.from_numpy(np.asarray(box.cut(sighting.image), dtype=np.float32))
    inside = _within(sighting.mask, box)
    cover = torch.from_numpy(np.ascontiguousarray(inside, dtype=np.float32))[None]
    if len(size) == 2:
        image, cover = image[..., 0], cover[..., 0]
    if tuple(image.shape[1:]) != size:
        image, cover = (functional.interpolate(t[None], size=size, mode="area")[0] for t in (image, cover))
    mask = cover[0].numpy()
    return image.numpy(), np.asarray(mask >= min(0.5, float(mask.max())))


def _within(mask: Mask, box: Box) -> Bool[np.ndarray, "P Q R"]:
    """The part of a mask in a box, False beyond the image."""
    part = box.clipped((mask.shape[0], mask.shape[1], mask.shape[2]))
    pads = [(p - s, e - q) for s, e, p, q in zip(box.start, box.stop, part.start, part.stop, strict=True)]
    return np.pad(mask[part.slices], pads)
