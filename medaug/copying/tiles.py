"""Cutting cases into tiles: what is searched, and what a query shows of its lesions and of its background.

Slices or volumes, by one rule: a case of at least 16 slices whose slices are at most twice as far apart as its pixels
is searched in volumes, all others slice by slice. Training cases are cut into tiles side by side, and a tile around
every lesion; a query shows one tile around each lesion, where only the lesion's surroundings count, and a few spread
over the case, where lesions do not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from medaug.copying.channels import Layout
from medaug.copying.imprint import Imprint
from medaug.copying.registration import filled
from medaug.core.assessment import Part
from medaug.core.volume import Mask

_SIDES: Final = {2: 64, 3: 32}
_SMALLEST_SIDE = 16
_FEWEST_SLICES, _WIDEST_RATIO = 16, 2.0
_SMALLEST_AREA, _SMALLEST_VOXELS = 12, 16
_QUERY_TILES, _SLICES_A_LESION = 4, 3
_LEAST_SEEN, _EVEN = 0.4, 1e-3
_CONNECTED = np.ones((3, 3, 3), dtype=bool)

Corner = tuple[int, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class QueryTile:
    """One tile of a query.

    Attributes:
        part: Of the case.
        image: (C, *S) float32; what does not count is filled in smoothly.
        seen: (*S) 1 where it counts.
        log_size: Of what counts: natural logarithm of voxels.
    """

    part: Part
    image: Tensor
    seen: Tensor
    log_size: float


def layout_of(case: Imprint) -> Layout:
    """Slices or volumes, and the side of a tile: 64 or 32 voxels, less where the images are smaller."""
    rows, columns, slices = case.lesion.shape
    across = case.spacing_mm[2] / max(min(case.spacing_mm[:2]), 1e-6)
    dims = 3 if slices >= _FEWEST_SLICES and across <= _WIDEST_RATIO else 2
    smallest = min(rows, columns, slices) if dims == 3 else min(rows, columns)
    side = min(_SIDES[dims], max(_SMALLEST_SIDE, smallest))
    return Layout(dims, side // 8 * 8)


def training_tiles(case: Imprint, layout: Layout) -> list[Float[np.ndarray, "C *S"]]:
    """All tiles of a training case."""
    found = [_cut(case.image, corner, layout) for corner in _corners(case.lesion.shape, layout)]
    for lesion in lesions_of(case.lesion):
        found += [_cut(case.image, corner, layout) for corner in _around(lesion, layout, _SLICES_A_LESION)]
    return [tile for tile in found if float(tile.std()) > _EVEN]


def query_tiles(case: Imprint, layout: Layout) -> list[QueryTile]:
    """The tiles that stand for a query's lesions and its background."""
    return [*_lesion_tiles(case, layout), *_background_tiles(case, layout)]


def _lesion_tiles(case: Imprint, layout: Layout) -> Iterator[QueryTile]:
    for lesion in drawn_lesions(case):
        if not can_be_judged(lesion):
            continue
        for corner in _around(lesion, layout, 1):
            shape = _cut(lesion, corner, layout)
            reach = layout.side / 4
            if case.edit_mask is None:
                # a copy brings its surroundings along; in a host they are the host's
                near = ndimage.distance_transform_edt(~shape) <= max(3.0, reach - _radius(shape))
            else:
                near = _cut(case.edit_mask, corner, layout)
            tile = _query("lesion", _cut(case.image, corner, layout), near)
            if tile is not None:
                yield tile


def _radius(shape: Bool[np.ndarray, "*S"]) -> float:
    count, dims = int(shape.sum()), shape.ndim
    return float((count / (np.pi if dims == 2 else 4.0 / 3.0 * np.pi)) ** (1.0 / dims))


def _background_tiles(case: Imprint, layout: Layout) -> list[QueryTile]:
    background = case.background
    found = []
    for corner in _corners(case.lesion.shape, layout):
        seen = _cut(background, corner, layout)
        if float(seen.mean()) >= _LEAST_SEEN:
            tile = _query("background", _cut(case.image, corner, layout), seen)
            found += [] if tile is None else [tile]
    if len(found) <= _QUERY_TILES:
        return found
    return [found[n * len(found) // _QUERY_TILES] for n in range(_QUERY_TILES)]


def _query(part: Part, image: Float[np.ndarray, "C *S"], near: Bool[np.ndarray, "*S"]) -> QueryTile | None:
    """A tile whose unseen voxels are filled in from those around them; None if it shows nothing."""
    if not near.any() or max(float(channel[near].std()) for channel in image) <= _EVEN:
        return None
    pixels = torch.as_tensor(np.ascontiguousarray(image), dtype=torch.float32)
    seen = torch.as_tensor(np.ascontiguousarray(near)).float()
    if not near.all():
        pixels = filled(pixels[None], seen[None])[0]
    return QueryTile(part, pixels, seen, float(np.log(near.sum())))


def lesions_of(chosen: Mask) -> list[Mask]:
    """The 26-connected parts of a mask."""
    if not chosen.any():
        return []
    numbered, count = ndimage.label(chosen, _CONNECTED)
    return [np.asarray(numbered == number) for number in range(1, count + 1)]


def drawn_lesions(case: Imprint) -> list[Mask]:
    """The lesions that were made: of an in-context case those that lie mostly in the edit mask."""
    if case.edit_mask is None:
        return lesions_of(case.lesion)
    edited = case.edit_mask
    inside = [
        one & edited for one in lesions_of(case.lesion) if 2 * int((one & edited).sum()) >= int(one.sum())
    ]
    return inside or lesions_of(case.lesion & edited)


def can_be_judged(lesion: Mask) -> bool:
    """Whether a lesion has enough voxels to be told from others."""
    return int(lesion.sum()) >= min(_SMALLEST_VOXELS, 4 * lesion.shape[2] + 8) and (
        int(lesion.sum(axis=(0, 1)).max()) >= _SMALLEST_AREA
    )


def _corners(shape: tuple[int, ...], layout: Layout) -> list[Corner]:
    """Where tiles begin, side by side and evenly; on every slice where slices are searched."""
    starts: list[Sequence[int]] = []
    for axis, extent in enumerate(shape):
        if layout.dims == 2 and axis == 2:
            starts.append(range(extent))
            continue
        count = max(1, -(-extent // layout.side))
        gap = max(0, extent - layout.side)
        starts.append([round(n * gap / max(1, count - 1)) for n in range(count)])
    return [(i, j, k) for k, i, j in itertools.product(starts[2], starts[0], starts[1])]


def _around(lesion: Mask, layout: Layout, slices: int) -> list[Corner]:
    """Corners of the tiles whose middle is the lesion's: one in space, or one on each of its largest slices."""
    if layout.dims == 3:
        middle = np.argwhere(lesion).mean(axis=0)
        i, j, k = (round(float(m) - (layout.side - 1) / 2) for m in middle)
        return [(i, j, k)]
    areas = lesion.sum(axis=(0, 1))
    corners: list[Corner] = []
    for k in np.argsort(-areas, kind="stable")[:slices]:
        if areas[k]:
            middle = np.argwhere(lesion[..., k]).mean(axis=0)
            i, j = (round(float(m) - (layout.side - 1) / 2) for m in middle)
            corners.append((i, j, int(k)))
    return corners


def _cut(array: np.ndarray, corner: Corner, layout: Layout) -> np.ndarray:
    """(C, I, J, K) or (I, J, K) to the tile at a corner; beyond the image its edge is repeated."""
    spans = [layout.side, layout.side, 1 if layout.dims == 2 else layout.side]
    lead = array.ndim - 3
    extents = array.shape[lead:]
    if all(a >= 0 and a + n <= extent for a, n, extent in zip(corner, spans, extents, strict=True)):
        i, j, k = (slice(start, start + span) for start, span in zip(corner, spans, strict=True))
        tile = array[..., i, j, k].copy()
        return np.asarray(tile[..., 0] if layout.dims == 2 else tile)
    places = [
        np.clip(np.arange(start, start + span), 0, extent - 1)
        for start, span, extent in zip(corner, spans, extents, strict=True)
    ]
    tile = array[np.ix_(*[np.arange(n) for n in array.shape[:lead]], *places)]
    return np.asarray(tile[..., 0] if layout.dims == 2 else tile)
