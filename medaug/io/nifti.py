"""NIfTI-1 and NIfTI-2 files: read with their geometry, written so that the same array gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import nibabel as nib
import numpy as np
from nibabel import nifti1, nifti2
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import logger as nibabel_logger
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from nibabel.wrapstruct import WrapStructError

from medaug.core.errors import DataError, GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import Affine, Grid, Reorientation, to_ras
from medaug.core.intensity import luminance
from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import Image, Labels, Mask
from medaug.core.wording import counted
from medaug.io.stored import StoredImage, channels_first, spatial_shape, whole_numbers
from medaug.io.stream import AGAIN, Stream, open_stream, require_sane_size, take_whole

SUFFIXES = (".nii.gz", ".nii")
_MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_MAGIC_1, _MAGIC_2 = b"n+1\0", b"n+2\0"
_PAIR_1, _PAIR_2 = b"ni1\0", b"ni2\0"
_HEADER_1, _HEADER_2 = 348, 540
# extensions stand before the voxels; the largest in use hold a few megabytes
_MAX_OFFSET = 64 << 20
_LAST_FORM_CODE = 5
_CONFLICT_VOXELS = 0.1
_HEADER_ERRORS = (HeaderDataError, ImageFileError, KeyError, OverflowError, ValueError, WrapStructError)
_CIFTI_INTENTS = range(3000, 3100)
# matrices, displacements and vectors a voxel (nifti1.h, NIFTI_INTENT_GENMATRIX to NIFTI_INTENT_VECTOR)
_VECTOR_INTENTS = range(1004, 1008)
_RGB, _RGBA = ("R", "G", "B"), ("R", "G", "B", "A")


@final
@dataclass(frozen=True, slots=True, eq=False)
class NiftiImage:
    """One file, as stored or turned to RAS+ order.

    Attributes:
        array: (I, J, K), or (C, I, J, K) where channels were asked for; integers as stored where the header scales nothing,
            else floats after scaling.
        grid: Where the voxels are, RAS+ mm.
        turn: How the stored axes became those of ``array``; its ``invert`` gives the stored order back.
        spacing_known: False where the header carries neither sform nor qform and says 1 x 1 x 1.
        sha256: Of the file's bytes.
    """

    array: np.ndarray
    grid: Grid
    turn: Reorientation
    spacing_known: bool
    sha256: str


def is_nifti(path: Path) -> bool:
    """Whether the name ends as NIfTI files do."""
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """The name without ``.nii`` or ``.nii.gz``."""
    name = path.name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def read_nifti(path: Path, *, as_stored: bool = False, where: str = "") -> NiftiImage:
    """Read a 3D (or 2D, which becomes one slice) image.

    The sform is used before the qform, as the NIfTI-1 standard advises for codes above 0; a header unit of
    metre or micrometre is turned to mm. Trailing axes of length 1 are dropped.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file.
        as_stored: Keep the stored order of axes instead of the one closest to RAS+.
        where: Pseudonymous id for error lines, which never name the path.

    Raises:
        UnreadableError: If the file is missing, truncated, damaged, coloured or no NIfTI image.
        GeometryError: If it has four or more axes, or an affine that places no voxels.
    """
    return _read(path, None, as_stored=as_stored, where=where)


def read_channels(path: Path, count: int, *, as_stored: bool = False, where: str = "") -> NiftiImage:
    """Read an image whose fourth axis holds ``count`` channels, as the Decathlon's files do; as :func:`read_nifti`.

    Returns:
        The image; its array is (C, I, J, K).

    Raises:
        UnreadableError: If the file is missing, truncated, damaged, coloured or no NIfTI image.
        GeometryError: If it holds another number of channels, or an affine that places no voxels.
    """
    return _read(path, count, as_stored=as_stored, where=where)


def _read(path: Path, channels: int | None, *, as_stored: bool, where: str) -> NiftiImage:
    try:
        stored = load_nifti(path)
        if any(note.code == Code.COLOUR_CONVERTED for note in stored.findings):
            raise UnreadableError("voxels are colours", hint="convert them to luminance first")
        array = channels_first(stored, None if channels is None else "channels")
        if channels is None:
            array = array[0]
        elif len(array) != channels:
            held = counted(len(array), "channel")
            raise GeometryError(f"image holds {held}", expected=f"{channels} channels as stated")
        grid = Grid(array.shape[-3:], stored.affine)
    except DataError as error:
        hint = "take one frame or channel out" if error.code == Code.FOUR_AXES else error.hint
        raise error.located(where, hint=hint) from error
    same = Reorientation((0, 1, 2), (False, False, False))
    grid, turn = (grid, same) if as_stored else to_ras(grid)
    turned = array if turn == same else turn.apply(array)
    return NiftiImage(turned, grid, turn, stored.spacing_known, stored.sha256[0])


def load_nifti(path: Path) -> StoredImage:
    """Decode a file of one or two parts (``.hdr`` with ``.img`` beside it), in its own order of axes.

    The header is read first, and never more of the file than it accounts for. Colours become luminance (BT.601).

    Returns:
        The image with its fourth axis, if it has one; ``transform-conflict`` where sform and qform disagree by more than
        a tenth of a voxel, ``orientation-assumed`` where there is neither.

    Raises:
        UnreadableError: If the file is missing, damaged, of another format or holds no intensities.
        GeometryError: If it has five or more axes, or gives no finite affine.
    """
    with open_stream(path) as stream:
        layout, taken = _open(stream)
        if layout.is_single:
            stream.skip(layout.offset - taken)
            content = take_whole(stream, layout.size)
        digests: tuple[str, ...] = (stream.finish(),)
    if not layout.is_single:
        content, digest = _second_file(path, layout)
        digests += (digest,)
    array, notes = _values(content, layout)
    affine, conflict = _affine_mm(layout.header, layout.shape)
    return StoredImage(array, affine, _spacing_known(layout.header), digests, (*notes, *conflict))


def read_grid(path: Path) -> Grid:
    """Where the voxels lie, as stored; nothing but the header is read.

    Raises:
        UnreadableError: As :func:`load_nifti`.
        GeometryError: As :func:`load_nifti`.
    """
    with open_stream(path) as stream:
        layout, _ = _open(stream)
    affine, _ = _affine_mm(layout.header, layout.shape)
    return Grid((layout.shape[0], layout.shape[1], layout.shape[2]), affine)


def count_frames(path: Path) -> int:
    """Length of the fourth axis as the header claims it; nothing else is read.

    Raises:
        UnreadableError: As :func:`load_nifti`.
        GeometryError: As :func:`load_nifti`.
    """
    with open_stream(path) as stream:
        layout, _ = _open(stream)
    return layout.shape[3] if len(layout.shape) == 4 else 1


def second_file(path: Path) -> Path | None:
    """The ``.img`` of a ``.hdr``, or None where there is none."""
    base = path.name[: -len(".hdr")]
    names = [f"{base}{ending}" for ending in (".img", ".img.gz", ".IMG")]
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """How the voxels lie in the file.

    Attributes:
        header: As nibabel parsed it.
        shape: Three or four axes.
        dtype: Of one stored voxel; fields R, G, B for colours.
        offset: Byte at which they begin.
        is_single: Whether they stand in the file of the header.
    """

    header: nib.Nifti1Header
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    is_single: bool

    @property
    def size(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


def _open(stream: Stream) -> tuple[_Layout, int]:
    """The layout, and how many bytes were taken for it."""
    if stream.starts_as_gzip():
        stream.decode("gzip")
    raw = stream.take(_HEADER_1)
    if bytes(raw[4:8]) in (_MAGIC_2, _PAIR_2):
        raw += stream.take(_HEADER_2 - _HEADER_1)
    header, is_single = _parse(bytes(raw))
    try:
        shape = tuple(int(n) for n in header.get_data_shape())
        dtype = header.get_data_dtype()
        offset = int(header.get_data_offset())
    except _HEADER_ERRORS as error:
        raise UnreadableError("NIfTI header is damaged", hint=AGAIN) from error
    require_sane_size(shape)
    if not 0 <= offset <= _MAX_OFFSET or (is_single and offset < len(raw)):
        raise UnreadableError("NIfTI header is damaged: its voxels begin at an impossible place", hint=AGAIN)
    _require_intensities(header, dtype, shape)
    return _Layout(header, spatial_shape(shape), dtype, offset, is_single), len(raw)


def _parse(raw: bytes) -> tuple[nib.Nifti1Header, bool]:
    """The header, and whether the voxels stand in the same file."""
    magic_1, magic_2 = raw[344:348], raw[4:8]
    kind: Any
    if magic_2 in (_MAGIC_2, _PAIR_2) and len(raw) == _HEADER_2:
        kind = nifti2.Nifti2Header if magic_2 == _MAGIC_2 else nifti2.Nifti2PairHeader
    elif magic_1 in (_MAGIC_1, _PAIR_1):
        kind = nifti1.Nifti1Header if magic_1 == _MAGIC_1 else nifti1.Nifti1PairHeader
    else:
        raise _stranger(raw)
    try:
        with _quiet_nibabel():
            given = kind(raw, check=False)
            header = kind(raw)
    except (*_HEADER_ERRORS, OSError) as error:
        raise UnreadableError("NIfTI header is damaged", hint=AGAIN) from error
    if max(int(given["sform_code"]), int(given["qform_code"])) > _LAST_FORM_CODE:
        raise UnreadableError("NIfTI header names unknown coordinates")
    return header, bool(header.is_single)


def _stranger(raw: bytes) -> UnreadableError:
    """What to say of a file that has the name of a NIfTI file only."""
    sizes = {raw[:4], raw[:4][::-1]}
    if _HEADER_1.to_bytes(4, "little") in sizes and len(raw) == _HEADER_1:
        what = "file is Analyze 7.5, which says nothing of orientation"
    elif raw[128:132] == b"DICM":
        what = "file is DICOM and named as NIfTI"
    else:
        return UnreadableError("file is no NIfTI image", hint=AGAIN)
    return UnreadableError(what, hint="convert it to NIfTI", code=Code.UNSUPPORTED_FORMAT)


def _require_intensities(header: nib.Nifti1Header, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    intent = int(header["intent_code"])
    odd = ""
    if intent in _CIFTI_INTENTS:
        odd = "file is CIFTI, which holds no image"
    elif intent in _VECTOR_INTENTS and len(shape) > 3 and max(shape[3:]) > 1:
        odd = "voxels are vectors (a displacement field, for example), which are no image"
    elif dtype.kind == "c":
        odd = "voxels are complex numbers, which are not read"
    elif dtype.kind not in "iufV" or (dtype.kind == "V" and dtype.names not in (_RGB, _RGBA)):
        odd = "voxels are no numbers that are read"
    if odd:
        raise UnreadableError(odd, hint="convert it first", code=Code.UNSUPPORTED_FORMAT)


@contextmanager
def _quiet_nibabel() -> Iterator[None]:
    """Silence nibabel's log of what it mends in a header; what matters of that is refused."""
    nibabel_logger.addFilter(_drop)
    try:
        yield
    finally:
        nibabel_logger.removeFilter(_drop)


def _drop(_: logging.LogRecord) -> bool:
    return False


def _second_file(path: Path, layout: _Layout) -> tuple[bytearray, str]:
    other = second_file(path) if path.name.lower().endswith(".hdr") else None
    if other is None:
        hint = "put the .img file beside its .hdr"
        raise UnreadableError("the .img file of this two-file NIfTI image is missing", hint=hint)
    with open_stream(other) as stream:
        if stream.starts_as_gzip():
            stream.decode("gzip")
        stream.skip(layout.offset)
        content = take_whole(stream, layout.size)
        return content, stream.finish()


def _values(content: bytearray, layout: _Layout) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """The voxels after the header's scaling, in native byte order, and whether they were colours."""
    if layout.dtype.names is not None:
        samples = len(layout.dtype.names)
        colours = np.frombuffer(content, np.uint8).reshape((samples, *layout.shape), order="F")
        grey = luminance(np.moveaxis(colours[:3], 0, -1))
        message = "colours were converted to luminance"
        return grey, (finding(Code.COLOUR_CONVERTED, "fixed", message),)
    array = np.frombuffer(content, layout.dtype).reshape(layout.shape, order="F")
    try:
        slope, intercept = layout.header.get_slope_inter()
    except HeaderDataError as error:
        raise UnreadableError("NIfTI header scales values by no number", hint=AGAIN) from error
    array = apply_read_scaling(array, slope, intercept)
    return np.asarray(array, dtype=array.dtype.newbyteorder("=")), ()


def _affine_mm(header: nib.Nifti1Header, shape: tuple[int, ...]) -> tuple[Affine, tuple[Finding, ...]]:
    """The affine to RAS+ mm, and what is doubtful about it."""
    try:
        factor = _MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    except KeyError as error:
        raise UnreadableError("NIfTI header names an unknown unit of length") from error
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise GeometryError("header gives no affine") from error
    if not np.isfinite(affine).all():
        raise GeometryError("header gives no finite affine")
    return np.diag([factor, factor, factor, 1.0]) @ affine, _doubts(affine, header, shape)


def _doubts(affine: Affine, header: nib.Nifti1Header, shape: tuple[int, ...]) -> tuple[Finding, ...]:
    forms = [int(header["sform_code"]) > 0, int(header["qform_code"]) > 0]
    if all(forms):
        return _conflict(affine, header, shape)
    if any(forms) or min(shape[:3]) == 1:
        return ()
    message = "header says nothing of orientation; axes were taken to run to the left, front and head"
    return (finding(Code.ORIENTATION_ASSUMED, "flagged", message),)


def _conflict(sform: Affine, header: nib.Nifti1Header, shape: tuple[int, ...]) -> tuple[Finding, ...]:
    try:
        qform = np.asarray(header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        what = "qform is damaged"
    else:
        corners = np.array(list(itertools.product(*((0, n - 1) for n in shape[:3]))), dtype=np.float64)
        apart = np.abs(corners @ (sform - qform)[:3, :3].T + (sform - qform)[:3, 3]).max()
        voxel = np.linalg.norm(sform[:3, :3], axis=0).min()
        if apart <= _CONFLICT_VOXELS * voxel:
            return ()
        what = f"sform and qform put voxels up to {apart:.1f} mm apart"
    return (finding(Code.TRANSFORM_CONFLICT, "flagged", f"{what}; the sform was used, check an overlay"),)


def _spacing_known(header: nib.Nifti1Header) -> bool:
    placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    return placed or not np.allclose(header.get_zooms()[:3], 1.0)


def read_label(path: Path, *, as_stored: bool = False, where: str = "") -> NiftiImage:
    """Read a label map; as :func:`read_nifti`, with whole numbers of any stored type as int32.

    Raises:
        LabelError: If a voxel is not a whole number of at least 0 (a soft segmentation, for example).
    """
    image = read_nifti(path, as_stored=as_stored, where=where)
    try:
        whole = whole_numbers(image.array)
    except LabelError as error:
        raise error.located(where) from error
    return NiftiImage(whole, image.grid, image.turn, image.spacing_known, image.sha256)


def write_volume(path: Path, array: np.ndarray, grid: Grid) -> str:
    """Write one channel, (I, J, K) on its grid; returns the SHA-256 of the file.

    Stored as int16 where that is exact, else as float32; units mm, sform and qform code 1 (scanner).
    The same array gives the same bytes: gzip of level 1 without a time stamp.

    Raises:
        GeometryError: If array and grid do not agree.
        StorageError: If the file cannot be written.
    """
    return _write(path, _as_int16(array), grid)


def write_channels(path: Path, image: Image, grid: Grid) -> str:
    """Write all channels, (C, I, J, K), into one file with the channels as its fourth axis; as :func:`write_volume`.

    Raises:
        GeometryError: If image and grid do not agree.
        StorageError: If the file cannot be written.
    """
    return _write(path, np.moveaxis(_as_int16(image), 0, 3), grid)


def write_label(path: Path, labels: Labels | Mask, grid: Grid) -> str:
    """Write a label map or mask, (I, J, K), as uint8 (uint16 above 255); returns the SHA-256 of the file.

    Raises:
        LabelError: If an id is below 0 or above 65535.
        GeometryError: If array and grid do not agree.
        StorageError: If the file cannot be written.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise LabelError(f"label map holds {low} to {high}", expected="ids from 0 to 65535")
    return _write(path, labels.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16), grid)


def _as_int16(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "bui" and array.dtype.itemsize == 1:
        return array.astype(np.int16)
    limits = np.iinfo(np.int16)
    if np.isfinite(array).all() and array.min() >= limits.min and array.max() <= limits.max:
        small = array.astype(np.int16)
        # -0.0 equals 0 but is another float: kept as float32 so that edits stay bit-identical
        if np.array_equal(small, array) and not (
            array.dtype.kind == "f" and np.signbit(array[array == 0]).any()
        ):
            return small
    return array.astype(np.float32)


def _write(path: Path, array: np.ndarray, grid: Grid) -> str:
    if array.shape[:3] != grid.shape:
        raise GeometryError(f"array is {array.shape}", expected=f"{grid.shape}")
    # the header holds float32: rounding first (and turning -0 into 0) makes a file that is read and written
    # again the same file
    affine = np.asarray(grid.affine, dtype=np.float32).astype(np.float64) + 0.0
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    # a quaternion cannot hold a shear; the sform holds every affine
    image.set_qform(affine, code=1, strip_shears=True)
    image.set_sform(affine, code=1)
    content = gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
    write_bytes_atomic(path, content)
    return hashlib.sha256(content).hexdigest()
