"""Clean Pixel Data (PS3.15 E.3.1): writing in pixels is found and blanked, and what cannot be judged is held back.

Outside what is blanked not one stored value changes. Where writing may stand is told by shape alone (:mod:`writing`); what a file says
of itself counts only where it says that there is writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import ndimage

from medaug.core.errors import IdentifierError
from medaug.privacy._deidentify.codecs import silenced
from medaug.privacy._deidentify.frames import (
    Layout,
    Shown,
    Values,
    black,
    read_values,
    replaced,
    shown,
    write_values,
)
from medaug.privacy._deidentify.hidden import without_hidden
from medaug.privacy._deidentify.stream import PIXEL_DATA, Element, Stream
from medaug.privacy._deidentify.writing import Box, find_writing, letters_in, rows_of, shapes_of

_IMAGE_TYPE, _BURNED_IN, _LOSSY = 0x00080008, 0x00280301, 0x00282110
_REGIONS: Final = 0x00186011
_REGION_SIDES: Final = (0x0018601A, 0x00186018, 0x0018601E, 0x0018601C)
_LOSSY_SYNTAXES: Final = frozenset(
    f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 81, 91, 93, 203)
)
# frames of many that are searched one by one, besides the brightest and the darkest of all
_ALONE, _SAMPLED = 4, 6
_MOST_BLANKED, _LEAST_REGION, _MOST_REGION = 0.25, 0.1, 0.95
# of a row in plain CT or MR: letters, pixels of one value, and how many of all
_LEAST_LETTERS, _FEWEST, _MOST = 5, 24, 0.04
# kinds whose values are labels or doses
_NO_PICTURES: Final = frozenset({"SEG", "RTDOSE"})

_REASONS: Final = {
    "pixels-not-decoded": "pixels of a form that is not known",
    "writing-all-over": "writing nearly everywhere, or what looks like it",
    "writing-not-found": "writing, as it says itself, and none was found",
    "burned-in-text-suspected": "what looks like writing, in an image of a kind that seldom has any",
}

Reader = Callable[[Shown], tuple[Box, ...]]
Mask = Bool[np.ndarray, "rows columns"]


@final
@dataclass(frozen=True, slots=True)
class Looked:
    """A file after its pixels were looked at.

    Attributes:
        stream: As it may go on.
        boxes: Places that were blanked; None where writing was not searched and blanked.
        spared: Places within ultrasound regions that look like writing and stay.
    """

    stream: Stream
    boxes: int | None = None
    spared: int = 0


def clean_pixels(stream: Stream, reader: Reader | None = None) -> Looked:
    """A file whose pixels may carry writing, without it.

    What lies in declared ultrasound regions stays bit for bit, unless a reader looks at it as well.

    Args:
        stream: The file.
        reader: Finds more boxes; that it finds none means nothing.

    Raises:
        IdentifierError: If it cannot be made safe.
        UnreadableError: If its pixels are cut short.
    """
    pixels = _pixels(stream)
    if pixels is None:
        raise _held("pixels-not-decoded")
    values, layout = read_values(stream, pixels)
    values, was_hidden = without_hidden(stream, values, layout)
    outside, written = _outside(stream, values), _written(stream, values, layout, reader)
    spared = 0
    if reader is None and outside.any():
        spared, written = int(ndimage.label(written & ~outside)[1]), written & outside
    boxes = int(ndimage.label(written & ~outside)[1])
    if (written & ~outside).mean() > _MOST_BLANKED:
        raise _held("writing-all-over")
    boxes += _blank(stream, values, layout, outside | written, outside)
    if not boxes and _text(stream, _BURNED_IN) == "YES":
        raise _held("writing-not-found")
    if boxes or was_hidden:
        changed = _changed(write_values(stream, values, layout), stream, is_derived=boxes > 0)
        return Looked(changed, boxes, spared)
    return Looked(_stated(silent(stream)), 0, spared)


def check_pixels(stream: Stream) -> Looked:
    """A file of a kind that seldom carries writing, without what is hidden beside its pixels.

    Raises:
        IdentifierError: If writing was drawn into it all the same.
        UnreadableError: If its pixels are cut short.
    """
    pixels = _pixels(stream)
    if pixels is None or _text(stream, 0x00080060) in _NO_PICTURES:
        return Looked(silent(stream))
    values, layout = read_values(stream, pixels)
    values, was_hidden = without_hidden(stream, values, layout)
    if any(_is_written_upon(frame[..., 0]) for frame in values):
        raise _held("burned-in-text-suspected")
    if was_hidden:
        return Looked(_changed(write_values(stream, values, layout), stream, is_derived=False))
    return Looked(silent(stream))


def silent(stream: Stream) -> Stream:
    """A file without what a codec carries besides pixels (:mod:`codecs`).

    Raises:
        IdentifierError: If the codec is not known, or its stream makes no sense.
    """
    pixels = _pixels(stream)
    if pixels is None or not pixels.is_encapsulated:
        return stream
    value = silenced(pixels.value, stream.syntax.uid)
    return replaced(stream, {PIXEL_DATA: replace(pixels, value=value)}, set())


def _pixels(stream: Stream) -> Element | None:
    return next((element for element in stream.elements if element.tag == PIXEL_DATA), None)


def _written(stream: Stream, values: Values, layout: Layout, reader: Reader | None) -> Mask:
    """Pixels of all boxes around writing, in any frame."""
    mask = np.zeros(values.shape[1:3], dtype=bool)
    for window in shown(stream, values, layout):
        for picture in _pictures(window, len(values)):
            for box in (*find_writing(picture), *(reader(picture) if reader is not None else ())):
                mask[box.top : box.bottom, box.left : box.right] = True
    return mask


def _pictures(frames: Iterator[Shown], count: int) -> Iterator[Shown]:
    """What is searched: each frame of a few; of many the brightest and darkest of all at each pixel, and some alone.

    Writing that stays is in the darkest, where speckle is dim; white writing of one frame is in the brightest.
    """
    sampled = set(np.linspace(0, count - 1, _SAMPLED).astype(int).tolist())
    brightest: Shown | None = None
    darkest: Shown | None = None
    for number, frame in enumerate(frames):
        if count <= _ALONE or number in sampled:
            yield frame
        brightest = frame if brightest is None else np.maximum(brightest, frame)
        darkest = frame if darkest is None else np.minimum(darkest, frame)
    if count > _ALONE and brightest is not None and darkest is not None:
        yield brightest
        yield darkest


def _outside(stream: Stream, values: Values) -> Mask:
    """Pixels outside all declared regions of an ultrasound image (PS3.3 C.8.5.5); none where the regions are not credible."""
    none = np.zeros(values.shape[1:3], dtype=bool)
    found = next((element.items for element in stream.elements if element.tag == _REGIONS), None)
    if not found:
        return none
    outside = ~none
    for item in found:
        number = {
            element.tag: int.from_bytes(element.value[:4], "big" if stream.syntax.is_big else "little")
            for element in item
        }
        top, left, bottom, right = (number.get(tag, -1) for tag in _REGION_SIDES)
        if not (0 <= top < bottom <= len(outside) and 0 <= left < right <= len(outside.T)):
            return none
        outside[top : bottom + 1, left : right + 1] = False
    shows = (values != values[:1, :1, :1]).any(axis=(0, 3))
    is_credible = (
        _LEAST_REGION <= (~outside).mean() <= _MOST_REGION
        and (shows & outside).sum() <= (shows & ~outside).sum()
    )
    return outside if is_credible else none


def _blank(stream: Stream, values: Values, layout: Layout, mask: Mask, outside: Mask) -> int:
    """Blank pixels of all frames in place; 1 where something stood outside the regions, else 0."""
    colour = np.array(black(stream, values, layout), dtype=values.dtype)
    found = bool((values[:, outside] != colour).any())
    values[:, mask] = colour
    return int(found)


def _changed(stream: Stream, before: Stream, *, is_derived: bool) -> Stream:
    """What the header says of changed pixels: derived, and lossy once lossy (PS3.3 C.7.6.1.1.2, C.7.6.1.1.5)."""
    made = {}
    kind = next((element for element in stream.elements if element.tag == _IMAGE_TYPE), None)
    if is_derived and kind is not None:
        made[_IMAGE_TYPE] = replace(kind, value=b"\\".join([b"DERIVED", *kind.value.split(b"\\")[1:]]))
    if before.syntax.uid in _LOSSY_SYNTAXES:
        made[_LOSSY] = Element(_LOSSY, "CS", b"01")
    changed = replaced(stream, made, set())
    return _stated(changed) if is_derived or _text(before, _BURNED_IN) == "YES" else changed


def _stated(stream: Stream) -> Stream:
    return replaced(stream, {_BURNED_IN: Element(_BURNED_IN, "CS", b"NO")}, set())


def _is_written_upon(frame: Shaped[np.ndarray, "rows columns"]) -> bool:
    """Whether letters stand in a row in the brightest value, or far above all that is usual."""
    highest = frame.max()
    usual = np.partition(sample := frame.ravel()[::11], -1 - len(sample) // 200)[-1 - len(sample) // 200]
    for level in (highest, usual + (highest.astype(np.float64) - usual) / 2):
        mask = frame >= level
        count = np.count_nonzero(mask)
        if not _FEWEST <= count <= _MOST * mask.size:
            continue
        # strokes are joined, noise is not
        if 3 * np.count_nonzero(mask[1:] & mask[:-1]) >= count:
            rows = rows_of(shapes_of(mask))
            if any(letters_in(row) >= _LEAST_LETTERS for row in rows if len(row) >= _LEAST_LETTERS):
                return True
    return False


def _text(stream: Stream, tag: int) -> str:
    found = next((element.value for element in stream.elements if element.tag == tag), b"")
    return found.decode("latin-1").strip(" \0").upper()


def _held(code: str) -> IdentifierError:
    hint = "look at it, and leave it out or clean it by hand"
    return IdentifierError(f"file holds {_REASONS[code]}", hint=hint, code=code)
