"""Frames to float32 values: uncompressed pixels straight from the file, all others through pydicom's decoders.

A file is parsed once however many of its frames are wanted, and never more than one is held.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, final

import numpy as np
import pydicom
from jaxtyping import Float
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code
from medaug.core.intensity import luminance
from medaug.io._dicom.border import PYDICOM_ERRORS, quiet_pydicom, uid_of
from medaug.io._dicom.claims import GREY, check_frames, picture_size, require_pixels
from medaug.io._dicom.codestream import require_same_size
from medaug.io._dicom.frame import Frame, PixelFormat, Rescale
from medaug.io._dicom.values import is_inverted

Values = Float[np.ndarray, "N rows columns"]

_QUIET_PLUGINS = ("pylibjpeg", "pillow")
_LUMINANCE_FIRST = frozenset({"YBR_FULL", "YBR_FULL_422"})
# Deflated headers (waveforms, overlays, private parts) beside the pixels
_HEADER_ROOM: Final = 1 << 26
_EXACT_FLOAT32: Final = 1 << 24


def read_frames(frames: Sequence[Frame]) -> Values:
    """The modality values of frames of one size: :func:`check_frames`, then :class:`FrameReader`."""
    check_frames(frames)
    first = frames[0].pixels
    values = np.empty((len(frames), first.rows, first.columns), dtype=np.float32)
    FrameReader().fill(frames, values)
    return values


@final
class FrameReader:
    """Reads checked frames, a few at a time. What it parsed last is kept: a file whose frames follow each other is parsed once."""

    def __init__(self) -> None:
        self._open: _Opened | None = None

    def fill(self, frames: Sequence[Frame], into: Values) -> None:
        """Read frames: ``into[n]`` becomes the modality values of ``frames[n]``.

        Values are stored value x slope + intercept of their own frame (PS3.3 C.11.1), as float64 rounded once to float32; a
        modality look-up table is applied instead where there is one. Colour becomes luminance (ITU-R BT.601).

        Args:
            frames: Already passed by :func:`check_frames`, of the size of ``into``; frames of a file in any order.
            into: Written to; float32.

        Raises:
            UnreadableError: If a file is cut short, or cannot be decoded.
        """
        files: dict[Path, dict[int, list[int]]] = {}
        for place, frame in enumerate(frames):
            files.setdefault(frame.path, {}).setdefault(frame.number, []).append(place)
        for wanted in files.values():
            try:
                with quiet_pydicom():
                    self._fill_from(wanted, frames, into)
            except (*PYDICOM_ERRORS, zlib.error) as error:
                raise UnreadableError(
                    "pixel data are cut short or damaged",
                    hint="copy or export the file again",
                    code=Code.TRUNCATED_FILE,
                ) from error

    def _fill_from(self, wanted: Mapping[int, Sequence[int]], frames: Sequence[Frame], into: Values) -> None:
        """Read the pictures of one file, each for all the places that want it."""
        for number, places in sorted(wanted.items()):
            stored = self._stored(frames[places[0]], number)
            for place in places:
                _put(_tile(stored, frames[place]), frames[place], into[place])

    def _stored(self, frame: Frame, number: int) -> np.ndarray:
        """A picture of the file of a frame: whole stored values, or luminance."""
        if frame.pixel_offset is not None and frame.tile is None:
            return _mapped(frame, frame.pixel_offset, number)
        if self._open is None or self._open.path != frame.path:
            self._open = None  # what was held is let go before more is taken
            self._open = _opened(frame)
        return self._open.picture(frame, number)


@final
class _Opened:
    """A parsed file with its last picture: the tiles of a mosaic are asked for one after another."""

    def __init__(self, path: Path, dataset: Dataset | None, encoded: Sequence[bytes]) -> None:
        self.path = path
        self._dataset, self._encoded = dataset, encoded
        self._last: tuple[int, np.ndarray] | None = None

    def picture(self, frame: Frame, number: int) -> np.ndarray:
        """Whole stored values, or luminance, of one picture."""
        if self._last is None or self._last[0] != number:
            self._last = None
            self._last = (number, self._decoded(frame, number))
        return self._last[1]

    def _decoded(self, frame: Frame, number: int) -> np.ndarray:
        if self._dataset is None:
            return _mapped(frame, frame.pixel_offset or 0, number)
        if not uid_of(frame.pixels.transfer_syntax).is_encapsulated:
            picture, photometric = _native(frame, self._dataset, number)
        elif number < len(self._encoded):
            picture, photometric = _decoded(frame, self._encoded[number])
        else:
            what = f"pixel data hold {len(self._encoded)} of {frame.frames_in_file} frames"
            raise UnreadableError(what, hint="copy or export the file again", code=Code.TRUNCATED_FILE)
        values = _masked(picture, frame.pixels) if photometric in GREY else picture
        values = _luminance(values, photometric, self._dataset)
        if self._dataset.get("ModalityLUTSequence"):
            values = np.asarray(apply_modality_lut(values, self._dataset))
        return values


def _opened(frame: Frame) -> _Opened:
    """Parse the file of a frame; encoded frames are told apart once."""
    if frame.pixel_offset is not None:
        return _Opened(frame.path, None, ())
    dataset = _parsed(frame)
    require_pixels(dataset)
    if not uid_of(frame.pixels.transfer_syntax).is_encapsulated:
        if "BitsStored" in dataset:
            # the bits above are taken off here, by HighBit, which the decoder does not heed
            dataset.BitsStored = dataset.BitsAllocated
        return _Opened(frame.path, dataset, ())
    tables = (dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths"))
    encoded = generate_frames(
        dataset.PixelData,
        number_of_frames=frame.frames_in_file,
        extended_offsets=tables if all(tables) else None,
    )
    held = tuple(islice(encoded, frame.frames_in_file))
    del dataset.PixelData
    return _Opened(frame.path, dataset, held)


def _tile(stored: np.ndarray, frame: Frame) -> np.ndarray:
    if frame.tile is None:
        return stored
    number, across, _ = frame.tile
    rows, columns = frame.pixels.rows, frame.pixels.columns
    top, left = number // across * rows, number % across * columns
    return stored[top : top + rows, left : left + columns]


def _mapped(frame: Frame, offset: int, number: int) -> np.ndarray:
    rows, columns = picture_size(frame)
    kind = np.dtype(f"<{'i' if frame.pixels.is_signed else 'u'}{frame.pixels.bits_allocated // 8}")
    begin = offset + number * rows * columns * kind.itemsize
    stored = np.fromfile(frame.path, dtype=kind, count=rows * columns, offset=begin)
    return _masked(stored.reshape(rows, columns), frame.pixels)


def _parsed(frame: Frame) -> Dataset:
    """The whole file. A deflated one is unpacked only as far as its header claims, so that it cannot fill the memory."""
    if frame.pixels.transfer_syntax != DeflatedExplicitVRLittleEndian:
        whole = pydicom.dcmread(frame.path, force=True)
        # a bare data set names no syntax, and a few name another than their own
        whole.file_meta.TransferSyntaxUID = uid_of(frame.pixels.transfer_syntax)
        return whole
    rows, columns = picture_size(frame)
    claimed = rows * columns * frame.pixels.samples * frame.frames_in_file * frame.pixels.bits_allocated // 8
    with frame.path.open("rb") as handle:
        read_preamble(handle, force=True)
        meta = read_dataset(handle, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(handle.read(), claimed + _HEADER_ROOM)
    dataset = read_dataset(io.BytesIO(inflated), is_implicit_VR=False, is_little_endian=True)
    dataset.file_meta = FileMetaDataset(meta)
    return dataset


def _decoder(pixels: PixelFormat) -> Decoder:
    return get_decoder(uid_of(pixels.transfer_syntax))


def _native(frame: Frame, dataset: Dataset, number: int) -> tuple[np.ndarray, str]:
    """A picture that is not compressed, and cannot be mapped: big endian, deflated, colour, floats."""
    picture, facts = _decoder(frame.pixels).as_array(dataset, index=number, raw=True)
    return picture, str(facts["photometric_interpretation"])


def _decoded(frame: Frame, encoded: bytes) -> tuple[np.ndarray, str]:
    """A compressed picture, decoded for itself."""
    pixels = frame.pixels
    rows, columns = picture_size(frame)
    require_same_size(encoded, pixels, rows, columns)
    single = Dataset()
    single.file_meta = FileMetaDataset()
    single.file_meta.TransferSyntaxUID = uid_of(pixels.transfer_syntax)
    single.Rows, single.Columns, single.SamplesPerPixel = rows, columns, pixels.samples
    single.BitsAllocated, single.BitsStored = pixels.bits_allocated, pixels.bits_stored
    single.PixelRepresentation, single.PlanarConfiguration = int(pixels.is_signed), 0
    single.PhotometricInterpretation = pixels.photometric
    single.PixelData = encapsulate([encoded], has_bot=False)
    decoder = _decoder(pixels)
    # where the other decoders of JPEG meet damage they write to the terminal by themselves
    plugin = next((name for name in _QUIET_PLUGINS if name in decoder.available_plugins), "")
    picture, facts = decoder.as_array(single, index=0, raw=True, decoding_plugin=plugin)
    return picture, str(facts["photometric_interpretation"])


def _masked(stored: np.ndarray, pixels: PixelFormat) -> np.ndarray:
    """Stored values without the bits that are none of theirs (overlays), signed by their own top bit (PS3.5 8.1.1)."""
    if stored.dtype.kind == "f":
        return stored
    width = 8 * stored.dtype.itemsize
    above = width - 1 - pixels.high_bit
    if above < 0 or width == pixels.bits_stored:
        return stored
    values = stored if stored.flags.writeable else stored.copy()
    # the type carries the sign into the bits that are shifted in
    np.left_shift(values, above, out=values)
    np.right_shift(values, width - pixels.bits_stored, out=values)
    return values


def _luminance(picture: np.ndarray, photometric: str, dataset: Dataset) -> np.ndarray:
    if photometric in GREY:
        return picture
    if photometric in _LUMINANCE_FIRST:
        # Y of YBR_FULL is the luminance itself (PS3.3 C.7.6.3.1.2)
        return np.ascontiguousarray(picture[..., 0])
    if photometric == "PALETTE COLOR":
        return luminance(np.asarray(apply_color_lut(picture, dataset))[..., :3])
    return luminance(picture)


def _put(stored: np.ndarray, frame: Frame, into: Float[np.ndarray, "rows columns"]) -> None:
    """Stored to modality values, rounded once.

    Whole numbers that stay below 2**24 are exact in float32 at every step, which is five times faster than float64.
    """
    rescale, bits = frame.rescale, frame.pixels.bits_stored
    values = stored
    if is_inverted(frame):
        # the darkest and the brightest stored value change places: white stays bright in arbitrary units
        brightest = -1 if frame.pixels.is_signed else (1 << bits) - 1
        values = brightest - stored.astype(np.float64 if stored.dtype.kind == "f" else np.int64)
    whole = values.dtype.kind != "f" and rescale.slope.is_integer() and rescale.intercept.is_integer()
    if whole and (1 << bits) * abs(rescale.slope) + abs(rescale.intercept) < _EXACT_FLOAT32:
        _whole_linear(values, rescale, into)
        return
    with np.errstate(over="ignore"):
        # what float32 cannot hold becomes infinite: the caller's check of finite voxels sees it
        into[...] = values.astype(np.float64) * rescale.slope + rescale.intercept


def _whole_linear(values: np.ndarray, rescale: Rescale, into: Float[np.ndarray, "rows columns"]) -> None:
    """A linear map in float32; most slopes are 1, and then one pass is enough."""
    if rescale.slope == 1:
        np.add(values, np.float32(rescale.intercept), out=into, dtype=np.float32, casting="unsafe")
        return
    np.multiply(values, np.float32(rescale.slope), out=into, dtype=np.float32, casting="unsafe")
    into += np.float32(rescale.intercept)
