"""What a header claims of its pixels, held against the bytes that are there before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEGExtended12Bit

from medaug.core.errors import DependencyError, UnreadableError
from medaug.core.findings import Code
from medaug.io._dicom.border import PYDICOM_ERRORS, quiet_pydicom, uid_of
from medaug.io._dicom.frame import Frame, PixelFormat
from medaug.io._dicom.values import require_rescale

GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR: Final = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_PIXEL_TAGS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Stitched radiographs reach 40 million pixels
_MOST_PIXELS: Final = 1 << 27
# A blank frame in JPEG-LS is about 4,000 times smaller than its pixels
_MOST_COMPRESSION: Final = 10_000


def check_frames(frames: Sequence[Frame]) -> None:
    """Hold what headers claim against the files, before memory is taken for them.

    Raises:
        UnreadableError: With the code ``bad-pixel-format``, ``absurd-size``, ``truncated-file``,
            ``unsupported-transfer-syntax`` or ``zero-rescale-slope``.
        DependencyError: If no installed plugin reads the transfer syntax.
    """
    last: dict[Path, Frame] = {}
    for frame in frames:
        require_rescale(frame.rescale)
        known = last.get(frame.path)
        if known is None or (known.pixels is not frame.pixels and known.pixels != frame.pixels):
            _require_format(frame.pixels)
            _require_decoder(frame.pixels)
        if known is None or known.number < frame.number:
            last[frame.path] = frame
    for frame in last.values():
        _require_claims(frame)


def _require_format(pixels: PixelFormat) -> None:
    """What must hold of the header whatever the bytes are (PS3.3 C.7.6.3.1, PS3.5 8.1.1)."""
    colour = pixels.photometric in COLOUR
    known = colour or pixels.photometric in GREY or pixels.photometric == "PALETTE COLOR"
    problem = ""
    if min(pixels.rows, pixels.columns) < 1:
        problem = f"{pixels.rows} rows and {pixels.columns} columns"
    elif pixels.bits_allocated not in (8, 16, 32, 64):
        problem = f"{pixels.bits_allocated} bits allocated"
    elif not 1 <= pixels.bits_stored <= pixels.high_bit + 1 <= pixels.bits_allocated:
        problem = f"{pixels.bits_stored} bits stored up to bit {pixels.high_bit} of {pixels.bits_allocated}"
    elif not known:
        problem = "a photometric interpretation that is missing or not read"
    elif pixels.samples != (3 if colour else 1):
        problem = f"{pixels.samples} samples a pixel in {pixels.photometric}"
    if problem:
        raise UnreadableError(
            f"pixels are said to have {problem}",
            expected="a format of PS3.3 C.7.6.3 with 8, 16 or 32 bits",
            hint="export the original series again",
            code=Code.BAD_PIXEL_FORMAT,
        )


def _require_decoder(pixels: PixelFormat) -> None:
    syntax = uid_of(pixels.transfer_syntax)
    try:
        decoder = get_decoder(syntax)
    except (NotImplementedError, ValueError) as error:
        name = syntax.name if syntax.is_transfer_syntax else "that is missing or unknown"
        raise UnreadableError(
            f"pixel data are in a transfer syntax that is not read: {name}",
            hint="export as Explicit VR Little Endian",
            code=Code.UNSUPPORTED_TRANSFER_SYNTAX,
        ) from error
    if syntax == JPEGExtended12Bit and pixels.bits_stored > 8:
        # the decoders at hand would read eight of its twelve bits, or none
        raise UnreadableError(
            "lossy JPEG of 12 bits (JPEG Extended) is not read",
            hint="export as Explicit VR Little Endian",
            code=Code.UNSUPPORTED_TRANSFER_SYNTAX,
        )
    if not decoder.is_available:
        raise DependencyError(
            f"reading {syntax.name} needs a plugin",
            hint="install it with `pip install medaug[dicom]`",
            code=Code.DEPENDENCY_MISSING,
        )


def _require_claims(frame: Frame) -> None:
    """Claimed sizes against the bytes of the file."""
    rows, columns = picture_size(frame)
    samples = rows * columns * frame.pixels.samples
    claimed = samples * max(frame.frames_in_file, frame.number + 1)
    there = _file_size(frame.path)
    syntax = uid_of(frame.pixels.transfer_syntax)
    compressed = syntax.is_encapsulated or syntax.is_deflated
    if samples > _MOST_PIXELS or (compressed and claimed > there * _MOST_COMPRESSION):
        raise UnreadableError(
            f"header claims {frame.frames_in_file} frames of {rows} x {columns}, {there} bytes are there",
            hint="copy or export the file again",
            code=Code.ABSURD_SIZE,
        )
    width = frame.pixels.bits_allocated // 8
    if frame.pixels.photometric == "YBR_FULL_422":
        claimed = claimed * 2 // 3
    if not compressed and claimed * width + (frame.pixel_offset or 0) > there:
        if frame.pixel_offset is None:
            require_pixels(_header(frame.path))
        raise UnreadableError(
            f"pixel data need {claimed * width} bytes, the file has {there}",
            hint="copy or export the file again",
            code=Code.TRUNCATED_FILE,
        )


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise UnreadableError("DICOM file cannot be read", code=Code.TRUNCATED_FILE) from error


def picture_size(frame: Frame) -> tuple[int, int]:
    """Rows and columns of the picture as stored, all tiles of a mosaic together."""
    _, across, down = frame.tile or (0, 1, 1)
    return frame.pixels.rows * down, frame.pixels.columns * across


def require_pixels(dataset: Dataset) -> None:
    """Refuse a data set without pixels.

    Raises:
        UnreadableError: If it holds none.
    """
    if not any(tag in dataset for tag in _PIXEL_TAGS):
        raise UnreadableError(
            "file has no pixel data", hint="export the images, not only headers", code=Code.NO_PIXEL_DATA
        )


def _header(path: Path) -> Dataset:
    """The file with long values left where they are."""
    try:
        with quiet_pydicom():
            return pydicom.dcmread(path, force=True, defer_size=1024)
    except PYDICOM_ERRORS as error:
        raise UnreadableError("DICOM file is cut short or damaged", code=Code.TRUNCATED_FILE) from error
