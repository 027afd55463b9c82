"""NRRD files (teem.sourceforge.net/nrrd/format.html), attached or detached, and Slicer's segmentations in them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

import nrrd
import numpy as np

from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import Affine, lps_to_ras
from medaug.core.intensity import luminance
from medaug.io.stored import StoredImage, inside_folder
from medaug.io.stream import AGAIN, Stream, numbers_in_text, open_stream, require_sane_size, take_whole

_HEADER_ERRORS = (nrrd.NRRDError, IndexError, KeyError, OverflowError, TypeError, ValueError)
_LINE, _LINES = 1 << 16, 4096
_NUMBERS: Final = {
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i1": ("signed char", "int8", "int8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        *("longlong", "long long", "long long int", "signed long long", "signed long long int"),
        *("int64", "int64_t"),
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_ENCODINGS: Final[dict[str, Literal["raw", "gzip", "bzip2", "ascii"]]] = {
    "raw": "raw",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
    "ascii": "ascii",
    "text": "ascii",
    "txt": "ascii",
}
# Signs that turn each space into LPS+
_SPACES: Final = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}
_MM_PER_UNIT: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "micron": 0.001, "microns": 0.001}
# TerminologyEntry:CONTEXT~CATEGORY~SCHEME^VALUE^MEANING~...
_TERMINOLOGY = re.compile(r"TerminologyEntry:[^~|]*~[^~|]*~([A-Za-z0-9]+)\^([A-Za-z0-9.\-]+)\^")
_SPATIAL_KINDS = frozenset({"domain", "space", "???", "none"})
_COLOURS = frozenset({"rgb-color", "rgba-color", "3-color", "4-color"})


@final
@dataclass(frozen=True, slots=True)
class SlicerSegment:
    """What the header of a ``.seg.nrrd`` says of one segment.

    Attributes:
        name: Segment<N>_Name, stripped.
        layer: Index along the fourth axis.
        value: Of its voxels in that layer.
        codes: Its coded type as ``SCHEME:VALUE``.
    """

    name: str
    layer: int
    value: int
    codes: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """How the voxels lie, axes in the order of the file.

    Attributes:
        extra: The axis that is none of space, or None.
        kind: The kind of that axis, lower case.
        data_name: Of the file that holds them; empty where it is that of the header.
    """

    sizes: tuple[int, ...]
    dtype: np.dtype
    encoding: Literal["raw", "gzip", "bzip2", "ascii"]
    line_skip: int
    byte_skip: int
    extra: int | None
    kind: str
    data_name: str

    @property
    def size(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.sizes) * self.dtype.itemsize


def load_nrrd(path: Path) -> StoredImage:
    """Decode a file, in its own order of axes; colours become luminance (BT.601).

    Spaces LPS, RAS and LAS are turned to RAS+. A file without space directions is taken as LPS, as ITK does, with
    ``orientation-assumed``.

    Raises:
        UnreadableError: If a file is missing, damaged, lies outside the folder, or is of a kind that is not read.
        GeometryError: If it has five or more axes, or names a space or unit that has no place in a patient.
    """
    with open_stream(path) as stream:
        header = _header(stream)
        layout = _layout(header)
        array = None if layout.data_name else _voxels(stream, layout, path)
        digests: tuple[str, ...] = (stream.finish(),)
    if array is None:
        other = inside_folder(path, layout.data_name)
        with open_stream(other) as stream:
            array = _voxels(stream, layout, other)
            digests += (stream.finish(),)
    array, notes = _axes_in_order(array, layout)
    affine, known, odd = _affine(header, layout)
    return StoredImage(array, affine, known, digests, (*notes, *odd))


def count_frames(path: Path) -> int:
    """Length of the fourth axis as the header claims it, 1 where it holds colours; nothing else is read.

    Raises:
        UnreadableError: As :func:`load_nrrd`.
        GeometryError: As :func:`load_nrrd`.
    """
    with open_stream(path) as stream:
        layout = _layout(_header(stream))
    return 1 if layout.extra is None or layout.kind in _COLOURS else layout.sizes[layout.extra]


def data_file(path: Path) -> Path | None:
    """The file that holds the voxels of a detached header, or None where it is the same, missing or elsewhere.

    Raises:
        UnreadableError: If the header is damaged.
        GeometryError: As :func:`load_nrrd`.
    """
    with open_stream(path) as stream:
        layout = _layout(_header(stream))
    return inside_folder(path, layout.data_name) if layout.data_name else None


def declared_segments(path: Path) -> tuple[SlicerSegment, ...]:
    """The segments that Slicer wrote into the header, in their order; none where the file is no segmentation of its.

    Raises:
        UnreadableError: If the header is damaged.
        LabelError: If a segment has no usable value or layer.
    """
    with open_stream(path) as stream:
        header = _header(stream)
    segments = []
    for number in range(_LINES):
        if f"Segment{number}_ID" not in header and f"Segment{number}_Name" not in header:
            break
        segments.append(_segment(header, number))
    return tuple(segments)


def _segment(header: dict[str, Any], number: int) -> SlicerSegment:
    name = str(header.get(f"Segment{number}_Name", header.get(f"Segment{number}_ID"))).strip()
    # before Slicer 4.11 each segment had a layer of its own, and voxels of 1
    layer = header.get(f"Segment{number}_Layer", number)
    value = header.get(f"Segment{number}_LabelValue", 1)
    term = _TERMINOLOGY.search(str(header.get(f"Segment{number}_Tags", "")))
    try:
        codes = (f"{term.group(1)}:{term.group(2)}",) if term else ()
        return SlicerSegment(name, int(layer), int(value), codes)
    except ValueError as error:
        raise LabelError("a segment has no whole number as value or layer", code=Code.LABEL) from error


def _header(stream: Stream) -> dict[str, Any]:
    lines: list[bytes] = []
    while True:
        line = stream.take_line(_LINE)
        if not lines and not line.startswith(b"NRRD"):
            raise UnreadableError("file is no NRRD image", hint=AGAIN, code=Code.UNSUPPORTED_FORMAT)
        if not line.strip():
            break
        lines.append(line)
        if len(lines) > _LINES or len(line) == _LINE:
            raise UnreadableError("NRRD header has no end", hint=AGAIN, code=Code.ABSURD_SIZE)
    try:
        # numbers that are none become absurd ones, which are refused as such
        with np.errstate(invalid="ignore"):
            return dict(nrrd.read_header(lines))
    except _HEADER_ERRORS as error:
        raise UnreadableError("NRRD header is damaged", hint=AGAIN) from error


def _layout(header: dict[str, Any]) -> _Layout:
    try:
        sizes = tuple(int(n) for n in header["sizes"])
        encoding = _ENCODINGS.get(str(header["encoding"]).lower())
        name = str(header.get("data file", header.get("datafile", "")))
        line_skip = int(header.get("line skip", header.get("lineskip", 0)))
        byte_skip = int(header.get("byte skip", header.get("byteskip", 0)))
        kinds = [str(kind).lower() for kind in header.get("kinds", ())]
        dimension = int(header["dimension"])
    except _HEADER_ERRORS as error:
        raise UnreadableError("NRRD header is damaged", hint=AGAIN) from error
    require_sane_size(sizes)
    if dimension != len(sizes) or (kinds and len(kinds) != len(sizes)) or line_skip < 0 or byte_skip < -1:
        raise UnreadableError("NRRD header contradicts itself", hint=AGAIN)
    if encoding is None or (byte_skip < 0 and encoding != "raw"):
        raise UnreadableError("NRRD encoding is not read", hint="save it raw", code=Code.UNSUPPORTED_FORMAT)
    if name.upper().startswith("LIST") or "%" in name:
        what, hint = "voxels lie in several files", "save the volume as one file"
        raise UnreadableError(what, hint=hint, code=Code.UNSUPPORTED_FORMAT)
    extra = _extra_axis(header, kinds, len(sizes))
    kind = kinds[extra] if extra is not None and kinds else ""
    if "complex" in kind or "matrix" in kind:
        raise UnreadableError("voxels are no single numbers", code=Code.UNSUPPORTED_FORMAT)
    return _Layout(sizes, _dtype(header, encoding), encoding, line_skip, byte_skip, extra, kind, name)


def _extra_axis(header: dict[str, Any], kinds: list[str], dimension: int) -> int | None:
    """The axis without direction in space, else that of a kind that is none of space, else the last of four."""
    if "space directions" in header:
        directions = np.atleast_2d(np.asarray(header["space directions"], dtype=np.float64))
        if len(directions) != dimension:
            raise UnreadableError("NRRD header contradicts itself", hint=AGAIN)
        others = [axis for axis in range(dimension) if np.isnan(directions[axis]).all()]
    else:
        others = [axis for axis, kind in enumerate(kinds) if kind not in _SPATIAL_KINDS]
        if not others and dimension == 4:
            others = [3]
    if len(others) > 1 or dimension - len(others) not in (2, 3):
        raise GeometryError(
            f"image has {dimension} axes", expected="two or three in space", code=Code.FOUR_AXES
        )
    return others[0] if others else None


def _dtype(header: dict[str, Any], encoding: str) -> np.dtype:
    name = str(header.get("type", "")).lower()
    code = next((code for code, names in _NUMBERS.items() if name in names), None)
    if code is None:
        raise UnreadableError("voxels are no numbers that are read", code=Code.UNSUPPORTED_FORMAT)
    order = {"little": "<", "big": ">"}.get(str(header.get("endian", "")).lower())
    if order is None and encoding != "ascii" and np.dtype(code).itemsize > 1:
        raise UnreadableError("NRRD header names no byte order", hint=AGAIN)
    return np.dtype((order or "<") + code)


def _voxels(stream: Stream, layout: _Layout, path: Path) -> np.ndarray:
    """The stored numbers, axes in the order of the file."""
    for _ in range(layout.line_skip):
        if not stream.take_line(_LINE):
            raise EOFError
    if layout.encoding in ("gzip", "bzip2"):
        stream.decode("gzip" if layout.encoding == "gzip" else "bzip2")
    if layout.byte_skip < 0:
        stream.skip(path.stat().st_size - layout.size - stream.place)
    else:
        stream.skip(layout.byte_skip)
    if layout.encoding == "ascii":
        return numbers_in_text(stream, layout.dtype, layout.sizes)
    return np.frombuffer(take_whole(stream, layout.size), layout.dtype).reshape(layout.sizes, order="F")


def _axes_in_order(array: np.ndarray, layout: _Layout) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Axes of space first, in native byte order; colours as luminance."""
    array = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    notes: tuple[Finding, ...] = ()
    spatial = array.ndim - (layout.extra is not None)
    if layout.extra is not None:
        array = np.moveaxis(array, layout.extra, -1)
        if layout.kind in _COLOURS and array.shape[-1] in (3, 4):
            array = luminance(array[..., :3])
            notes = (finding(Code.COLOUR_CONVERTED, "fixed", "colours were converted to luminance"),)
    if spatial == 2:
        array = np.expand_dims(array, 2)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    return array, notes


def _affine(header: dict[str, Any], layout: _Layout) -> tuple[Affine, bool, tuple[Finding, ...]]:
    """To RAS+ mm; whether the spacing is known; and what was assumed."""
    axes = [axis for axis in range(len(layout.sizes)) if axis != layout.extra]
    try:
        columns, origin, named = _oriented(header, axes)
        factor = _mm_per_unit(header, axes)
    except _HEADER_ERRORS as error:
        raise GeometryError("NRRD header places no voxels", hint=AGAIN) from error
    affine = np.eye(4)
    affine[: columns.shape[0], : columns.shape[1]] = columns
    known = bool(np.isfinite(columns).all())
    if not known:
        affine[:3, :3] = np.eye(3)
    affine[: len(origin), 3] = origin
    affine[:3] *= factor if known else 1.0
    if len(axes) == 2 and columns.shape[0] == 3 and known:
        # one slice has no direction to its neighbours
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] /= np.linalg.norm(affine[:3, 2]) or 1.0
    notes: tuple[Finding, ...] = ()
    if not named and len(axes) == 3:
        message = "header says nothing of orientation; axes were taken to run to the left, back and head"
        notes = (finding(Code.ORIENTATION_ASSUMED, "flagged", message),)
    return lps_to_ras(affine), known, notes


def _oriented(header: dict[str, Any], axes: list[int]) -> tuple[np.ndarray, np.ndarray, bool]:
    """Directions as columns, and origin, LPS+; whether the header names the space."""
    if "space directions" not in header:
        spacings = np.asarray(header.get("spacings", [math.nan] * (max(axes) + 1)), dtype=np.float64)
        return np.diag(spacings[axes]), np.zeros(len(axes)), False
    columns = np.atleast_2d(np.asarray(header["space directions"], dtype=np.float64))[axes].T
    origin = np.asarray(header.get("space origin", np.zeros(len(columns))), dtype=np.float64)
    if len(origin) != len(columns) or len(columns) not in (2, 3) or not np.isfinite(origin).all():
        raise ValueError("directions and origin do not agree")
    if not np.isfinite(columns).all():
        raise ValueError("directions are not finite")
    name = str(header.get("space", "")).lower()
    if name not in _SPACES and name:
        raise ValueError("unknown space")
    signs = np.array(_SPACES.get(name, (1.0, 1.0, 1.0)))[: len(columns)]
    return columns * signs[:, np.newaxis], origin * signs, bool(name)


def _mm_per_unit(header: dict[str, Any], axes: list[int]) -> float:
    """Of the one unit of length that all axes of space share; millimetres where none is named."""
    named = header.get("space units") or [str(header["units"][axis]) for axis in axes if "units" in header]
    units = {str(unit).lower() for unit in named if str(unit).strip()}
    if not units:
        return 1.0
    (unit,) = units
    return _MM_PER_UNIT[unit]
