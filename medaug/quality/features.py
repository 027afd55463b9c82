"""Radiological features of a lesion: intensity, contrast, gradient, texture and shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from skimage.measure import perimeter
from skimage.morphology import convex_hull_image

Features = Float[np.ndarray, "N F"]
Column = Float[np.ndarray, " N"]
# image, mask and spacing of a lesion; lesions differ in shape
Part = tuple[Float[np.ndarray, "_ _ _ _"], Bool[np.ndarray, "_ _ _"], tuple[float, float, float]]

_PERCENTILES = (5, 25, 50, 75, 95)
_RING_VOXELS = 3
_GREY_LEVELS = 16
_NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1))
_AT_ONCE = 64  # lesions
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
SHAPE = ("log_volume_mm3", "log_area_mm2", "eccentricity", "solidity", "extent", "roundness", "slices_share")


def feature_names(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the features in order: those of intensity for each channel, then those of shape."""
    return tuple(f"{channel}_{name}" for channel in channels for name in _CHANNEL) + SHAPE


def lesion_features(parts: Sequence[Part]) -> Features:
    """Describe lesions, many at once.

    Texture is the grey-level co-occurrence matrix (Haralick et al., IEEE Trans SMC 1973) of the largest slice
    at distance 1, averaged over four directions.

    Args:
        parts: Of each lesion (C, I, J, K) normalised units with some voxels around it, its mask (I, J, K), which is
            not empty, and the spacing in mm; at least one lesion, all of the same channels.

    Returns:
        (N, F) float64, finite, in the order of :func:`feature_names`.
    """
    order = sorted(range(len(parts)), key=lambda n: parts[n][1].size)
    rows = [
        _described(_Planes.of([parts[n] for n in order[start : start + _AT_ONCE]]))
        for start in range(0, len(parts), _AT_ONCE)
    ]
    return np.concatenate(rows)[np.argsort(order)]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """The slices of some lesions that show them, as one stack.

    Attributes:
        image: (C, P, H, W), one pixel more on every side, where the image goes on as its edge does.
        mask: (P, H, W) the lesions.
        known: (P, H, W) where there is an image.
        owner: (P,) lesion of each slice, ascending.
        largest: (L,) slice where each lesion is largest.
        spacing_mm: (L, 3) of the lesions.
    """

    image: Float[np.ndarray, "C P H W"]
    mask: Bool[np.ndarray, "P H W"]
    known: Bool[np.ndarray, "P H W"]
    owner: Int[np.ndarray, " P"]
    largest: Int[np.ndarray, " L"]
    spacing_mm: Float[np.ndarray, "L 3"]

    @staticmethod
    def of(parts: Sequence[Part]) -> _Planes:
        """Stack lesions; slices without lesion play no part."""
        shown = [np.flatnonzero(mask.any(axis=(0, 1))) for _, mask, _ in parts]
        owner = np.repeat(np.arange(len(parts)), [len(slices) for slices in shown])
        height, width = (max(mask.shape[axis] for _, mask, _ in parts) for axis in (0, 1))
        stack = (len(owner), height + 2, width + 2)
        image = np.zeros((len(parts[0][0]), *stack), dtype=np.float32)
        masks, known = np.zeros(stack, dtype=bool), np.zeros(stack, dtype=bool)
        start = 0
        for (crop, mask, _), slices in zip(parts, shown, strict=True):
            rows = slice(start, start + len(slices))
            inner = (rows, slice(1, mask.shape[0] + 1), slice(1, mask.shape[1] + 1))
            outer = (rows, slice(0, mask.shape[0] + 2), slice(0, mask.shape[1] + 2))
            masks[inner], known[inner] = np.moveaxis(mask[..., slices], -1, 0), True
            edged = np.pad(crop[..., slices], ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect", reflect_type="odd")
            image[(slice(None), *outer)] = np.moveaxis(edged, -1, 1)
            start += len(slices)
        areas = masks.sum(axis=(1, 2))
        first = np.searchsorted(owner, np.arange(len(parts)))
        largest = [int(f + np.argmax(areas[f : f + len(s)])) for f, s in zip(first, shown, strict=True)]
        return _Planes(image, masks, known, owner, np.array(largest), np.array([p[2] for p in parts]))

    @property
    def count(self) -> int:
        """Lesions."""
        return len(self.largest)

    def owners(self, where: Bool[np.ndarray, "P H W"]) -> Int[np.ndarray, " V"]:
        """Lesion of each True voxel."""
        return np.repeat(self.owner, where.sum(axis=(1, 2)))


def _described(planes: _Planes) -> Features:
    grown = ndimage.maximum_filter(planes.mask, (1, 2 * _RING_VOXELS + 1, 2 * _RING_VOXELS + 1))
    ring = grown & planes.known & ~planes.mask
    edge = planes.mask & ~ndimage.minimum_filter(planes.mask, (1, 3, 3), mode="constant")
    columns = [_channel_features(channel, planes, ring, edge) for channel in planes.image]
    return np.stack([column for some in (*columns, _shape_features(planes)) for column in some], axis=1)


def _channel_features(
    channel: np.ndarray, planes: _Planes, ring: np.ndarray, edge: np.ndarray
) -> list[Column]:
    inside, owner = channel[planes.mask].astype(np.float64), planes.owners(planes.mask)
    outside, around = channel[ring].astype(np.float64), planes.owners(ring)
    mean, deviation, skewness = _moments(inside, owner, planes.count)
    ring_mean, ring_deviation, _ = _moments(outside, around, planes.count)
    bare = np.bincount(around, minlength=planes.count) == 0
    ring_mean, ring_deviation = np.where(bare, mean, ring_mean), np.where(bare, deviation, ring_deviation)
    gradient = np.hypot(
        (channel[:, 2:, 1:-1] - channel[:, :-2, 1:-1]) / 2, (channel[:, 1:-1, 2:] - channel[:, 1:-1, :-2]) / 2
    )
    gradient = np.pad(gradient, ((0, 0), (1, 1), (1, 1)))
    steps = [
        _moments(gradient[part].astype(np.float64), planes.owners(part), planes.count)[0]
        for part in (planes.mask, edge)
    ]
    return [
        mean, deviation, skewness, *_percentiles(inside, owner, planes.count),
        ring_mean, ring_deviation, mean - ring_mean, *steps,
        *_texture(channel[planes.largest], planes.mask[planes.largest]),
    ]  # fmt: skip


def _moments(
    values: Float[np.ndarray, " V"], owner: Int[np.ndarray, " V"], count: int
) -> tuple[Column, Column, Column]:
    """Mean, deviation and skewness of each lesion; 0 where it has no voxel."""
    voxels = np.maximum(np.bincount(owner, minlength=count), 1)
    mean = np.bincount(owner, values, count) / voxels
    off = values - mean[owner]
    square = off * off
    deviation = np.sqrt(np.bincount(owner, square, count) / voxels)
    skewness = np.bincount(owner, square * off, count) / voxels / np.maximum(deviation, 1e-3) ** 3
    return mean, deviation, skewness


def _percentiles(values: Float[np.ndarray, " V"], owner: Int[np.ndarray, " V"], count: int) -> list[Column]:
    """Percentiles of each lesion, linear between its values."""
    values = values[np.lexsort((values, owner))]
    voxels = np.bincount(owner, minlength=count)
    first = np.cumsum(voxels) - voxels
    found = []
    for percent in _PERCENTILES:
        at = percent / 100 * (voxels - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, voxels - 1)
        found.append(values[first + low] + (at - low) * (values[first + high] - values[first + low]))
    return found


def _texture(plane: Float[np.ndarray, "L H W"], mask: Bool[np.ndarray, "L H W"]) -> list[Column]:
    """Contrast, homogeneity, energy and correlation of the co-occurrence of masked pixels, as scikit-image has them."""
    counts = _co_occurrence(plane, mask)
    total = counts.sum(axis=(1, 2))
    share = counts / np.maximum(total, 1.0)[:, None, None]
    i, j = np.indices((_GREY_LEVELS, _GREY_LEVELS))
    middle = (share * i).sum(axis=(1, 2))[:, None, None]  # of rows and columns: the matrix is symmetric
    variance = (share * (i - middle) ** 2).sum(axis=(1, 2))
    covariance = (share * (i - middle) * (j - middle)).sum(axis=(1, 2))
    flat = variance < 1e-15
    values = (
        (share * (i - j) ** 2).sum(axis=(1, 2)),
        (share / (1.0 + (i - j) ** 2)).sum(axis=(1, 2)),
        np.sqrt((share**2).sum(axis=(1, 2))),
        np.where(flat, 1.0, covariance / np.where(flat, 1.0, variance)),
    )
    return [np.where(total > 0, value, 0.0) for value in values]


def _co_occurrence(
    plane: Float[np.ndarray, "L H W"], mask: Bool[np.ndarray, "L H W"]
) -> Float[np.ndarray, "L G G"]:
    """How often two grey levels are neighbours within a mask, along four directions and both ways."""
    low, high = _GREY_RANGE
    grey = np.clip((plane - low) / (high - low) * _GREY_LEVELS, 0, _GREY_LEVELS - 1).astype(np.uint8)
    codes = []
    for rows, columns in _NEIGHBOURS:
        here = (
            slice(None),
            slice(0, mask.shape[1] - rows),
            slice(max(0, -columns), mask.shape[2] - max(0, columns)),
        )
        there = (slice(None), slice(rows, None), slice(max(0, columns), mask.shape[2] + min(0, columns)))
        both = mask[here] & mask[there]
        lesion = np.repeat(np.arange(len(mask)), both.sum(axis=(1, 2)))
        codes.append((lesion * _GREY_LEVELS + grey[here][both]) * _GREY_LEVELS + grey[there][both])
    size = (len(mask), _GREY_LEVELS, _GREY_LEVELS)
    counts = np.bincount(np.concatenate(codes), minlength=int(np.prod(size))).reshape(size).astype(np.float64)
    return counts + counts.transpose(0, 2, 1)


def _shape_features(planes: _Planes) -> list[Column]:
    masks, count = planes.mask[planes.largest], planes.count
    area = masks.sum(axis=(1, 2)).astype(np.float64)
    voxels = np.bincount(planes.owner, planes.mask.sum(axis=(1, 2)), count)
    in_plane_mm2 = planes.spacing_mm[:, 0] * planes.spacing_mm[:, 1]
    outlines = np.array([_outline(mask) for mask in masks])
    return [
        np.log(voxels * in_plane_mm2 * planes.spacing_mm[:, 2]), np.log(area * in_plane_mm2), *outlines.T,
        voxels / (area * np.bincount(planes.owner, minlength=count)),
    ]  # fmt: skip


def _outline(mask: Bool[np.ndarray, "H W"]) -> tuple[float, float, float, float]:
    """Eccentricity, solidity, extent and roundness of a section."""
    points = np.argwhere(mask)
    low, high = points.min(axis=0), points.max(axis=0) + 1
    area, around = len(points), float(perimeter(mask, neighborhood=8))
    small, large = np.clip(
        np.linalg.eigvalsh(np.cov(points.T, ddof=0)) if area > 1 else np.zeros(2), 0.0, None
    )
    hull = convex_hull_image(mask[low[0] : high[0], low[1] : high[1]])
    return (
        float(np.sqrt(1 - small / large)) if large > 0 else 0.0,
        area / max(float(hull.sum()), 1.0),
        area / float(np.prod(high - low)),
        min(4 * np.pi * area / around**2, 2.0) if around > 0 else 1.0,
    )


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
