"""Writing in images: where it stands, told by the shape of its strokes alone; no model, no reading.

What is drawn into an image by a computer has sharp edges and one colour, so the box around a letter stays the same over many grey
levels (maximally stable regions: Matas et al., BMVC 2002; of text: Neumann and Matas, ACCV 2010). Letters stand in rows, of one height
and one brightness; speckle and anatomy do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

__all__ = ["Box", "find_writing", "letters_in", "rows_of", "shapes_of"]

# pixels of a letter at the scale at which it is looked for; larger writing is found in the image at a half
_LOWEST, _HIGHEST = 5, 48
_SCALES: Final = (1, 2)
_LEVELS: Final = tuple(range(20, 256, 12))
_STABLE_LEVELS, _SHARP_LEVELS = 3, 6
_MOST_SHAPES = 6000
_EVERYWHERE = np.ones((3, 3), dtype=bool)
# what is usual around a pixel, and how rough it is there: grey levels a unit of roughness becomes
_BLOCK, _NOISE, _LEAST_NOISE, _SMOOTH, _PER_NOISE, _FAINTEST = 32, 1.5, 2.0, 8.0, 15.0, 45.0
# a row of letters: how far apart, how unlike in height and brightness
_GAP, _HEIGHTS, _SPREAD, _FLAT = 1.1, 2.2, 20, 14
# colours that are drawn with: how often at least, how much more often than their like, how many are tried
_FEWEST_PIXELS, _SPIKE, _MOST_INKS, _APART = 40, 1.6, 4, 5
_FEW_OF_INK, _LEAST_OF_INK, _VERY_SHARP = 3, 5, 14
_PEAKS, _STRAIGHT = 40, 2.5
_SOLID, _FULL, _WORD, _LEAST_STROKES, _FEWEST_STROKES = 0.9, 0.7, 1.6, 0.7, 3
_LONGEST_WORD = 16
_LEVEL_WITH, _LEAST_IN_LINE, _CLOSE = 0.2, 0.65, 0.5
_ABOVE, _BESIDE = 0.35, 0.8

Shapes = Int[np.ndarray, "n 8"]
_TOP, _LEFT, _BOTTOM, _RIGHT, _AREA, _LEVEL, _RUN, _PEAK = range(8)
_NONE: Final = np.empty((0, 8), dtype=np.int64)


@final
@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A rectangle of pixels, from top and left up to but not with bottom and right."""

    top: int
    left: int
    bottom: int
    right: int

    def grown(self, margin: int, shape: tuple[int, int]) -> Box:
        """The rectangle with a margin, within an image."""
        return Box(
            max(self.top - margin, 0),
            max(self.left - margin, 0),
            min(self.bottom + margin, shape[0]),
            min(self.right + margin, shape[1]),
        )

    def scaled(self, factor: int) -> Box:
        """The rectangle in an image that is larger by a factor."""
        return Box(self.top * factor, self.left * factor, self.bottom * factor, self.right * factor)


def find_writing(image: UInt8[np.ndarray, "rows columns *samples"]) -> tuple[Box, ...]:
    """Boxes of all that looks written in an image, grey or RGB; some may overlap."""
    found: list[Box] = []
    samples = image[..., None] if image.ndim == 2 else image
    for colour in _inks(samples):
        found += _inked(_likeness(samples, colour))
    if image.ndim == 2:
        found += (box for plane in _above_noise(image) for box in _inked(plane))
    for plane in _planes(image):
        for scale in _SCALES:
            small = plane if scale == 1 else _reduced(plane, scale)
            if min(small.shape) < 4 * _LOWEST:
                break
            found += (box.scaled(scale) for box in _rows_in(small))
    shape = (image.shape[0], image.shape[1])
    return tuple(sorted({box.grown(0, shape) for box in found}))


def shapes_of(mask: Bool[np.ndarray, "rows columns"]) -> Shapes:
    """Connected shapes of a mask that have the size of letters or short words."""
    labels, count = ndimage.label(mask, structure=_EVERYWHERE)
    if not count:
        return _NONE
    return _measured(labels, count)[1]


def rows_of(shapes: Shapes) -> Iterator[Shapes]:
    """Shapes that stand side by side in a row, each as a table of its own."""
    height = shapes[:, _BOTTOM] - shapes[:, _TOP]
    shapes, height = shapes[height <= _HIGHEST], height[height <= _HIGHEST]
    if not len(shapes):
        return
    first, second = _neighbours(shapes, height)
    links = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(shapes), len(shapes)))
    count, group = connected_components(links, directed=False)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.cumsum(np.bincount(group, minlength=count))[:-1]):
        yield shapes[members]


def letters_in(row: Shapes) -> int:
    """How many shapes of a row look like letters, where they stand on one line; 0 where they do not."""
    height, width = row[:, _BOTTOM] - row[:, _TOP], row[:, _RIGHT] - row[:, _LEFT]
    letters = (row[:, _AREA] < _SOLID * height * width) & (width <= 2 * height)
    if not letters.any() or np.median(height) < _LOWEST or _in_line(row[letters]) < _LEAST_IN_LINE:
        return 0
    return int(letters.sum())


def _planes(image: UInt8[np.ndarray, "rows columns *samples"]) -> Iterator[UInt8[np.ndarray, "rows columns"]]:
    """Pictures in which writing is brighter than what it stands on: bright, dark, and coloured writing."""
    brightest, darkest = (image, image) if image.ndim == 2 else (image.max(axis=2), image.min(axis=2))
    yield brightest
    yield 255 - darkest
    if image.ndim == 3 and (brightest - darkest).max() >= _LEVELS[0]:
        yield brightest - darkest
        yield darkest
        yield 255 - brightest


def _above_noise(plane: UInt8[np.ndarray, "rows columns"]) -> Iterator[UInt8[np.ndarray, "rows columns"]]:
    """How far each pixel lies above, and below, what is usual around it: faint writing on smooth tissue."""
    shape = plane.shape
    blocks = np.pad(plane, [(0, -size % _BLOCK) for size in shape], mode="edge").astype(np.float32)
    rough = np.abs(blocks - ndimage.uniform_filter(blocks, 3))
    usual, noise = (_blockwise_median(values)[: shape[0], : shape[1]] for values in (blocks, rough))
    unit = _NOISE * noise + _LEAST_NOISE
    # speckle is no smooth tissue, and on plain black nothing is faint
    raised = np.where((unit <= _SMOOTH) & (usual > 0), _PER_NOISE * (plane - usual) / unit, 0)
    for side in (raised, -raised):
        yield np.asarray(np.clip(side - _FAINTEST, 0, 255).astype(np.uint8))


def _blockwise_median(values: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Medians of blocks, joined by straight lines."""
    rows, columns = values.shape
    blocks = values.reshape(rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
    medians = np.median(blocks.transpose(0, 2, 1, 3).reshape(rows // _BLOCK, columns // _BLOCK, -1), axis=2)
    return np.asarray(ndimage.zoom(medians, _BLOCK, order=1, mode="nearest", grid_mode=True))


def _likeness(
    samples: UInt8[np.ndarray, "rows columns samples"], colour: tuple[int, ...]
) -> UInt8[np.ndarray, "rows columns"]:
    """How like a colour each pixel is."""
    apart = np.abs(samples.astype(np.int16) - np.asarray(colour, dtype=np.int16)).max(axis=2)
    return np.asarray((255 - np.minimum(_APART * apart, 255)).astype(np.uint8))


def _inks(samples: UInt8[np.ndarray, "rows columns samples"]) -> list[tuple[int, ...]]:
    """Colours that stand out by how often they are used, the background's left out: those that a computer draws with."""
    flat = samples.reshape(-1, samples.shape[2]).astype(np.int64)
    codes = flat @ (1 << 8 * np.arange(flat.shape[1]))
    values, counts = np.unique(codes, return_counts=True)
    levels = values[:, None] >> 8 * np.arange(flat.shape[1]) & 255
    grey = levels.max(axis=1) == levels.min(axis=1)
    usual = np.full(len(values), max(_FEWEST_PIXELS, 4 * float(np.median(np.sort(counts)[-64:]))))
    curve = np.bincount(levels[grey, 0], weights=counts[grey], minlength=256)
    usual[grey] = np.maximum(_FEWEST_PIXELS, _SPIKE * ndimage.median_filter(curve, 9)[levels[grey, 0]])
    stands_out = (counts >= usual) & (counts <= len(codes) // 20) & (levels.max(axis=1) >= _LEVELS[0])
    order = np.argsort(-(counts / usual)[stands_out], kind="stable")[:_MOST_INKS]
    return [tuple(int(level) for level in one) for one in levels[stands_out][order]]


def _reduced(
    plane: UInt8[np.ndarray, "rows columns"], scale: int
) -> UInt8[np.ndarray, "fewer_rows fewer_columns"]:
    rows, columns = (size // scale * scale for size in plane.shape)
    blocks = plane[:rows, :columns].reshape(rows // scale, scale, columns // scale, scale)
    return np.asarray(blocks.mean(axis=(1, 3)).astype(np.uint8))


def _rows_in(plane: UInt8[np.ndarray, "rows columns"]) -> list[Box]:
    """Boxes of writing that is brighter than what it stands on, across and down."""
    shapes = _stable(plane)
    turned = shapes[:, [_LEFT, _TOP, _RIGHT, _BOTTOM, _AREA, _LEVEL, _RUN, _PEAK]]
    across = [row for row in rows_of(shapes) if _is_writing(row, plane)]
    down = [row for row in rows_of(turned) if _is_column(row, plane.T)]
    boxes = [box for row in across for box in _boxes_of(row, plane.shape)]
    on_side = [box for row in down for box in _boxes_of(row, plane.shape[::-1])]
    return boxes + [Box(box.left, box.top, box.right, box.bottom) for box in on_side]


def _inked(plane: UInt8[np.ndarray, "rows columns"]) -> list[Box]:
    """Boxes of writing in a plane in which tissue is bright, too: long rows, or very sharp ones."""
    rows = [row for row in rows_of(_stable(plane)) if letters_in(row) >= _FEW_OF_INK and _is_drawn(row)]
    sharp = ((row, float(np.median(row[:, _RUN]))) for row in rows)
    sure = (row for row, run in sharp if run >= (_SHARP_LEVELS if len(row) >= _LEAST_OF_INK else _VERY_SHARP))
    return [box for row in sure for box in _boxes_of(row, plane.shape)]


def _stable(plane: UInt8[np.ndarray, "rows columns"]) -> Shapes:
    """Shapes whose box hardly changes over several levels, each once, as it is at the highest of them."""
    done: list[Shapes] = []
    held = _NONE
    labels_below: Int[np.ndarray, "rows columns"] | None = None
    rank_below = np.empty(0, dtype=np.int64)
    for level in _LEVELS:
        labels, count = ndimage.label(plane >= level, structure=_EVERYWHERE)
        if not count:
            break
        rank, shapes = _measured(labels, count)
        shapes[:, _LEVEL] = level
        if labels_below is not None and len(shapes) and len(held):
            parent = rank_below[labels_below[_first_pixels(labels, rank, len(shapes))]]
            same = (parent >= 0) & _alike(shapes, held[parent])
            shapes[same, _RUN] = held[parent[same], _RUN] + 1
            ended = np.ones(len(held), dtype=bool)
            ended[parent[same]] = False
            held = held[ended]
        done.append(held[held[:, _RUN] >= _STABLE_LEVELS])
        held, labels_below, rank_below = shapes, labels, rank
    done.append(held[held[:, _RUN] >= _STABLE_LEVELS])
    found = np.concatenate(done)
    if len(found) > _MOST_SHAPES:
        found = found[np.argsort(-found[:, _RUN], kind="stable")[:_MOST_SHAPES]]
    found[:, _PEAK] = [plane[one[_TOP] : one[_BOTTOM], one[_LEFT] : one[_RIGHT]].max() for one in found]
    return found


def _measured(
    labels: Int[np.ndarray, "rows columns"], count: int
) -> tuple[Int[np.ndarray, " labels"], Shapes]:
    """For each label its row in the table of shapes, -1 for what is too small or too large; and the table."""
    area = np.bincount(labels.ravel(), minlength=count + 1)
    boxes = np.array(
        [(y.start, x.start, y.stop, x.stop) for y, x in ndimage.find_objects(labels)], dtype=np.int64
    )
    height, width = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    fits = (np.maximum(height, width) >= _LOWEST) & (np.minimum(height, width) <= _HIGHEST)
    fits &= (np.maximum(height, width) <= 24 * _HIGHEST) & (area[1:] >= 4)
    rank = np.full(count + 1, -1, dtype=np.int64)
    rank[1:][fits] = np.arange(int(fits.sum()))
    shapes = np.zeros((int(fits.sum()), 8), dtype=np.int64)
    shapes[:, :4], shapes[:, _AREA], shapes[:, _RUN] = boxes[fits], area[1:][fits], 1
    return rank, shapes


def _first_pixels(
    labels: Int[np.ndarray, "rows columns"], rank: Int[np.ndarray, " labels"], count: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Row and column of one pixel of each shape."""
    places = np.flatnonzero(labels)
    first = np.zeros(len(rank), dtype=np.int64)
    first[labels.ravel()[places]] = places
    found = np.zeros(count, dtype=np.int64)
    found[rank[rank >= 0]] = first[rank >= 0]
    row, column = np.unravel_index(found, labels.shape)
    return row, column


def _alike(shapes: Shapes, below: Shapes) -> Bool[np.ndarray, " n"]:
    """Whether each shape is as large as the one below it that it came out of."""
    size = (shapes[:, 2:4] - shapes[:, :2]).min(axis=1)
    moved = np.abs(shapes[:, :4] - below[:, :4]).max(axis=1)
    return np.asarray((moved <= np.maximum(1, size // 8)) & (2 * shapes[:, _AREA] >= below[:, _AREA]))


def _neighbours(
    shapes: Shapes, height: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Pairs of shapes that may be letters side by side."""
    order = np.argsort(shapes[:, _LEFT], kind="stable")
    left = shapes[order, _LEFT]
    reach = shapes[order, _RIGHT] + (_GAP * _HEIGHTS * height[order]).astype(np.int64)
    counts = np.maximum(np.searchsorted(left, reach, side="right") - np.arange(len(order)) - 1, 0)
    begins = np.repeat(np.cumsum(counts) - counts, counts)
    at = np.repeat(np.arange(len(order)), counts)
    first, second = order[at], order[at + 1 + np.arange(len(at)) - begins]
    one, other = shapes[first], shapes[second]
    low, high = np.minimum(height[first], height[second]), np.maximum(height[first], height[second])
    shared = np.minimum(one[:, _BOTTOM], other[:, _BOTTOM]) - np.maximum(one[:, _TOP], other[:, _TOP])
    fits = (high <= _HEIGHTS * low) & (2 * shared >= low)
    fits &= other[:, _LEFT] - one[:, _RIGHT] <= _GAP * high
    fits &= np.abs(one[:, _PEAK] - other[:, _PEAK]) <= _PEAKS
    apart = np.minimum(np.abs(one[:, _TOP] - other[:, _TOP]), np.abs(one[:, _BOTTOM] - other[:, _BOTTOM]))
    fits &= apart <= np.maximum(1, _LEVEL_WITH * high)
    return first[fits], second[fits]


def _is_writing(row: Shapes, plane: UInt8[np.ndarray, "rows columns"]) -> bool:
    height, width = row[:, _BOTTOM] - row[:, _TOP], row[:, _RIGHT] - row[:, _LEFT]
    if np.median(height) < _LOWEST:
        return False
    bars = row[:, _AREA] >= _SOLID * height * width
    sharp = row[:, _RUN] >= _SHARP_LEVELS
    words = (
        ~bars
        & sharp
        & (width >= _WORD * height)
        & (width <= _LONGEST_WORD * height)
        & (row[:, _AREA] <= _FULL * height * width)
    )
    if any(_strokes(one, plane) >= _LEAST_STROKES for one in row[words]):
        return True
    letters = ~bars & (width <= 2 * height)
    if len(row) < 2 or letters.sum() < 2:
        return False
    if letters.sum() == 2:
        return bool((sharp & letters).sum() == 2)
    if _in_line(row[letters]) < _LEAST_IN_LINE:
        return False
    return _is_plain(row, plane) or _is_drawn(row[letters])


def _is_drawn(letters: Shapes) -> bool:
    """Whether letters on what is not plain are of one colour, sharp, and as close as letters are."""
    by_left = letters[np.argsort(letters[:, _LEFT], kind="stable")]
    gap = float(np.median(by_left[1:, _LEFT] - by_left[:-1, _RIGHT]))
    tall = float(np.median(letters[:, _BOTTOM] - letters[:, _TOP]))
    is_sharp = np.median(letters[:, _RUN]) >= _SHARP_LEVELS - min(2, len(letters) // 4)
    return bool(gap <= _CLOSE * tall and is_sharp) and _one_colour(letters)


def _is_column(row: Shapes, plane: UInt8[np.ndarray, "rows columns"]) -> bool:
    """Whether a row of an image on its side is writing; marks of a scale stand apart, letters close together."""
    gaps = np.sort(row[:, _LEFT])[1:] - np.sort(row[:, _RIGHT])[:-1]
    height = float(np.median(row[:, _BOTTOM] - row[:, _TOP]))
    return len(row) >= 4 and np.median(gaps) <= height / 2 and _is_writing(row, plane)


def _in_line(row: Shapes) -> float:
    """Share of the letters that stand on one line, or hang from one."""
    near = np.maximum(1, 0.1 * np.median(row[:, _BOTTOM] - row[:, _TOP]))
    stand, hang = (np.abs(row[:, side] - np.median(row[:, side])) <= near for side in (_BOTTOM, _TOP))
    return float(max(stand.mean(), hang.mean()))


def _one_colour(row: Shapes) -> bool:
    low, high = np.percentile(row[:, _PEAK], (10, 90))
    return bool(high - low <= _SPREAD)


def _is_plain(row: Shapes, plane: UInt8[np.ndarray, "rows columns"]) -> bool:
    """Whether what lies around the letters has one brightness."""
    top, left = row[:, _TOP].min(), row[:, _LEFT].min()
    inside = plane[top : row[:, _BOTTOM].max(), left : row[:, _RIGHT].max()]
    low, middle = np.percentile(inside, (5, 40))
    return float(middle - low) <= _FLAT


def _strokes(shape: Int[np.ndarray, " 8"], plane: UInt8[np.ndarray, "rows columns"]) -> float:
    """How many strokes a line through a joined word crosses, over its width in heights."""
    inside = plane[shape[_TOP] : shape[_BOTTOM], shape[_LEFT] : shape[_RIGHT]] >= shape[_LEVEL]
    begun = np.count_nonzero(inside[:, 1:] & ~inside[:, :-1], axis=1) + inside[:, 0]
    crossed = float(np.median(begun))
    return crossed * inside.shape[0] / inside.shape[1] if crossed >= _FEWEST_STROKES else 0.0


def _boxes_of(row: Shapes, shape: tuple[int, ...]) -> list[Box]:
    """One box around a straight row, around each letter of a crooked one; wide, for marks at the ends may not look like letters."""
    top, left, bottom, right = row[:, _TOP], row[:, _LEFT], row[:, _BOTTOM], row[:, _RIGHT]
    tall = float(np.median(bottom - top))
    above, beside = max(2, round(_ABOVE * tall)), max(2, round(_BESIDE * tall))
    whole = np.array([[top.min(), left.min(), bottom.max(), right.max()]])
    boxes = whole if bottom.max() - top.min() <= _STRAIGHT * tall else row[:, :4]
    return [
        Box(
            max(up - above, 0),
            max(first - beside, 0),
            min(down + above, shape[0]),
            min(last + beside, shape[1]),
        )
        for up, first, down, last in boxes.tolist()
    ]
