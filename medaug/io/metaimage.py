"""MetaImage files (.mha, .mhd with its data beside it), as ITK writes them (itk.org/Wiki/MetaIO/Documentation)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from medaug.core.errors import GeometryError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import Affine, lps_to_ras
from medaug.io.stored import StoredImage, inside_folder
from medaug.io.stream import AGAIN, Stream, numbers_in_text, open_stream, require_sane_size, take_whole

_LINE, _LINES = 1 << 16, 4096
_TYPES: Final = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    # four bytes on disk, whatever the machine calls long
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_MM_PER_UNIT: Final = {"mm": 1.0, "cm": 10.0, "um": 0.001, "?": 1.0, "": 1.0}
_HERE = "LOCAL"


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """How the voxels lie: axes in the order of the file, channels of one voxel next to each other."""

    fields: dict[str, str]
    sizes: tuple[int, ...]
    channels: int
    dtype: np.dtype
    is_compressed: bool
    is_text: bool
    data_name: str
    skip: int

    @property
    def stored_sizes(self) -> tuple[int, ...]:
        """Fastest axis first."""
        return ((self.channels,) if self.channels > 1 else ()) + self.sizes

    @property
    def size(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.stored_sizes) * self.dtype.itemsize

    @property
    def frames(self) -> int:
        """Length of what is no axis of space."""
        return self.channels if self.channels > 1 else (self.sizes[3] if len(self.sizes) == 4 else 1)


def load_metaimage(path: Path) -> StoredImage:
    """Decode a file, in its own order of axes; directions and offset are LPS+ mm, as ITK has them.

    Raises:
        UnreadableError: If a file is missing, damaged, lies outside the folder, or is of a kind that is not read.
        GeometryError: If it has five or more axes, or its fields place no voxels.
    """
    with open_stream(path) as stream:
        layout = _layout(_fields(stream))
        array = _voxels(stream, layout, path) if layout.data_name.upper() == _HERE else None
        digests: tuple[str, ...] = (stream.finish(),)
    if array is None:
        other = inside_folder(path, layout.data_name)
        with open_stream(other) as stream:
            array = _voxels(stream, layout, other)
            digests += (stream.finish(),)
    array = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    if layout.channels > 1:
        array = np.moveaxis(array, 0, -1)
    if len(layout.sizes) == 2:
        array = np.expand_dims(array, 2)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    affine, known, notes = _affine(layout)
    return StoredImage(array, affine, known, digests, notes)


def count_frames(path: Path) -> int:
    """Length of the fourth axis, or number of channels, as the header claims it; nothing else is read.

    Raises:
        UnreadableError: As :func:`load_metaimage`.
        GeometryError: As :func:`load_metaimage`.
    """
    with open_stream(path) as stream:
        return _layout(_fields(stream)).frames


def data_file(path: Path) -> Path | None:
    """The file that holds the voxels, or None where it is the same.

    Raises:
        UnreadableError: If the header is damaged, or names a file that is missing or outside the folder.
        GeometryError: As :func:`load_metaimage`.
    """
    with open_stream(path) as stream:
        name = _layout(_fields(stream)).data_name
    return None if name.upper() == _HERE else inside_folder(path, name)


def _fields(stream: Stream) -> dict[str, str]:
    """Key and value of every line up to ElementDataFile, which is the last."""
    fields: dict[str, str] = {}
    while "ElementDataFile" not in fields:
        line = stream.take_line(_LINE)
        key, sign, value = line.decode("ascii", "replace").partition("=")
        if not sign or len(fields) > _LINES or len(line) == _LINE:
            raise UnreadableError("file is no MetaImage, or its header has no end", hint=AGAIN)
        fields[key.strip()] = value.strip()
    return fields


def _layout(fields: dict[str, str]) -> _Layout:
    try:
        dimensions = int(fields["NDims"])
        sizes = tuple(int(text) for text in fields["DimSize"].split())
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        skip = int(fields.get("HeaderSize", "0"))
    except (KeyError, ValueError) as error:
        raise UnreadableError("MetaImage header is damaged", hint=AGAIN) from error
    if dimensions != len(sizes) or channels < 1 or skip < -1:
        raise UnreadableError("MetaImage header contradicts itself", hint=AGAIN)
    require_sane_size((*sizes, channels))
    if len(sizes) not in (2, 3, 4) or (len(sizes) == 4 and channels > 1 and sizes[3] > 1):
        what = f"image has {len(sizes)} axes and {channels} channels"
        raise GeometryError(what, expected="two to four axes", code=Code.FOUR_AXES)
    return _Layout(
        fields=fields,
        sizes=sizes[:3] if channels > 1 else sizes,
        channels=channels,
        dtype=_dtype(fields),
        is_compressed=_is_true(fields, "CompressedData"),
        is_text="BinaryData" in fields and not _is_true(fields, "BinaryData"),
        data_name=_data_name(fields),
        skip=skip,
    )


def _dtype(fields: dict[str, str]) -> np.dtype:
    code = _TYPES.get(fields.get("ElementType", "").upper())
    if code is None:
        raise UnreadableError("voxels are no numbers that are read", code=Code.UNSUPPORTED_FORMAT)
    is_big = _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
    return np.dtype((">" if is_big else "<") + code)


def _data_name(fields: dict[str, str]) -> str:
    name = fields["ElementDataFile"]
    if not name or name.upper().startswith("LIST") or "%" in name:
        what, hint = "voxels lie in several files", "save the volume as one .mha file"
        raise UnreadableError(what, hint=hint, code=Code.UNSUPPORTED_FORMAT)
    scaled = [fields.get(f"ElementToIntensityFunction{what}", "") for what in ("Slope", "Offset")]
    if scaled[0] not in ("", "1") or scaled[1] not in ("", "0"):
        # tools differ on whether these are applied
        what, hint = "header scales its values", "save it with the scaling applied"
        raise UnreadableError(what, hint=hint, code=Code.UNSUPPORTED_FORMAT)
    return name


def _is_true(fields: dict[str, str], key: str) -> bool:
    return fields.get(key, "").lower() in ("true", "1", "yes")


def _voxels(stream: Stream, layout: _Layout, path: Path) -> np.ndarray:
    """The stored numbers, fastest axis first."""
    if layout.skip > 0 and layout.data_name.upper() != _HERE:
        stream.skip(layout.skip)
    elif layout.skip < 0:
        stream.skip(path.stat().st_size - layout.size - stream.place)
    if layout.is_text:
        return numbers_in_text(stream, layout.dtype, layout.stored_sizes)
    if layout.is_compressed:
        stream.decode("gzip")
    content = take_whole(stream, layout.size)
    return np.frombuffer(content, layout.dtype).reshape(layout.stored_sizes, order="F")


def _affine(layout: _Layout) -> tuple[Affine, bool, tuple[Finding, ...]]:
    """To RAS+ mm; whether the spacing is known; and what was assumed."""
    fields, axes = layout.fields, min(len(layout.sizes), 3)
    try:
        spacing = _numbers(fields, ("ElementSpacing", "ElementSize"))
        matrix = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"))
        origin = _numbers(fields, ("Offset", "Position", "Origin"))
        factor = _MM_PER_UNIT[fields.get("DistanceUnits", "").lower()]
    except (KeyError, ValueError) as error:
        raise GeometryError("MetaImage header places no voxels", hint=AGAIN) from error
    count = int(fields["NDims"])
    if any(len(numbers) not in (0, length) for numbers, length in ((spacing, count), (origin, count))) or len(
        matrix
    ) not in (0, count * count):
        raise GeometryError("MetaImage header places no voxels", hint=AGAIN)
    affine = np.eye(4)
    if len(matrix):
        # each row of the file is the direction of one axis
        affine[:axes, :axes] = matrix.reshape(count, count)[:axes, :axes].T
    if len(spacing):
        affine[:axes, :axes] *= spacing[:axes]
    if len(origin):
        affine[:axes, 3] = origin[:axes]
    affine[:3] *= factor
    notes: tuple[Finding, ...] = ()
    if not len(matrix) and axes == 3:
        message = "header says nothing of orientation; axes were taken to run to the left, back and head"
        notes = (finding(Code.ORIENTATION_ASSUMED, "flagged", message),)
    return lps_to_ras(affine), bool(len(spacing)), notes


def _numbers(fields: dict[str, str], keys: tuple[str, ...]) -> np.ndarray:
    """The numbers of the first of these fields that is there; none where none is."""
    text = next((fields[key] for key in keys if key in fields), "")
    numbers = np.array([float(word) for word in text.split()], dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("not finite")
    return numbers
