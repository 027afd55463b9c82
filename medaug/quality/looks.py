"""Many lesions as networks see them: cut to one size, with mask, class, patient and radiological features."""

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
from medaug.quality.samples import LesionSample, figures_of

_ROOM = 1.5  # the window is at least so many times as wide as the lesion


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


def look_at(samples: Sequence[LesionSample], size: tuple[int, ...], classes: Sequence[str]) -> Looks:
    """Cut lesions to one size, at native resolution where they fit with room to spare, else shrunk.

    Args:
        samples: The lesions.
        size: Voxels along each axis; two axes show the slice where the lesion is largest, three a volume.
        classes: The class table, in which each lesion's class stands.

    Raises:
        DataError: If there is none.
    """
    if not samples:
        raise DataError("no lesion to look at")
    shown = [s.slice_at(s.largest_slice) for s in samples] if len(size) == 2 else list(samples)
    pairs = [_cut(sample.image, sample.mask, size) for sample in shown]
    return Looks(
        np.stack([image for image, _ in pairs]),
        np.stack([mask for _, mask in pairs]),
        np.asarray([classes.index(s.class_name) for s in shown]),
        tuple(s.patient_id for s in shown),
        figures_of(shown),
        np.stack([s.levels for s in shown]),
    )


def _cut(image: Image, mask: Mask, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask in a window around the lesion; beyond the image its edge is repeated."""
    tight = Box.around(mask)
    middle = [(a + b) // 2 for a, b in zip(tight.start, tight.stop, strict=True)]
    grow = max(1.0, *(_ROOM * tight.shape[n] / size[n] for n in (0, 1)))
    deep = max(size[2], tight.shape[2]) if len(size) == 3 else 1
    shape = (round(size[0] * grow), round(size[1] * grow), deep)
    box = Box.centred((middle[0], middle[1], middle[2]), shape)
    seen = torch.from_numpy(np.asarray(box.cut(image), dtype=np.float32))
    cover = torch.from_numpy(box.cut(mask, beyond="zero").astype(np.float32))[None]
    if len(size) == 2:
        seen, cover = seen[..., 0], cover[..., 0]
    if tuple(seen.shape[1:]) != size:
        seen, cover = (functional.interpolate(t[None], size=size, mode="area")[0] for t in (seen, cover))
    shares = cover[0].numpy()
    return seen.numpy(), np.asarray(shares >= min(0.5, float(shares.max())))
