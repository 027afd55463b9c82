"""Compressed pixel streams without what their codecs carry besides pixels: application data, comments, what follows the end.

Such segments are overwritten where they stand, so every length and offset stays right and not one coded bit is touched
(JPEG: ITU-T T.81 annex B; JPEG-LS: T.87 annex C; JPEG 2000: T.800 annex A).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from medaug.core.errors import IdentifierError

_JPEG, _JPEG2000 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_JPEG_SYNTAXES: Final = frozenset(
    f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70, 80, 81)
)
_JPEG2000_SYNTAXES: Final = frozenset(
    f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93, 201, 202, 203)
)
RLE: Final = "1.2.840.10008.1.2.5"
# Of these a decoder learns how colours are coded: what it reads stays (JFIF 1.02, T.872, and of JPEG-LS the HP transform)
_KEPT: Final = ((0xE0, b"JFIF\0", 12), (0xEE, b"Adobe", 12), (0xE8, b"mrfx", 5))
_EOI, _SOS, _TEM = 0xD9, 0xDA, 0x01
_SOC, _SOT, _SOD, _EOC, _COM = 0x4F, 0x90, 0x93, 0xD9, 0x64


@final
@dataclass(frozen=True, slots=True)
class Picture:
    """What a stream says of itself: its size, and the bits that a sample can hold."""

    rows: int
    columns: int
    samples: int
    bits: int


def silenced(value: bytes, syntax: str) -> bytes:
    """Encapsulated pixel data without comments and application data.

    Args:
        value: Items with their delimiter (PS3.5 A.4).
        syntax: UID of the transfer syntax.

    Raises:
        IdentifierError: If the stream is not what the syntax says, or of a kind that is not known.
    """
    if syntax == RLE:
        return value
    if syntax not in _JPEG_SYNTAXES | _JPEG2000_SYNTAXES:
        raise _unknown("of a kind that is not known")
    starts, blank = (_JPEG, _blank_jpeg) if syntax in _JPEG_SYNTAXES else (_JPEG2000, _blank_jpeg2000)
    out = bytearray(value)
    for frame in _frames(value, starts):
        stream = bytearray().join(value[begin:end] for begin, end in frame)
        blank(stream)
        at = 0
        for begin, end in frame:
            out[begin:end] = stream[at : at + end - begin]
            at += end - begin
    return bytes(out)


def pictures(value: bytes, syntax: str) -> list[Picture]:
    """What each frame says of itself; nothing for run lengths, which say nothing.

    Raises:
        IdentifierError: If one does not say it.
    """
    if syntax == RLE:
        return []
    starts = _JPEG if syntax in _JPEG_SYNTAXES else _JPEG2000
    return [_picture(value[frame[0][0] : frame[0][1]]) for frame in _frames(value, starts)]


def _picture(head: bytes) -> Picture:
    if head.startswith(_JPEG2000) and len(head) > 42:
        right, low, left, top = struct.unpack_from(">4I", head, 8)
        return Picture(low - top, right - left, struct.unpack_from(">H", head, 40)[0], (head[42] & 0x7F) + 1)
    at = 2
    while head.startswith(_JPEG) and at + 10 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, rows, columns, samples = struct.unpack_from(">BHHB", head, at + 4)
            return Picture(rows, columns, samples, bits)
        at += 2 + int(struct.unpack_from(">H", head, at + 2)[0])
    raise _unknown("that does not tell its size")


def _items(value: bytes) -> Iterator[tuple[int, int]]:
    """Where the content of each item begins and ends; the first is the table of offsets."""
    at = 0
    while value[at : at + 4] == _ITEM:
        length = struct.unpack_from("<I", value, at + 4)[0]
        yield at + 8, at + 8 + length
        at += 8 + length
    if value[at : at + 4] != _END:
        raise _unknown("whose items make no sense")


def _frames(value: bytes, starts: bytes) -> list[list[tuple[int, int]]]:
    """The fragments of each frame: one that begins as a stream does begins a frame."""
    frames: list[list[tuple[int, int]]] = []
    for begin, end in list(_items(value))[1:]:
        if value[begin : begin + len(starts)] == starts:
            frames.append([])
        elif not frames:
            raise _unknown("that does not begin as its transfer syntax says")
        frames[-1].append((begin, end))
    return frames


def _blank(stream: bytearray, begin: int, end: int) -> None:
    stream[begin:end] = bytes(end - begin)


def _blank_jpeg(stream: bytearray) -> None:
    at = 2
    while True:
        at, marker = _next_marker(stream, at)
        if marker == _EOI:
            _blank(stream, at, len(stream))
            return
        if 0xD0 <= marker <= 0xD8 or marker == _TEM:
            continue
        end = _end(stream, at)
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            kept = (size for kind, name, size in _KEPT if kind == marker and stream.startswith(name, at + 2))
            _blank(stream, min(at + 2 + next(kept, 0), end), end)
        at = _after_scan(stream, end) if marker == _SOS else end


def _next_marker(stream: bytearray, at: int) -> tuple[int, int]:
    """What follows a marker, and the marker; any number of bytes FF may stand before it."""
    if at >= len(stream) or stream[at] != 0xFF:
        raise _unknown("that is damaged")
    while at < len(stream) and stream[at] == 0xFF:
        at += 1
    if at >= len(stream):
        raise _unknown("that is cut short")
    return at + 1, stream[at]


def _end(stream: bytearray, at: int) -> int:
    """Where a segment ends whose length stands here."""
    if at + 2 > len(stream):
        raise _unknown("that is cut short")
    end = at + int(struct.unpack_from(">H", stream, at)[0])
    if end > len(stream) or end < at + 2:
        raise _unknown("that is damaged")
    return end


def _after_scan(stream: bytearray, at: int) -> int:
    """Where coded data end: at a marker that is no restart; stuffed bytes have no high bit."""
    while (at := stream.find(b"\xff", at)) >= 0 and at + 1 < len(stream):
        following = stream[at + 1]
        if following >= 0x80 and following != 0xFF and not 0xD0 <= following <= 0xD7:
            return at
        at += 1 if following == 0xFF else 2
    raise _unknown("that is cut short")


def _blank_jpeg2000(stream: bytearray) -> None:
    at, tile = 2, (0, 0)
    while True:
        if stream[at : at + 2] == bytes((0xFF, _EOC)):
            _blank(stream, at + 2, len(stream))
            return
        if at + 4 > len(stream) or stream[at] != 0xFF:
            raise _unknown("that is damaged")
        marker = stream[at + 1]
        if marker == _SOT:
            tile = (at, int(struct.unpack_from(">I", stream, at + 6)[0]))
        if marker == _SOD:
            at = _after_tile(stream, tile)
            if at == len(stream):
                return
            continue
        end = _end(stream, at + 2)
        if marker == _COM:
            _blank(stream, at + 6, end)
        at = end


def _after_tile(stream: bytearray, tile: tuple[int, int]) -> int:
    """Where a tile-part ends (T.800 A.4.2); one without a length reaches to the end of the stream."""
    begin, length = tile
    if length:
        if length < 14 or begin + length > len(stream):
            raise _unknown("that is damaged")
        return begin + length
    end = stream.rfind(bytes((0xFF, _EOC)))
    if end < begin:
        raise _unknown("that is cut short")
    return end


def _unknown(how: str) -> IdentifierError:
    return IdentifierError(f"pixel stream {how}", hint="decompress the file first", code="pixel-stream")
