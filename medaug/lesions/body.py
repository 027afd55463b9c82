"""Body, lung and brain in an image, found without labels on a coarse copy of it: small and quick at any size of image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, final

import numpy as np
from jaxtyping import Bool, Float, Float32, Integer
from scipy import ndimage

from medaug.core.geometry import NEIGHBOURS_4, Box
from medaug.core.volume import Image, Mask, Unit, Volume

Organ = Literal["lung", "brain"]
Triple = tuple[int, int, int]
Coarse = Bool[np.ndarray, "P Q R"]

_FLAT_CELLS, _CELLS = 1 << 14, 1 << 18  # an image of more voxels is looked at on a coarser grid
_MOST = 4  # voxels for one of the coarse grid along an axis
_COARSEST_MM = 3.0
_ACROSS, _SLICES = 64, 16  # an image stays at least so wide and thick, where it is
_AIR_HU = -975.0  # smoothed lung stays above, outside air and the trachea below
_LUNG_HU = -400.0
_SKIN_MM = 5.0
_LUNG_GAP_MM = 6.0  # vessels and small nodules of the lung belong to it
_BODY_LEVEL = 0.08  # of the case's intensity range, for units without a zero
_BRAIN_LEVEL = 0.65  # of the middle of the body's intensities; skull and the fluid under it are darker
_BRAIN_BRIDGE_MM = 8.0  # what ties brain to scalp is thinner than this
_SMALLEST_ORGAN: Final = 0.03  # of the body
_LOWEST_SHARE = 0.25  # of a side of the image that a body may touch before it counts as cut off there
_FEW_SLICES = 6
_STEP, _DIAGONAL = 3, 4  # Borgefors' integer steps; within 8% of the true distance
_FAR = 1 << 14


@final
@dataclass(frozen=True, eq=False)
class Body:
    """What an image shows, on a coarse grid: the body, where its edge is, and in it the organ that the unit lets one find.

    The body is the largest connected part that is not air or background, holes filled in plane; in CT the lungs belong to
    it. One coarse voxel stands for ``factor`` voxels of the image along each axis, the last one maybe for fewer.

    Attributes:
        factor: Voxels of the image for one coarse voxel, along I, J, K.
        image_shape: (I, J, K) of the image.
        spacing_mm: Of the image.
        image: (C, P, Q, R) the image without its grain, native units.
        inside: (P, Q, R) the body.
        unit: Of the image.
        span: Where the slices begin and end in the whole image, as shares of it; (0, 1) for all of it.
        whole: The body in the whole image, where this is one slice of it.
    """

    factor: Triple
    image_shape: Triple
    spacing_mm: tuple[float, float, float]
    image: Float32[np.ndarray, "C P Q R"]
    inside: Coarse
    unit: Unit
    span: tuple[float, float] = (0.0, 1.0)
    whole: Body | None = None

    @staticmethod
    def of(volume: Volume) -> Body:
        """Find the body in a whole image."""
        factor = _factor(volume)
        image = _coarse_image(volume.image, factor)
        inside = _body(image, volume.unit)
        return Body(factor, volume.grid.shape, volume.grid.spacing_mm, image, inside, volume.unit)

    @property
    def mask(self) -> Mask:
        """(I, J, K) the body, voxel by voxel."""
        return self.fine(self.inside, Box((0, 0, 0), self.image_shape))

    @cached_property
    def edge(self) -> Float32[np.ndarray, "P Q R"]:
        """In-plane distance to the edge of the body, voxels of the image; 0 outside, infinite in a slice without one."""
        return edge_distance(self.inside) * self.factor[0]

    @property
    def organ_name(self) -> Organ:
        """What is looked for: the lung where units are HU, else the brain."""
        return "lung" if self.unit is Unit.HU else "brain"

    @cached_property
    def organ(self) -> Coarse | None:
        """(P, Q, R) the organ; None where the image shows none, or less of it than a few percent of the body."""
        if self.whole is not None:
            found = self.whole.organ
            return None if found is None else found[..., self._slices_in_whole()]
        mm = min(self.spacing_mm[:2]) * self.factor[0]
        if self.unit is Unit.HU:
            organ = _lung(self.image[0], self.edge > _SKIN_MM / min(self.spacing_mm[:2]), mm)
        else:
            organ = _brain(self.image, self.inside, mm)
        return organ if organ.sum() > _SMALLEST_ORGAN * self.inside.sum() else None

    @cached_property
    def frame(self) -> tuple[tuple[int, int] | None, ...]:
        """First and past-the-last coarse voxel of the body along I, J, K; None along an axis where the image cuts it off."""
        if self.whole is not None:
            return self.whole.frame
        return tuple(_extent(self.inside, axis) for axis in range(3))

    def slice_at(self, index: int) -> Body:
        """The same for one slice of the image, as a slab of one slice."""
        first, last = self.span
        step = (last - first) / self.image_shape[2]
        part = slice(index // self.factor[2], index // self.factor[2] + 1)
        return Body(
            (self.factor[0], self.factor[1], 1),
            (self.image_shape[0], self.image_shape[1], 1),
            self.spacing_mm,
            self.image[..., part],
            self.inside[..., part],
            self.unit,
            (first + index * step, first + (index + 1) * step),
            self.whole or self,
        )

    def cells(self, points: Integer[np.ndarray, "n 3"]) -> tuple[np.ndarray, ...]:
        """Index on the coarse grid of voxels of the image; what lies outside counts as the nearest inside."""
        return tuple(
            np.clip(points[:, axis] // self.factor[axis], 0, self.inside.shape[axis] - 1) for axis in range(3)
        )

    def fine(self, coarse: np.ndarray, box: Box) -> np.ndarray:
        """A box inside the image, voxel by voxel, of something on the coarse grid."""
        spans = zip(box.start, box.stop, self.factor, strict=True)
        return np.asarray(coarse[np.ix_(*(np.arange(a, b) // f for a, b, f in spans))])

    def place(
        self, points: Float[np.ndarray, "n 3"]
    ) -> tuple[
        Float[np.ndarray, " n"] | None, Float[np.ndarray, " n"] | None, Float[np.ndarray, " n"] | None
    ]:
        """Where voxels of the image lie in the body along I, J, K, as shares of its extent; None where that is cut off."""
        whole = self.whole or self
        shares: list[Float[np.ndarray, " n"] | None] = []
        for axis, span in enumerate(self.frame):
            if span is None:
                shares.append(None)
                continue
            at = points[:, axis] + 0.5
            if axis == 2:
                low, high = self.span
                at = (low + at / self.image_shape[2] * (high - low)) * whole.image_shape[2]
            shares.append((at / whole.factor[axis] - span[0]) / (span[1] - span[0]))
        return shares[0], shares[1], shares[2]

    def _slices_in_whole(self) -> slice:
        if self.whole is None:
            return slice(None)
        k = round(self.span[0] * self.whole.image_shape[2]) // self.whole.factor[2]
        return slice(k, k + 1)


def edge_distance(mask: Coarse) -> Float32[np.ndarray, "P Q R"]:
    """In-plane distance of each True voxel to the nearest False one, in voxels; infinite in a slice that has none.

    Exact for few slices; else Borgefors' 3-4 distance (CVGIP 1986), swept over all slices at once.
    """
    if mask.shape[2] > _FEW_SLICES:
        distance = _chamfer(mask)
    else:
        slices = [ndimage.distance_transform_edt(mask[..., k]) for k in range(mask.shape[2])]
        distance = np.stack(slices, axis=-1).astype(np.float32)
    distance[..., mask.all(axis=(0, 1))] = np.inf
    return distance


def _chamfer(mask: Coarse) -> Float32[np.ndarray, "P Q R"]:
    far = np.where(mask, _FAR, 0).astype(np.int32)
    ramp = (_STEP * np.arange(mask.shape[1], dtype=np.int32))[:, None]
    for rows in (range(mask.shape[0]), range(mask.shape[0] - 1, -1, -1)):
        before: np.ndarray | None = None
        for i in rows:
            row = far[i]
            if before is not None:
                np.minimum(row, before + _STEP, out=row)
                np.minimum(row[1:], before[:-1] + _DIAGONAL, out=row[1:])
                np.minimum(row[:-1], before[1:] + _DIAGONAL, out=row[:-1])
            for way in (slice(None), slice(None, None, -1)):
                turned = row[way]
                np.minimum(turned, np.minimum.accumulate(turned - ramp, axis=0) + ramp, out=turned)
            before = row
    return (far / _STEP).astype(np.float32)


def _factor(volume: Volume) -> Triple:
    """How coarse an image of that size and spacing is looked at."""
    shape, spacing = volume.grid.shape, volume.grid.spacing_mm
    in_plane = min(spacing[:2])
    finest = max(1, int(_COARSEST_MM / in_plane)) if volume.spacing_known else _MOST
    best = (1, 1, 1)
    for across in range(1, _MOST + 1):
        if across > 1 and (across > finest or min(shape[:2]) // across < _ACROSS):
            break
        along = across * in_plane / spacing[2] if volume.spacing_known else across
        best = (across, across, max(1, int(min(along, shape[2] // _SLICES))))
        cells = np.prod([np.ceil(n / f) for n, f in zip(shape, best, strict=True)])
        if cells <= (_FLAT_CELLS if shape[2] == 1 else _CELLS):
            break
    return best


def _coarse_image(image: Image, factor: Triple) -> Float32[np.ndarray, "C P Q R"]:
    """The image without its grain on the coarse grid: the mean of two voxels along each axis, then a light blur in plane."""
    for axis, step in sorted(enumerate(factor, start=1), key=lambda pair: pair[0] != 1):
        if step > 1:
            first = np.arange(0, image.shape[axis], step)
            second = np.minimum(first + step // 2, image.shape[axis] - 1)
            image = (np.take(image, first, axis) + np.take(image, second, axis)) * np.float32(0.5)
    sigma = 0.8 if factor[0] > 1 else 1.5
    return np.asarray(ndimage.gaussian_filter(image, (0.0, sigma, sigma, 0.0), truncate=3.0))


def _body(coarse: Float32[np.ndarray, "C P Q R"], unit: Unit) -> Coarse:
    bright = np.zeros(coarse.shape[1:], dtype=bool)
    for channel in coarse:
        if unit is Unit.HU:
            bright |= channel > _AIR_HU
        else:
            low, high = np.percentile(channel, (0.1, 99.9))
            bright |= channel > low + _BODY_LEVEL * (high - low)
    return _filled(_largest(bright))


def _lung(hu: Float32[np.ndarray, "P Q R"], body: Coarse, mm: float) -> Coarse:
    """Air-filled tissue under the body's skin, which is dark too where it is blurred into the air; its vessels and small nodules closed in."""
    width = 2 * round(_LUNG_GAP_MM / 2 / mm) + 1
    dark = body & (hu < _LUNG_HU)
    if width > 1:
        grown = ndimage.maximum_filter(dark, size=(width, width, 1))
        # beyond the image there may be more lung
        dark = ndimage.minimum_filter(grown, size=(width, width, 1), mode="nearest") & body
    return np.asarray(dark)


def _brain(coarse: Float32[np.ndarray, "C P Q R"], body: Coarse, mm: float) -> Coarse:
    """The largest part of the body once thin bridges are cut; of a skull-stripped image, nearly all of it."""
    if not body.any():
        return body
    level = np.zeros(body.shape, dtype=np.float32)
    for channel in coarse:
        low = float(channel.min())
        middle = float(np.median(channel[body]))
        level += np.clip((channel - low) / max(middle - low, 1e-6), 0.0, 2.0)
    bright = (level > _BRAIN_LEVEL * len(coarse)) & body
    width = 2 * max(1, round(_BRAIN_BRIDGE_MM / 2 / mm)) + 1
    core = _largest(ndimage.minimum_filter(bright, size=(width, width, 1)))
    grown = ndimage.maximum_filter(core, size=(width, width, 1)) & bright
    return _filled(grown)


def _largest(mask: Coarse) -> Coarse:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))


def _filled(mask: Coarse) -> Coarse:
    """Holes closed slice by slice: whatever cannot be reached from the border of its slice."""
    padded = np.pad(~mask, ((1, 1), (1, 1), (0, 0)), constant_values=True)
    parts, _ = ndimage.label(padded, NEIGHBOURS_4)
    outside = np.zeros(int(parts.max()) + 1, dtype=bool)
    outside[parts[0, 0]] = True
    return np.asarray(~outside[parts[1:-1, 1:-1]])


def _extent(body: Coarse, axis: int) -> tuple[int, int] | None:
    """Where the body begins and ends along an axis, unless the image cuts it off there."""
    if body.shape[axis] == 1:
        return None
    others = tuple(a for a in range(3) if a != axis)
    widest = max(1, int(body.any(axis=axis).sum()))
    covered = body.sum(axis=others) / widest
    hits = np.flatnonzero(covered)
    if hits.size == 0 or max(covered[0], covered[-1]) > _LOWEST_SHARE:
        return None
    return (int(hits[0]), int(hits[-1]) + 1)
