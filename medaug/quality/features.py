"""Radiological features of a lesion: intensity, contrast, gradient, texture and shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import perimeter, regionprops

from medaug.core.volume import Image, Mask

Features = Float[np.ndarray, "N F"]

_PERCENTILES = (5, 25, 50, 75, 95)
_RING_VOXELS = 3
_GREY_LEVELS = 16
_GREY_RANGE = (-2.0, 4.0)  # normalised units: -1400..1600 HU, or 2 below to 4 deviations above the mean
_TEXTURES = ("contrast", "homogeneity", "energy", "correlation")
_INTENSITY = ("mean", "std", "skewness", *(f"p{p}" for p in _PERCENTILES))
_CHANNEL = (
    *_INTENSITY,
    "ring_mean",
    "ring_std",
    "contrast_to_ring",
    "gradient_inside",
    "gradient_edge",
    *(f"glcm_{t}" for t in _TEXTURES),
)
_SHAPE = ("log_volume_mm3", "log_area_mm2", "eccentricity", "solidity", "extent", "roundness", "slices_share")


def feature_names(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the features in order: those of intensity for each channel, then those of shape."""
    return tuple(f"{channel}_{name}" for channel in channels for name in _CHANNEL) + _SHAPE


def lesion_features(
    crop: Image, mask: Mask, spacing_mm: tuple[float, float, float]
) -> Float[np.ndarray, " F"]:
    """Describe one lesion.

    Texture is the grey-level co-occurrence matrix (Haralick et al., IEEE Trans SMC 1973) of the largest slice
    at distance 1, averaged over four directions.

    Args:
        crop: (C, I, J, K) normalised units, with some voxels around the lesion.
        mask: (I, J, K) the lesion; not empty.
        spacing_mm: Of the crop.

    Returns:
        (F,) float64, finite, in the order of :func:`feature_names`.
    """
    ring = ndimage.binary_dilation(mask, np.ones((3, 3, 1), dtype=bool), _RING_VOXELS) & ~mask
    edge = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3, 1), dtype=bool))
    k = int(np.argmax(mask.sum(axis=(0, 1))))
    rows = [_channel_features(channel, mask, ring, edge, k) for channel in crop]
    return np.asarray([*(value for row in rows for value in row), *_shape_features(mask, spacing_mm, k)])


def _channel_features(channel: np.ndarray, mask: Mask, ring: Mask, edge: Mask, k: int) -> list[float]:
    inside = channel[mask].astype(np.float64)
    outside = channel[ring].astype(np.float64) if ring.any() else inside
    mean, std = float(inside.mean()), float(inside.std())
    skewness = float(((inside - mean) ** 3).mean() / max(std, 1e-3) ** 3)
    gradient = np.hypot(*np.gradient(channel, axis=(0, 1)))
    return [
        mean, std, skewness, *(float(p) for p in np.percentile(inside, _PERCENTILES)),
        float(outside.mean()), float(outside.std()), mean - float(outside.mean()),
        float(gradient[mask].mean()), float(gradient[edge].mean()),
        *_texture(channel[..., k], mask[..., k]),
    ]  # fmt: skip


def _texture(plane: Float[np.ndarray, "I J"], mask: np.ndarray) -> list[float]:
    """Co-occurrence features of the masked pixels; grey level 0 marks what lies outside and is left out."""
    low, high = _GREY_RANGE
    grey = np.clip((plane - low) / (high - low) * _GREY_LEVELS, 0, _GREY_LEVELS - 1).astype(np.uint8) + 1
    angles = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
    counts = graycomatrix(
        np.where(mask, grey, 0).astype(np.uint8), [1], angles, _GREY_LEVELS + 1, symmetric=True
    )
    inner = counts[1:, 1:].sum(axis=3, keepdims=True).astype(np.float64)
    if not inner.any():
        return [0.0] * len(_TEXTURES)
    return [float(graycoprops(inner / inner.sum(), name)[0, 0]) for name in _TEXTURES]


def _shape_features(mask: Mask, spacing_mm: tuple[float, float, float], k: int) -> list[float]:
    plane = mask[..., k]
    region = regionprops(plane.astype(np.uint8))[0]
    area, around = float(plane.sum()), float(perimeter(plane, neighborhood=8))
    in_plane_mm2 = spacing_mm[0] * spacing_mm[1]
    roundness = min(4 * np.pi * area / around**2, 2.0) if around > 0 else 1.0
    return [
        float(np.log(mask.sum() * in_plane_mm2 * spacing_mm[2])), float(np.log(area * in_plane_mm2)),
        float(region.eccentricity), area / max(float(region.area_convex), 1.0), float(region.extent), roundness,
        float(mask.sum()) / (area * max(1, int(mask.any(axis=(0, 1)).sum()))),
    ]  # fmt: skip


@final
@dataclass(frozen=True, slots=True, eq=False)
class Standardiser:
    """Brings features to zero mean and unit deviation on training lesions.

    Attributes:
        mean: (F,) of the training lesions.
        deviation: (F,), 1 where a feature does not vary.
    """

    mean: Float[np.ndarray, " F"]
    deviation: Float[np.ndarray, " F"]

    @staticmethod
    def fitted_on(features: Features) -> Standardiser:
        """Mean and deviation of these lesions."""
        deviation = features.std(axis=0)
        return Standardiser(features.mean(axis=0), np.where(deviation > 1e-9, deviation, 1.0))

    def apply(self, features: Features) -> Features:
        """Standardised features, limited to 10 deviations so that one odd lesion cannot rule a distance."""
        return np.asarray(np.clip((features - self.mean) / self.deviation, -10.0, 10.0))
