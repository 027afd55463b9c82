"""Images of one anatomy under two names: fingerprints, near ones among them, and a test of two images.

Every case leaves a fingerprint of 14 kB. Their coarse patterns are compared as vectors, in all eight flips; the few near
ones are compared block by block, first the fingerprints, then the images. Blocks may move a little, and all the same
way: that finds noise, contrast, small crops, shifts and resampling, while the detail of another patient does not fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage

from medaug.core.volume import Unit, Volume

SIDE = 24
_HU_WINDOW = (-1024.0, 1500.0)
_POOLED, _DETAIL = 8, 5
_NEAREST, _LEAST_PATTERN, _ENOUGH_FOR_MEAN = 4, 0.3, 16
# measured: other patients reach 0.72, copies with noise, crop, shift or another contrast 0.76 and more
_ALIKE, _PROMISING = 0.75, 0.76
# where all images follow one template (registered, simulated) other patients reach 0.92
_TEMPLATE = (0.6, 0.9)
_ALIKE_BY_TEMPLATE, _PROMISING_BY_TEMPLATE = 0.2, 0.2
_SAMPLED, _ENOUGH_FOR_TEMPLATE = 32, 4
_ROWS = 128

Flip = tuple[bool, bool, bool]
FLIPS: Final[tuple[Flip, ...]] = tuple(itertools.product((False, True), (False, True), (False, True)))
UPRIGHT: Final[Flip] = (False, False, False)
Thumb = UInt8[np.ndarray, "24 24 24"]
Loader = Callable[[int], Float32[np.ndarray, "I J K"]]


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """Two cases whose images show the same.

    Attributes:
        first: Number of the one that stands first.
        second: Number of the other.
        flip: Which axes (I, J, K) of the first are flipped to fit the second.
        likeness: Mean normalised cross-correlation of their blocks, at most 1.
        upright: The same without a flip.
        is_sure: Whether it is far above what other patients reach.
    """

    first: int
    second: int
    flip: Flip
    likeness: float
    upright: float
    is_sure: bool


@final
@dataclass(frozen=True, slots=True)
class _Matcher:
    """How two images of one grid are compared.

    Attributes:
        grid: The grid both are shrunk or stretched to.
        block: Size of a block; divides the grid.
        reach: How far a block may move.
        window: What is coarser than this is no detail.
    """

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    reach: tuple[int, int, int]
    window: int

    def detail(self, image: np.ndarray) -> Float32[np.ndarray, "I J K"]:
        """Fine structure of an image of values 0 to 1 on the grid."""
        values = np.asarray(image, dtype=np.float32)
        return np.asarray(values - ndimage.uniform_filter(values, self.window), dtype=np.float32)

    def likeness(self, first: np.ndarray, second: np.ndarray) -> float:
        """Mean over the blocks of the best correlation within one voxel of the movement that suits all of them.

        Lewis, Fast Normalized Cross-Correlation, 1995; blocks weigh by the fourth root of their variance, so that
        flat ones count little.
        """
        blocks = first.reshape([n for pair in zip(self._counts, self.block, strict=True) for n in pair])
        blocks = blocks.transpose(0, 2, 4, 1, 3, 5).reshape(-1, *self.block)
        blocks = blocks - blocks.mean(axis=(1, 2, 3), keepdims=True)
        padded = np.pad(second, [(r, r) for r in self.reach], mode="edge")
        size = tuple(b + 2 * r for b, r in zip(self.block, self.reach, strict=True))
        steps = tuple(slice(None, None, b) for b in self.block)
        windows = sliding_window_view(padded, size)[steps].reshape(-1, *size)
        box, voxels = np.ones((1, *self.block), dtype=np.float32), float(np.prod(self.block))
        sums = self._correlate(windows, box)
        spread = np.maximum(self._correlate(windows * windows, box) - sums * sums / voxels, 0)
        energy = np.square(blocks).sum(axis=(1, 2, 3))
        scale = np.sqrt(spread * energy[:, None, None, None])
        fit = self._correlate(windows, blocks) / np.maximum(scale, 1e-3)
        weights = energy**0.25
        weights = weights / max(float(weights.sum()), 1e-9)
        together = np.tensordot(weights, fit, axes=1)
        near = np.tensordot(weights, ndimage.maximum_filter(fit, (1, 3, 3, 3)), axes=1)
        return float(near[np.unravel_index(int(together.argmax()), together.shape)])

    @property
    def _counts(self) -> tuple[int, int, int]:
        i, j, k = (n // b for n, b in zip(self.grid, self.block, strict=True))
        return i, j, k

    def _correlate(self, windows: np.ndarray, blocks: np.ndarray) -> np.ndarray:
        """Every block against every place of its window."""
        size, axes = windows.shape[1:], (1, 2, 3)
        spectrum = fft.rfftn(windows, axes=axes) * np.conj(fft.rfftn(blocks, s=size, axes=axes))
        valid = tuple(slice(0, 2 * r + 1) for r in self.reach)
        return np.asarray(fft.irfftn(spectrum, s=size, axes=axes)[(slice(None), *valid)])


_COARSE: Final = _Matcher((SIDE, SIDE, SIDE), (8, 8, 8), (2, 2, 2), 9)
_FINE: Final = _Matcher((48, 48, 24), (12, 12, 8), (3, 3, 2), 7)


def windowed(volume: Volume) -> Float32[np.ndarray, "I J K"]:
    """The first channel, padding of CT clipped away."""
    image = volume.image[0]
    return np.asarray(np.clip(image, *_HU_WINDOW) if volume.unit is Unit.HU else image)


def fingerprint(image: Float32[np.ndarray, "I J K"]) -> Thumb:
    """The image on a grid of 24 x 24 x 24 over its whole extent, its 1st to 99th percentile as 0 to 255."""
    return np.round(_on_grid(image, _COARSE.grid) * 255).astype(np.uint8)


def _on_grid(image: np.ndarray, grid: tuple[int, int, int]) -> Float32[np.ndarray, "I J K"]:
    """Area means on a grid, percentiles 1 and 99 as 0 and 1."""
    shrunk = image
    for axis, count in enumerate(grid):
        shrunk = np.moveaxis(_area_means(np.moveaxis(shrunk, axis, 0), count), 0, axis)
    low, high = (float(value) for value in np.percentile(shrunk, (1, 99)))
    return np.clip((shrunk - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def _area_means(rows: np.ndarray, count: int) -> np.ndarray:
    """Means of the first axis over ``count`` equal stretches."""
    size = rows.shape[0]
    edges = np.linspace(0, size, count + 1)
    whole = np.minimum(edges.astype(int), size - 1)
    part = (edges - whole).reshape(-1, *[1] * (rows.ndim - 1))
    sums = np.concatenate(
        [np.zeros_like(rows[:1], dtype=np.float64), np.cumsum(rows, axis=0, dtype=np.float64)]
    )
    at_edges = sums[whole] * (1 - part) + sums[whole + 1] * part
    return np.asarray(np.diff(at_edges, axis=0) * (count / size))


def near_pairs(thumbs: Sequence[Thumb], load: Loader, tick: Callable[[], None]) -> Iterator[Pair]:
    """Pairs of images that show the same, each once.

    Args:
        thumbs: A fingerprint a case.
        load: The image of a case, as :func:`windowed` gives it; called for promising pairs only.
        tick: Called once a case.

    Yields:
        Pairs whose images are alike, in order of their numbers.
    """
    candidates = _candidates(thumbs)
    limits = _Limits.of(thumbs)
    found = []
    for first in range(len(thumbs)):
        for second, flip in candidates.get(first, ()):
            promise = _COARSE.likeness(_detail(thumbs[first], flip), _detail(thumbs[second], UPRIGHT))
            pair = _verified(first, second, flip, limits, load) if promise > limits.promising else None
            if pair is not None:
                found.append(pair)
        tick()
    yield from sorted(found, key=lambda pair: (pair.second, pair.first))


@final
@dataclass(frozen=True, slots=True)
class _Limits:
    """From which likeness on fingerprints are promising, and images alike."""

    promising: float
    alike: float

    @staticmethod
    def of(thumbs: Sequence[Thumb]) -> _Limits:
        """Higher where the images of a set follow one template, seen by the likeness of pairs that nothing chose."""
        count, usual = len(thumbs), 0.0
        if count >= _ENOUGH_FOR_TEMPLATE:
            pairs = _unchosen_pairs(count)
            details = {n: _detail(thumbs[n], UPRIGHT) for pair in pairs for n in pair}
            usual = float(np.median([_COARSE.likeness(details[a], details[b]) for a, b in pairs]))
        share = float(np.clip((usual - _TEMPLATE[0]) / (_TEMPLATE[1] - _TEMPLATE[0]), 0, 1))
        return _Limits(_PROMISING + share * _PROMISING_BY_TEMPLATE, _ALIKE + share * _ALIKE_BY_TEMPLATE)


def _unchosen_pairs(count: int) -> list[tuple[int, int]]:
    """All pairs of a few cases, else some of cases that stand far apart, since neighbours may be of one patient.

    At several distances, since a set that was taken in twice holds every case again half way on.
    """
    if count * (count - 1) // 2 <= _SAMPLED:
        return list(itertools.combinations(range(count), 2))
    distances = (count // 2 - 1, count // 3 + 1, 2 * count // 5)
    step = -(-count * len(distances) // _SAMPLED)
    return [(n, (n + far) % count) for far in distances for n in range(0, count, step)]


def _detail(thumb: Thumb, flip: Flip) -> Float32[np.ndarray, "I J K"]:
    return _COARSE.detail(_flipped(thumb.astype(np.float32) / 255, flip))


def _verified(first: int, second: int, flip: Flip, limits: _Limits, load: Loader) -> Pair | None:
    """Compare the images themselves."""
    one, other = (_FINE.detail(_on_grid(load(number), _FINE.grid)) for number in (first, second))
    likeness = _FINE.likeness(_flipped(one, flip), other)
    if likeness < limits.alike:
        return None
    upright = likeness if flip == UPRIGHT else _FINE.likeness(one, other)
    if upright >= likeness:
        flip, likeness = UPRIGHT, upright
    return Pair(first, second, flip, likeness, upright, likeness >= (1 + limits.alike) / 2)


def _candidates(thumbs: Sequence[Thumb]) -> dict[int, list[tuple[int, Flip]]]:
    """For each case the later ones with a near pattern in some flip: those among its nearest, or it among theirs."""
    pairs: dict[tuple[int, int], Flip] = {}
    for one, other, flip in _nearest(thumbs):
        pairs.setdefault((min(one, other), max(one, other)), flip)
    grouped: dict[int, list[tuple[int, Flip]]] = {}
    for (first, second), flip in sorted(pairs.items()):
        grouped.setdefault(first, []).append((second, flip))
    return grouped


def _nearest(thumbs: Sequence[Thumb]) -> Iterator[tuple[int, int, Flip]]:
    """The nearest few of each case whose patterns correlate at all, and the flip that brings one onto the other.

    A flip undoes itself, so that it does not matter which of the two is flipped.
    """
    if len(thumbs) < 2:
        return
    patterns = _patterns(np.stack(thumbs))
    mean = patterns.mean(axis=0) if len(thumbs) >= _ENOUGH_FOR_MEAN else np.zeros_like(patterns[0])
    targets = _unit_vectors(patterns - mean)
    for start in range(0, len(thumbs), _ROWS):
        rows = patterns[start : start + _ROWS]
        alike = np.stack([_unit_vectors(_flipped(rows, flip) - mean) @ targets.T for flip in FLIPS])
        best, which = alike.max(axis=0), alike.argmax(axis=0)
        best[np.arange(len(rows)), start + np.arange(len(rows))] = -1
        nearest = np.argpartition(best, -min(_NEAREST, len(thumbs)), axis=1)[:, -_NEAREST:]
        for row, other in itertools.product(range(len(rows)), range(nearest.shape[1])):
            at = (row, int(nearest[row, other]))
            if best[at] > _LEAST_PATTERN:
                yield start + row, at[1], FLIPS[which[at]]


def _patterns(thumbs: UInt8[np.ndarray, "n 24 24 24"]) -> Float32[np.ndarray, "n 8 8 8"]:
    """Coarse detail of every fingerprint."""
    each = SIDE // _POOLED
    shape = (len(thumbs), _POOLED, each, _POOLED, each, _POOLED, each)
    pooled = thumbs.reshape(shape).mean(axis=(2, 4, 6), dtype=np.float32)
    return np.asarray(pooled - ndimage.uniform_filter(pooled, (0, _DETAIL, _DETAIL, _DETAIL)))


def _unit_vectors(patterns: np.ndarray) -> Float32[np.ndarray, "n v"]:
    flat = patterns.reshape(len(patterns), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def _flipped(images: np.ndarray, flip: Flip) -> np.ndarray:
    """The last three axes, flipped where it says so."""
    i, j, k = (-1 if turned else 1 for turned in flip)
    return np.asarray(images[..., ::i, ::j, ::k])


def sidedness(thumbs: Sequence[Thumb]) -> Float[np.ndarray, " n"]:
    """How much better each image fits the mean of the others as it is than mirrored left to right, in correlation."""
    stack = np.stack(thumbs).astype(np.float32)
    vectors = _unit_vectors(stack)
    mirrored = _unit_vectors(stack[:, ::-1])
    # both sums leave out the case itself
    upright = vectors @ vectors.sum(axis=0) - np.einsum("nv,nv->n", vectors, vectors)
    turned = vectors @ mirrored.sum(axis=0) - np.einsum("nv,nv->n", vectors, mirrored)
    return np.asarray((upright - turned) / max(len(thumbs) - 1, 1), dtype=np.float64)
