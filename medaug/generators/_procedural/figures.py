"""The few numbers that a hand-crafted lesion is made of, measured on a real one.

For each channel, in normalised units unless said otherwise:

``level``    mean over the lesion (less ``anchor`` times the median of the tissue around it, see ``laws``);
``profile``  mean of each quarter of the depth (outline to deepest voxel) less the mean over the lesion, four numbers;
``halo``     share of the outline's contrast that is left one voxel outside;
``rim``      logarithm of the deviation of the texture (what the profile leaves, less the fine noise of the scan) in the
             outer half of the depth, where the true outline runs beside the drawn one;
``core``     the same in the inner half;
``grain``    logarithm of the texture's grain in mm: the ``s`` of a correlation ``exp(-x^2 / 4 s^2)`` at distance ``x``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float

from medaug.core.volume import Image, Mask
from medaug.generators._procedural.region import Region
from medaug.lesions.harmonise import fine_part, robust_deviation

LEVEL, PROFILE, HALO, RIM, CORE, GRAIN = 0, slice(1, 5), 5, 6, 7, 8
COUNT: Final = 9
_QUARTERS = (np.arange(4) + 0.5) / 4
_HALF = 0.5
_LEAST_OWN = 0.05  # of the variance: no texture is noise of the scan alone
_CORRELATIONS = (0.6, 0.97)  # of neighbours; a scanner's point spread lets no texture be finer
_BELIEF = 8  # voxels' worth of belief that rim and core vary alike
_FEW_PAIRS = 8


@final
@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The figures of one lesion.

    Attributes:
        figures: (C, 9) in the order of the module; ``level`` is not anchored yet.
        around: (C,) median of the tissue around it.
        correlation: (C, C) of the texture between channels.
    """

    figures: Float[np.ndarray, "C 9"]
    around: Float[np.ndarray, " C"]
    correlation: Float[np.ndarray, "C C"]


def measure(image: Image, mask: Mask, others: Mask, spacing_mm: tuple[float, float, float]) -> Measured:
    """The figures of a lesion.

    Args:
        image: (C, I, J, K) normalised units.
        mask: (I, J, K) the lesion.
        others: (I, J, K) other lesions, left out of its surroundings.
        spacing_mm: Of the patch.

    Raises:
        GeometryError: If the mask is empty.
    """
    region = Region.around(mask, spacing_mm)
    part = region.cut(image).astype(np.float64)
    ring = region.ring & ~others[region.window]
    ring = ring if ring.any() else region.ring
    inside = part[:, region.mask]
    around = np.median(part[:, ring], axis=1)
    level = inside.mean(axis=1)
    profile = _profile(inside - level[:, None], region.depth[region.mask])
    rest = np.zeros_like(part)
    rest[:, region.mask] = inside - level[:, None] - depth_profile(profile, region.depth[region.mask])
    variance = rest[:, region.mask].var(axis=1) + 1e-8
    noise = robust_deviation(fine_part(part)[:, ring]) ** 2
    own = np.maximum(variance - noise, _LEAST_OWN * variance)
    is_core = region.depth[region.mask] >= _HALF
    figures = np.empty((len(part), COUNT))
    figures[:, LEVEL], figures[:, PROFILE] = level, profile
    figures[:, HALO] = _halo(part, region, level + profile[:, 0], around)
    for column, voxels in ((RIM, ~is_core), (CORE, is_core)):
        squares = (rest[:, region.mask][:, voxels] ** 2).sum(axis=1) + _BELIEF * variance
        there = squares / (int(voxels.sum()) + _BELIEF)
        figures[:, column] = 0.5 * np.log(np.maximum(there - noise, _LEAST_OWN * there))
    correlation = np.clip(_neighbours(rest, region.mask) * variance / own, *_CORRELATIONS)
    figures[:, GRAIN] = np.log(min(spacing_mm[:2]) * np.sqrt(-0.25 / np.log(correlation)))
    return Measured(figures, around, _correlation(rest[:, region.mask]))


def _correlation(rest: Float[np.ndarray, "C N"]) -> Float[np.ndarray, "C C"]:
    """Correlation of the channels; none with a channel that does not vary."""
    centred = rest - rest.mean(axis=1, keepdims=True)
    unit = centred / (np.sqrt((centred**2).sum(axis=1, keepdims=True)) + 1e-9)
    between = unit @ unit.T
    np.fill_diagonal(between, 1.0)
    return np.asarray(between)


def depth_profile(profile: Float[np.ndarray, "C 4"], depth: Float[np.ndarray, "*S"]) -> np.ndarray:
    """(C, *S) the profile at each depth: straight lines between the middles of the quarters."""
    return np.stack([np.interp(depth, _QUARTERS, row) for row in profile])


def _profile(centred: Float[np.ndarray, "C N"], depth: Float[np.ndarray, " N"]) -> Float[np.ndarray, "C 4"]:
    """Mean of each quarter of the depth; a quarter without voxels takes what lies between its neighbours."""
    quarter = np.minimum((depth * 4).astype(int), 3)
    count = np.bincount(quarter, minlength=4)
    known = np.flatnonzero(count)
    rows = []
    for channel in centred:
        sums = np.bincount(quarter, weights=channel, minlength=4)
        rows.append(np.interp(np.arange(4), known, sums[known] / count[known]))
    return np.stack(rows)


def _halo(
    part: Image, region: Region, outline: Float[np.ndarray, " C"], around: Float[np.ndarray, " C"]
) -> Float[np.ndarray, " C"]:
    """Share of the contrast left in the first voxel outside; 0.3 where there is no contrast to speak of."""
    first = (region.outside > 0) & (region.outside < 1.5)
    if not first.any():
        return np.full(len(part), 0.3)
    contrast = outline - around
    left = np.median(part[:, first], axis=1) - around
    known = np.abs(contrast) > 0.05
    share = np.where(known, left / np.where(known, contrast, 1.0), 0.3)
    return np.clip(share, 0.0, 0.8)


def _neighbours(rest: Float[np.ndarray, "C I J K"], mask: Mask) -> Float[np.ndarray, " C"]:
    """Correlation of neighbouring voxels in plane; 0.5 where the lesion is too small to tell."""
    product, square, pairs = np.zeros(len(rest)), np.zeros(len(rest)), 0
    for here, there in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        both = mask[here] & mask[there]
        one, other = rest[(slice(None), *here)][:, both], rest[(slice(None), *there)][:, both]
        product += (one * other).sum(axis=1)
        square += 0.5 * (one**2 + other**2).sum(axis=1)
        pairs += int(both.sum())
    return np.where(pairs < _FEW_PAIRS, 0.5, product / (square + 1e-12))
