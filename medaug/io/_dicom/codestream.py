"""What a compressed frame says of its own size, read before any decoder may allocate for it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import final

from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code
from medaug.io._dicom.frame import PixelFormat

_SOI, _SIZ = b"\xff\xd8", b"\xff\x4f\xff\x51"
# Start of frame of JPEG (ITU-T T.81 table B.1; C4, C8 and CC are other markers) and JPEG-LS (T.87)
_FRAME_STARTS = frozenset({0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_END, _SCAN = 0xD9, 0xDA
# tables, comments, application data and extensions of JPEG-LS
_SEGMENTS = _FRAME_STARTS | {_END, _SCAN, 0xC4, 0xCC, 0xF8, 0xFE, *range(0xDB, 0xDE), *range(0xE0, 0xF0)}
# Within a scan only stuffed bytes and restarts follow FF (T.81 B.1.1.5); JPEG-LS stuffs a bit (T.87 A.1)
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN_END_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


@final
@dataclass(frozen=True, slots=True)
class Picture:
    """Size of an encoded picture."""

    rows: int
    columns: int
    samples: int


def require_same_size(encoded: bytes, pixels: PixelFormat, rows: int, columns: int) -> None:
    """Refuse a frame whose code stream claims another size than the header: decoders trust the stream alone.

    Args:
        encoded: One frame.
        pixels: What the header says of it.
        rows: Of the stored picture.
        columns: Of the stored picture.

    Raises:
        UnreadableError: If they differ, or the stream has no header.
    """
    picture = _picture(encoded, pixels.transfer_syntax)
    if picture is None:
        return
    expected = Picture(rows, columns, pixels.samples)
    if picture != expected:
        raise UnreadableError(
            f"compressed pixel data are {picture.rows} x {picture.columns} x {picture.samples}",
            expected=f"{rows} x {columns} x {pixels.samples} as the header says",
            hint="export the original series again",
            code=Code.BAD_PIXEL_FORMAT,
        )


def _picture(encoded: bytes, syntax: str) -> Picture | None:
    """The size in the stream; None for transfer syntaxes whose frames do not name one (RLE)."""
    try:
        if syntax in JPEG2000TransferSyntaxes:
            return _jpeg_2000(encoded)
        if syntax in JPEGTransferSyntaxes:
            return _jpeg(encoded, _SCAN_END)
        if syntax in JPEGLSTransferSyntaxes:
            return _jpeg(encoded, _SCAN_END_LS)
    except (IndexError, struct.error) as error:
        raise UnreadableError(
            "compressed pixel data are cut short or damaged",
            hint="copy or export the file again",
            code=Code.TRUNCATED_FILE,
        ) from error
    return None


def _jpeg_2000(encoded: bytes) -> Picture:
    """Sizes in the SIZ segment (ITU-T T.800 A.5.1); a JP2 file around the stream is looked into."""
    start = encoded.find(_SIZ)
    if start < 0:
        raise IndexError
    right, lower, left, upper = struct.unpack_from(">4I", encoded, start + 8)
    (samples,) = struct.unpack_from(">H", encoded, start + 40)
    return Picture(lower - upper, right - left, samples)


def _jpeg(encoded: bytes, scan_end: re.Pattern[bytes]) -> Picture:
    """Sizes in the start-of-frame segment (ITU-T T.81 B.2.2); segments and scans must follow each other to the end.

    Decoders fill up what a damaged scan leaves open, and call that a warning.
    """
    if encoded[:2] != _SOI:
        raise IndexError
    picture: Picture | None = None
    place = 2
    while True:
        while encoded[place] == 0xFF and encoded[place + 1] == 0xFF:
            place += 1  # fill bytes
        marker = encoded[place + 1]
        if encoded[place] != 0xFF or marker not in _SEGMENTS:
            raise IndexError
        if marker == _END:
            if picture is None or encoded[place + 2 :].strip(b"\0\xff"):
                raise IndexError
            return picture
        (length,) = struct.unpack_from(">H", encoded, place + 2)
        if marker in _FRAME_STARTS:
            picture = Picture(*struct.unpack_from(">HHB", encoded, place + 5))
        place += 2 + max(length, 2)
        if marker == _SCAN:
            found = scan_end.search(encoded, place)
            if found is None:
                raise IndexError
            place = found.start()
