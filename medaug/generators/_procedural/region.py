"""Where a voxel lies as seen from a lesion: how deep inside, how far outside, in the tissue around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.geometry import Box
from medaug.core.volume import Image, Mask

REACH: Final = 3.0  # in-plane voxels outside a lesion that it may still change
_RING = (2.0, 6.0)
_MARGIN = 7
_FEW = 4


@final
@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A lesion and its surroundings, cut out of a patch.

    Attributes:
        window: Part of the patch it covers.
        mask: (I, J, K) of the lesion.
        depth: (I, J, K) 0 at the outline to 1 at the deepest voxel; 0 outside.
        outside: (I, J, K) distance to the lesion in in-plane voxels; 0 inside.
        ring: (I, J, K) 2 to 6 in-plane voxels off the lesion.
        inside_mm: Distance of the deepest voxel to the outline.
    """

    window: tuple[slice, slice, slice]
    mask: Mask
    depth: Float[np.ndarray, "I J K"]
    outside: Float[np.ndarray, "I J K"]
    ring: Mask
    inside_mm: float

    @staticmethod
    def around(mask: Mask, spacing_mm: tuple[float, float, float]) -> Region:
        """The region of a lesion; distances through the slices are scaled by the spacing.

        Raises:
            GeometryError: If the mask is empty.
        """
        sampling = np.array(spacing_mm) / min(spacing_mm[:2])
        through = 0 if mask.shape[2] == 1 else 1 + int(_RING[0] / sampling[2])
        window = Box.around(mask, (_MARGIN, _MARGIN, through)).slices
        part = mask[window]
        outside = ndimage.distance_transform_edt(~part, sampling=sampling)
        frame = [(1, 1), (1, 1), (0, 0) if part.shape[2] == 1 else (1, 1)]
        inside = ndimage.distance_transform_edt(np.pad(part, frame), sampling=sampling)
        inside = inside[tuple(slice(a, n - b) for (a, b), n in zip(frame, inside.shape, strict=True))]
        deepest = float(inside.max())
        depth = np.clip((inside - 1.0) / max(deepest - 1.0, 1e-6), 0.0, 1.0)
        ring = (outside >= _RING[0]) & (outside <= _RING[1])
        if int(ring.sum()) < _FEW:
            ring = ~part if not part.all() else part
        return Region(window, part, depth, outside, ring, deepest * min(spacing_mm[:2]))

    def cut(self, image: Image) -> Float[np.ndarray, "C P Q R"]:
        """The part of a (C, I, J, K) patch that the region covers."""
        return image[(slice(None), *self.window)]
