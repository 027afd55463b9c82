"""The frame that a head is looked at in: coarse, scaled to the breadth of an adult head, axes right, front, up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

Levels = Float32[np.ndarray, "I J K"]
OtherLevels = Float32[np.ndarray, "P Q R"]  # on another grid than the argument
OtherVoxels = Bool[np.ndarray, "P Q R"]
Voxels = Bool[np.ndarray, "I J K"]
Spacing = tuple[float, float, float]

ADULT_BREADTH_MM: Final = 152.0  # of a head, skin to skin above the ears
_STEP_MM = 2.0
_FWHM_TO_SIGMA = 0.425


@final
@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A scan made coarse.

    Attributes:
        image: (I, J, K) float32, axes to the right, the front and the top.
        spacing_mm: Of the coarse voxels.
        shape: Of the scan it came from.
    """

    image: Levels
    spacing_mm: Spacing
    shape: tuple[int, int, int]

    def to_scan(self, field: Levels) -> OtherLevels:
        """A field on the coarse voxels, at the voxels of the scan, linear between them."""
        return _zoom(field, self.shape)

    def coarse_mask(self, mask: Voxels) -> OtherVoxels:
        """The coarse voxels that hold any True voxel of a mask on the scan, and their neighbours."""
        coarse = np.zeros(self.image.shape, dtype=bool)
        index = (np.argwhere(mask) + 0.5) * (np.array(self.image.shape) / np.array(self.shape))
        coarse[tuple(np.floor(index).astype(np.int64).T)] = True
        return np.asarray(ndimage.binary_dilation(coarse, np.ones((3, 3, 3), dtype=bool)))


def make_frame(image: Levels, spacing_mm: Spacing) -> Frame:
    """The scan at 2 mm along every axis that is finer than that; what is coarser stays."""
    steps = [max(_STEP_MM / one, 1.0) for one in spacing_mm]
    sigmas = [_FWHM_TO_SIGMA * step if step > 1.2 else 0.0 for step in steps]
    shape = tuple(max(round(n / step), 1) for n, step in zip(image.shape, steps, strict=True))
    coarse = _zoom(ndimage.gaussian_filter(image, sigmas), (shape[0], shape[1], shape[2]))
    sizes = [one * n / m for one, n, m in zip(spacing_mm, image.shape, shape, strict=True)]
    return Frame(
        coarse,
        (sizes[0], sizes[1], sizes[2]),
        (image.shape[0], image.shape[1], image.shape[2]),
    )


def _zoom(image: Levels, shape: tuple[int, int, int]) -> OtherLevels:
    """Linear interpolation between grids that share their outer faces, not their first voxels' centres."""
    if image.shape == shape:
        return image
    factors = np.array(image.shape) / np.array(shape)
    offset = factors / 2 - 0.5
    return np.asarray(
        ndimage.affine_transform(
            image.astype(np.float32), factors, offset, output_shape=shape, order=1, mode="nearest"
        )
    )
