"""Stored pixel values of a file, as arrays and back, and as a person sees them (PS3.3 C.7.6.3, PS3.5 section 8)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import pydicom
from jaxtyping import Shaped, UInt8
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.uid import UID

from medaug.core.errors import IdentifierError, UnreadableError
from medaug.io.headers import PYDICOM_ERRORS
from medaug.privacy._deidentify.codecs import pictures
from medaug.privacy._deidentify.stream import (
    PIXEL_DATA,
    Element,
    Stream,
    Syntax,
    write_elements,
    write_meta,
)

SAMPLES, PHOTOMETRIC, PLANAR, FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
ROWS, COLUMNS, ALLOCATED, STORED, HIGH_BIT, SIGN = (
    0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
)  # fmt: skip
_COUNTED: Final = (SAMPLES, ROWS, COLUMNS, ALLOCATED, STORED, HIGH_BIT)
_IMPLICIT, _EXPLICIT, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_KNOWN: Final = frozenset({*_GREY, "PALETTE COLOR", "RGB", "YBR_FULL"})
_MOST_VALUES: Final = 1 << 30
# writing may lie far above or within what is usual: both windows are shown where they differ much
_USUAL, _WIDER, _MOST_SAMPLED = (0.5, 99.5), 1.5, 1 << 20

Values = Shaped[np.ndarray, "frames rows columns samples"]
Shown = UInt8[np.ndarray, "rows columns *samples"]


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """What the header says of stored values.

    Attributes:
        shape: Frames, rows, columns, samples.
        photometric: Interpretation.
        bits: Allocated, stored, and the number of the highest.
        is_signed: Whether values are.
        is_planar: Whether each colour of a frame stands by itself.
    """

    shape: tuple[int, int, int, int]
    photometric: str
    bits: tuple[int, int, int]
    is_signed: bool
    is_planar: bool

    @property
    def count(self) -> int:
        """Of values."""
        frames, rows, columns, samples = self.shape
        return frames * rows * columns * samples


def layout_of(stream: Stream) -> Layout:
    """What the header says.

    Raises:
        IdentifierError: If it says nothing sensible, or more than 1 GiB.
    """
    words = {element.tag: element.value for element in stream.elements if element.tag >> 16 == 0x28}
    frames = words.get(FRAMES, b"").strip(b" \0") or b"1"
    number = {tag: _number(words.get(tag, b""), stream.syntax) for tag in (*_COUNTED, SIGN, PLANAR)}
    samples = number[SAMPLES] or 1
    found = Layout(
        (int(frames) if frames.isdigit() else 0, number[ROWS], number[COLUMNS], samples),
        words.get(PHOTOMETRIC, b"").decode("latin-1").strip(" \0"),
        (number[ALLOCATED], number[STORED] or number[ALLOCATED], number[HIGH_BIT]),
        number[SIGN] == 1,
        number[PLANAR] == 1 and samples > 1,
    )
    if not 0 < found.count * number[ALLOCATED] // 8 <= _MOST_VALUES:
        raise _unread("of no size that can be")
    return found


def read_values(stream: Stream, pixels: Element) -> tuple[Values, Layout]:
    """Stored values, which may be written to, and how they lie; compressed ones are decoded.

    Raises:
        IdentifierError: If they cannot be decoded, or what they mean is not known.
        UnreadableError: If they are cut short.
    """
    layout = layout_of(stream)
    values, layout = (_decoded if pixels.is_encapsulated else _native)(stream, pixels, layout)
    if layout.photometric not in _KNOWN or layout.shape[3] != (1 if _is_single(layout) else 3):
        raise _unread(f"of colours that are not known ({layout.photometric[:16]})")
    return values, layout


def write_values(stream: Stream, values: Values, layout: Layout) -> Stream:
    """The file with other stored values; what was compressed is so no longer."""
    was = next(element for element in stream.elements if element.tag == PIXEL_DATA)
    syntax = replace(stream.syntax, uid=_EXPLICIT) if was.is_encapsulated else stream.syntax
    stored = values.transpose(0, 3, 1, 2) if layout.is_planar else values
    if syntax.is_big:
        stored = stored.astype(stored.dtype.newbyteorder(">"))
    vr = "OW" if syntax.is_implicit or values.dtype.itemsize > 1 else "OB"
    made = {PIXEL_DATA: Element(PIXEL_DATA, vr, stored.tobytes())}
    if was.is_encapsulated:
        made[PHOTOMETRIC] = Element(PHOTOMETRIC, "CS", layout.photometric.encode("ascii"))
        for tag, number in (
            (ALLOCATED, layout.bits[0]),
            (STORED, layout.bits[1]),
            (HIGH_BIT, layout.bits[2]),
        ):
            made[tag] = Element(tag, "US", number.to_bytes(2, "little"))
        if layout.shape[3] > 1:
            made[PLANAR] = Element(PLANAR, "US", bytes(2))
    # tables of offsets into a compressed stream
    dropped = {0x7FE00001, 0x7FE00002, 0x7FE00003} if was.is_encapsulated else set()
    return replaced(replace(stream, syntax=syntax), made, dropped)


def replaced(stream: Stream, made: dict[int, Element], dropped: set[int]) -> Stream:
    """A file with some elements in place of those it has, and without some."""
    kept = [element for element in stream.elements if element.tag not in dropped and element.tag not in made]
    return replace(stream, elements=sorted([*kept, *made.values()], key=lambda element: element.tag))


def shown(stream: Stream, values: Values, layout: Layout) -> Iterator[Iterator[Shown]]:
    """Frames as a person sees them, 8 bits a sample, grey or RGB: all frames in one window, then in the next."""
    if layout.photometric in _GREY:
        for low, high in _windows(values):
            yield (_windowed(frame[..., 0], low, high) for frame in values)
        return
    palette = _dataset(stream, None) if layout.photometric == "PALETTE COLOR" else None
    yield (_coloured(frame, layout, palette) for frame in values)


def black(stream: Stream, values: Values, layout: Layout) -> list[int]:
    """Stored value of each sample that is shown black."""
    _, stored, _ = layout.bits
    if layout.photometric == "MONOCHROME1":
        return [(1 << stored - layout.is_signed) - 1]
    if layout.photometric == "YBR_FULL":
        return [0, 1 << stored - 1, 1 << stored - 1]
    if layout.photometric == "PALETTE COLOR":
        every = np.unique(values)
        table = np.asarray(apply_color_lut(every, _dataset(stream, None)))[..., :3].sum(axis=-1)
        return [int(every[np.argmin(table)])]
    return [int(min(values.min(), 0))] * layout.shape[3]


def _native(stream: Stream, pixels: Element, layout: Layout) -> tuple[Values, Layout]:
    allocated = layout.bits[0]
    is_swapped = stream.syntax.is_big and allocated == 8 and pixels.vr == "OW"
    if allocated not in (8, 16, 32) or is_swapped or layout.photometric.endswith(("422", "420")):
        raise _unread("stored in a way that is not known")
    order = ">" if stream.syntax.is_big else "<"
    kind = np.dtype(f"{order}{'i' if layout.is_signed else 'u'}{allocated // 8}")
    if len(pixels.value) < layout.count * kind.itemsize:
        raise UnreadableError("pixel data are cut short", code="damaged-file")
    values = np.frombuffer(pixels.value, kind, layout.count).astype(kind.newbyteorder("="))
    frames, rows, columns, samples = layout.shape
    if layout.is_planar:
        return values.reshape(frames, samples, rows, columns).transpose(0, 2, 3, 1), layout
    return values.reshape(layout.shape), layout


def _decoded(stream: Stream, pixels: Element, layout: Layout) -> tuple[Values, Layout]:
    for picture in pictures(pixels.value, stream.syntax.uid):
        if (picture.rows, picture.columns, picture.samples) != layout.shape[1:]:
            raise _unread("of another size than the header says")
    try:
        decoder = get_decoder(UID(stream.syntax.uid))
        values, facts = decoder.as_array(_dataset(stream, pixels), raw=True)
    except PYDICOM_ERRORS as error:
        raise _unread("that cannot be decoded") from error
    bits = int(facts["bits_allocated"]), int(facts["bits_stored"])
    if values.size != layout.count:
        raise _unread("of another size than the header says")
    made = replace(
        layout,
        # decoders give each pixel its colour
        photometric=str(facts["photometric_interpretation"]).removesuffix("_422"),
        bits=(bits[0], bits[1], bits[1] - 1),
        is_planar=False,
    )
    return np.array(values).reshape(layout.shape), made


def _dataset(stream: Stream, pixels: Element | None) -> Dataset:
    """The part of a file that its pixels need, for pydicom."""
    held = [element for element in stream.elements if element.tag >> 16 == 0x28]
    held += [pixels] if pixels is not None else []
    uid = stream.syntax.uid if pixels is not None else _EXPLICIT
    if pixels is None and (stream.syntax.is_implicit or stream.syntax.is_big):
        uid = _IMPLICIT if stream.syntax.is_implicit else _BIG
    head = write_meta([Element(0x00020010, "UI", uid.encode("ascii"))])
    return pydicom.dcmread(io.BytesIO(head + write_elements(held, stream.syntax)))


def _is_single(layout: Layout) -> bool:
    return layout.photometric in (*_GREY, "PALETTE COLOR")


def _windows(values: Values) -> list[tuple[float, float]]:
    """All values, and the usual ones where a few lie far from them; eight bits are shown as they are."""
    if values.dtype == np.uint8:
        return [(0.0, 255.0)]
    low, high = float(values.min()), float(values.max())
    sampled = values.ravel()[:: max(1, values.size // _MOST_SAMPLED)]
    usual = tuple(float(value) for value in np.percentile(sampled, _USUAL))
    whole = [(low, max(high, low + 1))]
    return (
        [*whole, (usual[0], usual[1])]
        if _WIDER * (usual[1] - usual[0]) < high - low and usual[1] > usual[0]
        else whole
    )


def _windowed(frame: Shaped[np.ndarray, "rows columns"], low: float, high: float) -> Shown:
    if frame.dtype == np.uint8:
        return np.asarray(frame)
    scaled = (frame.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.clip(scaled, 0, 255).astype(np.uint8))


def _coloured(
    frame: Shaped[np.ndarray, "rows columns samples"], layout: Layout, palette: Dataset | None
) -> Shown:
    if palette is not None:
        try:
            table = np.asarray(apply_color_lut(np.ascontiguousarray(frame[..., 0]), palette))[..., :3]
        except PYDICOM_ERRORS as error:
            raise _unread("with a palette that cannot be read") from error
        return np.asarray((table >> 8 if table.dtype.itemsize > 1 else table).astype(np.uint8))
    eight = (frame >> max(layout.bits[1] - 8, 0)).astype(np.uint8)
    return np.asarray(
        convert_color_space(eight, "YBR_FULL", "RGB") if layout.photometric == "YBR_FULL" else eight
    )


def _number(value: bytes, syntax: Syntax) -> int:
    return int.from_bytes(value[:2], "big" if syntax.is_big else "little")


def _unread(how: str) -> IdentifierError:
    hint = "install medaug[dicom], decompress the file, or look at it and leave it out"
    return IdentifierError(f"pixels {how}", hint=hint, code="pixels-not-decoded")
