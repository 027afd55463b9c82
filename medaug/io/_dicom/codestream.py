"""What a compressed frame says of its own size, read before any decoder may allocate for it."""

from __future__ import annotations

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
        if syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
            return _jpeg(encoded)
    except (IndexError, struct.error) as error:
        raise UnreadableError("compressed pixel data are cut short", code=Code.TRUNCATED_FILE) from error
    return None


def _jpeg_2000(encoded: bytes) -> Picture:
    """Sizes in the SIZ segment (ITU-T T.800 A.5.1); a JP2 file around the stream is looked into."""
    start = encoded.find(_SIZ)
    if start < 0:
        raise IndexError
    right, lower, left, upper = struct.unpack_from(">4I", encoded, start + 8)
    (samples,) = struct.unpack_from(">H", encoded, start + 40)
    return Picture(lower - upper, right - left, samples)


def _jpeg(encoded: bytes) -> Picture:
    """Sizes in the start-of-frame segment (ITU-T T.81 B.2.2)."""
    if encoded[:2] != _SOI:
        raise IndexError
    place = 2
    while True:
        while encoded[place] == 0xFF and encoded[place + 1] == 0xFF:
            place += 1  # fill bytes
        if encoded[place] != 0xFF:
            raise IndexError
        if encoded[place + 1] in _FRAME_STARTS:
            rows, columns, samples = struct.unpack_from(">HHB", encoded, place + 5)
            return Picture(rows, columns, samples)
        (length,) = struct.unpack_from(">H", encoded, place + 2)
        place += 2 + max(length, 2)
