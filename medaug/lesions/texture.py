"""Texture of a lesion in a few numbers, as radiomics knows them (Image Biomarker Standardisation Initiative, 2020)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer
from scipy import ndimage

from medaug.core.geometry import Box
from medaug.core.lesion import Texture
from medaug.core.volume import Mask

_BIN = 0.05  # normalised units: 25 HU, the fixed bin size that the initiative recommends for CT
_LEVELS = 128  # at most; what is brighter counts as the brightest
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # in plane, at one voxel


def describe_texture(
    channel: Float[np.ndarray, "I J K"],
    mask: Mask,
    spacing_mm: tuple[float, float, float],
    unit: float = 1.0,
) -> Texture:
    """The texture of a lesion in one channel.

    Args:
        channel: Intensities.
        mask: (I, J, K) the lesion; at least one voxel.
        spacing_mm: Of the patch.
        unit: Intensities for one normalised unit; sets the bins of the co-occurrence matrix.
    """
    near = Box.around(mask, (1, 1, 1)).slices  # with the voxels next to it, for gradients
    image, lesion = channel[near].astype(np.float64), mask[near]
    inside = image[lesion]
    mean, deviation = float(inside.mean()), float(inside.std())
    skew = float(((inside - mean) ** 3).mean()) / deviation**3 if deviation > 1e-9 * (1 + abs(mean)) else 0.0
    width = _BIN * unit
    matrix = cooccurrence(np.minimum((image - inside.min()) / width, _LEVELS - 1).astype(int), lesion)
    far = np.arange(len(matrix))[:, None] - np.arange(len(matrix))
    shares = matrix[matrix > 0]
    return Texture(
        mean=_figure(mean),
        std=_figure(deviation),
        skew=_figure(skew),
        gradient_per_mm=_figure(_steepness(image, spacing_mm)[lesion].mean()),
        glcm_contrast=_figure(float((matrix * far**2).sum()) * width**2),
        glcm_entropy=_figure(float(-(shares * np.log2(shares)).sum())),
    )


def cooccurrence(levels: Integer[np.ndarray, "I J K"], mask: Mask) -> Float[np.ndarray, "L L"]:
    """How often two levels are neighbours in plane, in four directions and both ways; sums to 1, or 0 without pairs.

    Args:
        levels: Grey levels from 0, of which only those inside the mask count.
        mask: (I, J, K) the lesion.
    """
    count = int(levels[mask].max()) + 1
    codes = []
    for i, j in _NEIGHBOURS:
        one = (slice(None, -i or None), slice(max(-j, 0), -max(j, 0) or None))
        other = (slice(i, None), slice(max(j, 0), -max(-j, 0) or None))
        both = mask[one] & mask[other]
        codes.append(levels[one][both] * count + levels[other][both])
    matrix = np.bincount(np.concatenate(codes), minlength=count * count).reshape(count, count)
    matrix = matrix + matrix.T
    return np.asarray(matrix / max(int(matrix.sum()), 1))


def _steepness(
    image: Float[np.ndarray, "I J K"], spacing_mm: tuple[float, float, float]
) -> Float[np.ndarray, "I J K"]:
    """Size of the gradient, per mm; along axes of more than one voxel."""
    square = np.zeros_like(image)
    for axis, mm in enumerate(spacing_mm):
        if image.shape[axis] > 1:
            square += (ndimage.correlate1d(image, [-0.5, 0.0, 0.5], axis=axis) / mm) ** 2
    return np.asarray(np.sqrt(square))


def _figure(value: float) -> float:
    return float(f"{value:.6g}")
