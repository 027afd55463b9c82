"""A slice of a case as a small square picture: a window that suits it, and the outlines of its label map."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from medaug.core.volume import Unit, Volume

THUMB_PIXELS: Final = 180
_LUNG_HU, _SOFT_HU = (-1350.0, 150.0), (-160.0, 240.0)
_LUNG_TISSUE_HU, _LUNG_SHARE = (-980.0, -600.0), 0.1
# Colour-blind safe (Okabe and Ito, 2008) and three more that are bright on grey, as RGB in 0..1
COLOURS: Final = (
    (0.9, 0.6, 0.0),
    (0.34, 0.71, 0.91),
    (0.0, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.8, 0.47, 0.65),
    (0.84, 0.37, 0.0),
    (0.55, 0.9, 0.3),
    (1.0, 0.3, 0.3),
    (0.6, 0.5, 1.0),
)


def grey_window(volume: Volume) -> tuple[float, float, str]:
    """The range that is shown as black to white, and its name."""
    image = volume.image[0]
    if volume.unit is Unit.HU and float(image.min()) < 0:
        lung = np.count_nonzero((image > _LUNG_TISSUE_HU[0]) & (image < _LUNG_TISSUE_HU[1]))
        if lung > _LUNG_SHARE * image.size:
            return *_LUNG_HU, "lung window"
        return *_SOFT_HU, "soft tissue window"
    stride = -(-image.size // (1 << 20))
    low, high = (float(v) for v in np.percentile(image.reshape(-1)[::stride], (0.5, 99.5)))
    if low == high:
        low, high = float(image.min()), float(image.max())
    return low, high, f"window {low:.4g} to {high:.4g}"


def draw_thumb(
    grey: Float[np.ndarray, "I J"],
    labels: np.ndarray,
    width_mm: float,
    height_mm: float,
    side: int = THUMB_PIXELS,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """One slice in a square of ``side`` pixels, proportions kept, with outlines of one pixel."""
    size_mm = np.array([grey.shape[0] * width_mm, grey.shape[1] * height_mm])
    room = side - 4
    pixels = np.maximum(1, np.round(room * size_mm / size_mm.max())).astype(int)
    shown, drawn = grey, labels
    for axis, count in enumerate(pixels.tolist()):
        shown, drawn = _resized_grey(shown, axis, count), _resized_labels(drawn, axis, count)
    shown, drawn = (array.T[::-1, ::-1] for array in (shown, drawn))
    picture = np.repeat(shown[..., None], 3, axis=2)
    for number in np.unique(drawn[drawn > 0]):
        picture[_outline(drawn == number)] = COLOURS[(int(number) - 1) % len(COLOURS)]
    square = np.full((side, side, 3), 255, dtype=np.uint8)
    square[2:-2, 2:-2] = 0
    top, left = (side - picture.shape[0]) // 2, (side - picture.shape[1]) // 2
    square[top : top + picture.shape[0], left : left + picture.shape[1]] = np.round(picture * 255)
    return square


def _resized_grey(grey: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Means where pixels are fewer than voxels, else straight lines between voxels."""
    size = grey.shape[axis]
    if count < size:
        starts = np.arange(count) * size // count
        sums = np.add.reduceat(grey, starts, axis=axis)
        widths = np.diff(np.append(starts, size))
        return np.asarray(sums / (widths[:, None] if axis == 0 else widths))
    factors = [1.0, 1.0]
    factors[axis] = count / size
    return np.asarray(ndimage.zoom(grey, factors, order=1, mode="nearest", grid_mode=True))


def _resized_labels(labels: np.ndarray, axis: int, count: int) -> np.ndarray:
    """The highest id where pixels are fewer than voxels, so that no speck is lost, else the nearest."""
    size = labels.shape[axis]
    if count < size:
        return np.asarray(np.maximum.reduceat(labels, np.arange(count) * size // count, axis=axis))
    return np.asarray(np.take(labels, np.arange(count) * size // count, axis=axis))


def _outline(mask: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    """The pixels around a mask, so that the lesion itself stays visible."""
    return np.asarray(ndimage.binary_dilation(mask) & ~mask)
