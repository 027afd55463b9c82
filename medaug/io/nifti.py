"""NIfTI-1 and NIfTI-2 files: read with their geometry, written so that the same array gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import logger as nibabel_logger
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.geometry import Grid, Reorientation, to_ras
from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import Image, Labels, Mask
from medaug.core.wording import counted

SUFFIXES = (".nii.gz", ".nii")
_AGAIN = "copy or export it again"
_MAX_VOXELS = 1 << 31
_MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_MAGIC_1, _MAGIC_2 = b"n+1\0", b"n+2\0"
_LAST_FORM_CODE = 5
_HEADER_ERRORS = (HeaderDataError, ImageFileError, KeyError, OverflowError, ValueError, WrapStructError)
_CIFTI_INTENTS = range(3000, 3100)


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
        UnreadableError: If the file is missing, truncated, damaged or no NIfTI image.
        GeometryError: If it has four or more axes, or an affine that places no voxels.
    """
    return _read(path, None, as_stored=as_stored, where=where)


def read_channels(path: Path, count: int, *, as_stored: bool = False, where: str = "") -> NiftiImage:
    """Read an image whose fourth axis holds ``count`` channels, as the Decathlon's files do; as :func:`read_nifti`.

    Returns:
        The image; its array is (C, I, J, K).

    Raises:
        UnreadableError: If the file is missing, truncated, damaged or no NIfTI image.
        GeometryError: If it holds another number of channels, or an affine that places no voxels.
    """
    return _read(path, count, as_stored=as_stored, where=where)


def _read(path: Path, channels: int | None, *, as_stored: bool, where: str) -> NiftiImage:
    try:
        content = path.read_bytes()
        raw = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError as error:
        raise UnreadableError("file does not exist", where=where) from error
    except PermissionError as error:
        raise UnreadableError("file may not be read", where=where, hint="check its permissions") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableError("file is cut short or damaged", where=where, hint=_AGAIN) from error
    image = _parse(raw, where)
    array = _values(image, channels, where)
    grid = Grid(array.shape[-3:], _affine_mm(image, where))
    same = Reorientation((0, 1, 2), (False, False, False))
    grid, turn = (grid, same) if as_stored else to_ras(grid)
    turned = array if turn == same else turn.apply(array)
    return NiftiImage(turned, grid, turn, _spacing_known(image), hashlib.sha256(content).hexdigest())


def _parse(raw: bytes, where: str) -> nib.Nifti1Image | nib.Nifti2Image:
    kind = nib.Nifti1Image if raw[344:348] == _MAGIC_1 else nib.Nifti2Image
    if kind is nib.Nifti2Image and raw[4:8] != _MAGIC_2:
        raise UnreadableError("file is no single-file NIfTI image", where=where, hint=_AGAIN)
    try:
        with _quiet_nibabel():
            header = kind.header_class(raw[: kind.header_class.sizeof_hdr], check=False)
            image = kind.from_bytes(raw)
    except (*_HEADER_ERRORS, OSError) as error:
        raise UnreadableError("NIfTI header is damaged", where=where, hint=_AGAIN) from error
    if max(int(header["sform_code"]), int(header["qform_code"])) > _LAST_FORM_CODE:
        raise UnreadableError("NIfTI header names unknown coordinates", where=where)
    if int(image.header["intent_code"]) in _CIFTI_INTENTS:
        raise UnreadableError("file is CIFTI, which holds no image", where=where)
    return image


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


def _values(image: nib.Nifti1Image | nib.Nifti2Image, channels: int | None, where: str) -> np.ndarray:
    """The voxels after the header's scaling, in native byte order, as (I, J, K), or (C, I, J, K) for stated channels."""
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape += (1,) * (3 - len(shape))
    if channels is not None:
        return _channels_first(image, shape, channels, where)
    if len(shape) != 3:
        raise GeometryError(
            f"image is {len(shape)}D", where=where, expected="3D", hint="take one frame or channel out"
        )
    return _decoded(image, shape, where)


def _channels_first(
    image: nib.Nifti1Image | nib.Nifti2Image, shape: tuple[int, ...], channels: int, where: str
) -> np.ndarray:
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) != 4 or shape[3] != channels:
        held = counted(shape[3], "channel") if len(shape) == 4 else f"{len(shape)} axes"
        raise GeometryError(f"image holds {held}", where=where, expected=f"{channels} channels as stated")
    return np.moveaxis(_decoded(image, shape, where), 3, 0)


def _decoded(image: nib.Nifti1Image | nib.Nifti2Image, shape: tuple[int, ...], where: str) -> np.ndarray:
    if min(shape) < 1 or np.prod(shape, dtype=np.float64) > _MAX_VOXELS:
        raise GeometryError(f"image shape is {shape}", where=where, expected=f"1 to {_MAX_VOXELS} voxels")
    if image.header.get_data_dtype().kind not in "iuf":
        raise UnreadableError("voxels are not plain numbers (colour or complex)", where=where)
    try:
        array = np.asanyarray(image.dataobj).reshape(shape)
    except (OSError, EOFError, MemoryError, OverflowError, ValueError, zlib.error) as error:
        raise UnreadableError("voxels are cut short or damaged", where=where, hint=_AGAIN) from error
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))


def _affine_mm(image: nib.Nifti1Image | nib.Nifti2Image, where: str) -> np.ndarray:
    try:
        factor = _MM_PER_UNIT.get(image.header.get_xyzt_units()[0], 1.0)
    except KeyError as error:
        raise UnreadableError("NIfTI header names an unknown unit of length", where=where) from error
    if image.affine is None or not np.isfinite(image.affine).all():
        raise GeometryError("header gives no finite affine", where=where)
    return np.diag([factor, factor, factor, 1.0]) @ np.asarray(image.affine, dtype=np.float64)


def _spacing_known(image: nib.Nifti1Image | nib.Nifti2Image) -> bool:
    header = image.header
    placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    return placed or not np.allclose(header.get_zooms()[:3], 1.0)


def read_label(path: Path, *, as_stored: bool = False, where: str = "") -> NiftiImage:
    """Read a label map; as :func:`read_nifti`, with whole numbers of any stored type as int32.

    Raises:
        LabelError: If a voxel is not a whole number of at least 0 (a soft segmentation, for example).
    """
    image = read_nifti(path, as_stored=as_stored, where=where)
    labels = image.array
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise LabelError(
            "label map holds fractions", where=where, expected="whole numbers", hint="threshold it"
        )
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        raise LabelError(
            f"label map holds {labels.min():g} to {labels.max():g}", where=where, expected="ids of 0 or more"
        )
    whole = labels.astype(np.int32, copy=False)
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
