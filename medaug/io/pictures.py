"""Pictures (PNG, TIFF, JPEG, BMP) as images and as masks; they lie nowhere in a patient, and their spacing is nominal."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import planar_grid
from medaug.core.intensity import luminance
from medaug.io.stored import StoredImage
from medaug.io.stream import AGAIN, open_stream, require_sane_size

_PILLOW_LOGGER: Final = logging.getLogger("PIL")
_FORMATS: Final = ("PNG", "TIFF", "JPEG", "BMP")
_LOSSY = frozenset({"JPEG", "MPO"})
# What Pillow and its plugins raise on damaged files
_PICTURE_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_MAX_BYTES = 1 << 31
_MOST_PIXELS = 1 << 28
# deflate packs a thousand bytes, of eight pixels each, into one
_PIXELS_PER_BYTE = 10_000
# class ids are few; more levels are shades at the edges of a mask that was scaled or smoothed
_MOST_IDS = 64
_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 262, 258, 339
_WHITE_IS_ZERO = 0


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Page:
    """One page as stored.

    Attributes:
        pixels: (rows, columns), or (rows, columns, samples) for colours and transparency.
        palette: (entries, 3) colours of the values, where they are indices.
        is_inverted: Stored with zero as white, and inverted here.
        is_turned: Turned as the orientation tag says.
    """

    pixels: np.ndarray
    palette: np.ndarray | None
    is_inverted: bool
    is_turned: bool


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A file with all its pages."""

    pages: tuple[_Page, ...]
    format: str
    sha256: str


def load_picture(path: Path) -> StoredImage:
    """Decode a picture as intensities: grey values as stored, colours and palettes as luminance (BT.601).

    The orientation tag (EXIF) is applied, with ``picture-turned``. Transparency is left out.

    Returns:
        (column, row, 1), or (column, row, 1, page) for several pages, placed by
        :func:`medaug.core.geometry.planar_grid`.

    Raises:
        UnreadableError: If the file is missing, damaged, claims an absurd size, or holds colours of more than 8 bits.
        GeometryError: If its pages differ in size (``mixed-size``).
    """
    picture = _open(path)
    notes = _notes(picture)
    if any(page.palette is not None or page.pixels.ndim == 3 for page in picture.pages):
        notes = (*notes, finding(Code.COLOUR_CONVERTED, "fixed", "colours were converted to luminance"))
    return _stored(picture, [_grey(page) for page in picture.pages], notes)


def load_mask(path: Path) -> StoredImage:
    """Decode a picture as a mask: grey values or palette indices as ids.

    Raises:
        LabelError: If it is in colour or transparent, lossy, or holds more values than classes can be
            (``label-not-whole``), or the first colour of its palette is not black.
        UnreadableError: As :func:`load_picture`.
        GeometryError: As :func:`load_picture`.
    """
    picture = _open(path)
    ids = [_ids(page) for page in picture.pages]
    values = np.unique(np.concatenate([np.unique(page) for page in ids]))
    if picture.format in _LOSSY and set(values.tolist()) not in ({0, 1}, {0, 255}, {0}):
        hint = "save it as PNG from its source"
        raise LabelError("mask is a JPEG, which blurs its edges", hint=hint, code=Code.LABEL_NOT_WHOLE)
    if len(values) > _MOST_IDS:
        what, hint = f"mask holds {len(values)} different values", "threshold it, or store class ids"
        raise LabelError(what, expected=f"at most {_MOST_IDS}", hint=hint, code=Code.LABEL_NOT_WHOLE)
    return _stored(picture, ids, _notes(picture))


def count_pages(path: Path) -> int:
    """How many pages a picture has.

    Raises:
        UnreadableError: As :func:`load_picture`.
    """
    with open_stream(path) as stream:
        content = bytes(stream.take(_MAX_BYTES))
    with _translated(), Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        return _pages_of(image)


def pages_as_slices(image: StoredImage) -> StoredImage:
    """Pages as slices along the third axis, where nothing says that they are anything else."""
    return replace(image, array=image.array[:, :, 0, :]) if image.array.ndim == 4 else image


def _notes(picture: _Picture) -> tuple[Finding, ...]:
    notes = []
    if any(page.is_turned for page in picture.pages):
        message = "pixels were turned as the orientation tag says; check that a mask was drawn on them so"
        notes.append(finding(Code.PICTURE_TURNED, "flagged", message))
    if any(page.is_inverted for page in picture.pages):
        notes.append(finding(Code.MONOCHROME1, "fixed", "picture stores white as zero and was inverted"))
    return tuple(notes)


def _stored(picture: _Picture, pages: list[np.ndarray], notes: tuple[Finding, ...]) -> StoredImage:
    first = pages[0]
    if any(page.shape != first.shape for page in pages):
        hint = "save its pages as files of their own"
        raise GeometryError("pages differ in size", hint=hint, code=Code.MIXED_SIZE)
    # (row, column) to (column, row)
    array = first.T[:, :, np.newaxis]
    if len(pages) > 1:
        array = np.stack([page.T for page in pages], axis=-1)[:, :, np.newaxis, :]
    grid = planar_grid(first.shape[0], first.shape[1], (1.0, 1.0))
    return StoredImage(array, grid.affine, False, (picture.sha256,), notes)


def _open(path: Path) -> _Picture:
    with open_stream(path) as stream:
        content = bytes(stream.take(_MAX_BYTES))
        digest = stream.finish()
    with _translated(), Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        pages = _pages_of(image)
        require_sane_size((*image.size, pages))
        most = min(_MOST_PIXELS, len(content) * _PIXELS_PER_BYTE)
        if image.size[0] * image.size[1] > most:
            what = f"picture claims {image.size[0]} x {image.size[1]} pixels"
            raise UnreadableError(what, expected=f"at most {most}", code=Code.ABSURD_SIZE)
        return _Picture(tuple(_page(image, number) for number in range(pages)), str(image.format), digest)


def _pages_of(image: ImageFile.ImageFile) -> int:
    """Pages of a TIFF; the second picture of a stereo JPEG and the frames of an animation are none."""
    return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


@contextmanager
def _translated() -> Iterator[None]:
    """Pillow's errors in one line, and its warnings and log, which quote the file, not at all."""
    level = _PILLOW_LOGGER.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _PILLOW_LOGGER.setLevel(logging.CRITICAL + 1)
            yield
        except Image.DecompressionBombError as error:
            raise UnreadableError("picture claims an absurd size", code=Code.ABSURD_SIZE) from error
        except _PICTURE_ERRORS as error:
            raise UnreadableError("picture is cut short, damaged or of another format", hint=AGAIN) from error
        finally:
            _PILLOW_LOGGER.setLevel(level)


def _page(image: ImageFile.ImageFile, number: int) -> _Page:
    image.seek(number)
    # asked before anything else, which may decode the page and forget it
    raw = _raw_mode(image)
    if ";16" in raw and image.mode not in ("I;16", "I;16B", "I;16L", "I"):
        what, hint = "picture holds colours of 16 bits, of which 8 would be lost", "save it as 16-bit grey"
        raise UnreadableError(what, hint=hint, code=Code.UNSUPPORTED_FORMAT)
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I", "F"):
        what, hint = "picture is in a colour space that is not read", "save it as grey or RGB"
        raise UnreadableError(what, hint=hint, code=Code.UNSUPPORTED_FORMAT)
    tags = _tiff_tags(image)
    is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
    shown = ImageOps.exif_transpose(image)
    pixels, is_inverted = _unscaled(np.asarray(shown), raw, tags)
    palette = None
    if shown.mode == "P":
        entries = np.array(shown.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
        # indices beyond the palette are black
        palette = np.zeros((256, 3), dtype=np.uint8)
        palette[: len(entries)] = entries
    return _Page(pixels, palette, is_inverted, is_turned)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How the decoder unpacks a pixel, such as ``L;4``; empty where Pillow does not say."""
    if not image.tile:
        return ""
    arguments = image.tile[0][3]
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


@final
@dataclass(frozen=True, slots=True)
class _TiffTags:
    """Tags of a TIFF page that Pillow does not act on (TIFF 6.0 section 8)."""

    photometric: int
    bits: int
    sample_format: int


def _tiff_tags(image: ImageFile.ImageFile) -> _TiffTags | None:
    tags = getattr(image, "tag_v2", None)
    if tags is None or image.format != "TIFF":
        return None
    bits, sample = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
    return _TiffTags(int(tags.get(_PHOTOMETRIC, 1)), int(np.ravel(bits)[0]), int(np.ravel(sample)[0]))


def _unscaled(pixels: np.ndarray, raw: str, tags: _TiffTags | None) -> tuple[np.ndarray, bool]:
    """Values as stored, and whether zero was white: Pillow spreads few bits over 255 and leaves many as they are."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8), False
    if raw.startswith(("L;2", "L;4")):
        return pixels // (85 if raw.startswith("L;2") else 17), False
    if tags is None or tags.bits <= 8:
        return pixels, False
    if tags.bits == 32 and tags.sample_format == 1:
        pixels = pixels.view(np.uint32)
    if tags.photometric != _WHITE_IS_ZERO:
        return pixels, False
    if pixels.dtype.kind != "u":
        what, hint = "picture stores white as zero in numbers with a sign", "save it with black as zero"
        raise UnreadableError(what, hint=hint, code=Code.UNSUPPORTED_FORMAT)
    return np.invert(pixels), True


def _grey(page: _Page) -> np.ndarray:
    """(rows, columns) intensities."""
    if page.palette is not None:
        return np.asarray(luminance(page.palette)[page.pixels])
    if page.pixels.ndim == 2:
        return page.pixels
    return page.pixels[..., 0] if page.pixels.shape[2] == 2 else luminance(page.pixels[..., :3])


def _ids(page: _Page) -> np.ndarray:
    """(rows, columns) ids of a mask."""
    if page.palette is not None:
        if page.palette[0].any():
            hint = "save it as grey values of 0, 1, 2, ..."
            raise LabelError("the mask's palette does not begin with black", hint=hint, code=Code.LABEL)
        return page.pixels
    if page.pixels.ndim == 2:
        return page.pixels
    colours = page.pixels[..., :1] if page.pixels.shape[2] == 2 else page.pixels[..., :3]
    transparent = page.pixels[..., -1] if page.pixels.shape[2] in (2, 4) else None
    if (colours != colours[..., :1]).any() or (transparent is not None and np.ptp(transparent)):
        what, hint = "mask is in colour or transparent", "save it as grey values of 0, 1, 2, ..."
        raise LabelError(what, hint=hint, code=Code.LABEL_NOT_WHOLE)
    return colours[..., 0]
