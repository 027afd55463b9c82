"""One DICOM file parsed up to its pixels, for the elements that are wanted alone.

Little-endian files as the standard wants them are walked in memory, others element by element through pydicom's reader; what
is odd (no preamble, no file meta, a transfer syntax that the bytes belie) goes through all of pydicom's guesses.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal, final

import pydicom
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.walk import MOST_ELEMENTS, PIXELS, Walk

_MEDIA_CLASS, _MEDIA_INSTANCE, _SYNTAX, _CHARACTERS = 0x00020002, 0x00020003, 0x00020010, 0x00080005
_PIXEL_DATA = 0x7FE00010
_IMPLICIT, _EXPLICIT, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_ENCAPSULATED: Final = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")
# What stands before the pixels of a deflated file; the pixels may unpack to anything
_MOST_HEADER_BYTES = 1 << 23


@final
@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data of a file stand.

    Attributes:
        start: Byte at which the value begins.
        length: Of the value in bytes; 0xFFFFFFFF where it is undefined.
        file_bytes: Size of the whole file.
        is_float: FloatPixelData or DoubleFloatPixelData.
    """

    start: int
    length: int
    file_bytes: int
    is_float: bool = False


@final
@dataclass(frozen=True, slots=True)
class Parsed:
    """A file up to its pixels.

    Attributes:
        elements: Those that were wanted.
        transfer_syntax: UID, or empty.
        media_class: MediaStorageSOPClassUID, or empty.
        media_instance: MediaStorageSOPInstanceUID, or empty.
        pixels: Where the pixel data stand; None where there are none, or where they lie in a stream that is deflated.
        is_cut: Whether the file ends within an element.
    """

    elements: Elements
    transfer_syntax: str
    media_class: str
    media_instance: str
    pixels: PixelElement | None
    is_cut: bool = False

    @property
    def required_pixels(self) -> PixelElement | None:
        """Where the pixel data stand; None where they lie in a stream that is deflated.

        Raises:
            UnreadableError: If there are none.
        """
        if self.is_cut:
            hint = "copy or export the file again"
            raise UnreadableError("DICOM header is cut short", hint=hint, code=Code.TRUNCATED_FILE)
        if self.pixels is None and self.transfer_syntax != _DEFLATED:
            hint = "export the images, not only headers"
            raise UnreadableError("file has no pixel data", hint=hint, code=Code.NO_PIXEL_DATA)
        return self.pixels


def parse(handle: BinaryIO, wanted: Iterable[int]) -> Parsed:
    """Parse an open file that begins as DICOM does; raises what pydicom raises.

    Args:
        handle: At its start.
        wanted: Tags; all others are skipped.
    """
    tags: list[BaseTag | int] = [*wanted, _CHARACTERS]
    if handle.read(132)[128:] != b"DICM":
        return _guessed(handle, tags)
    meta = Elements(data_element_generator(handle, False, True, stop_when=_after_meta))
    syntax = meta.text(_SYNTAX)
    if syntax == _DEFLATED:
        header = io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(handle.read(), _MOST_HEADER_BYTES))
        found = data_element_generator(header, False, True, stop_when=_stop_at_pixels(), specific_tags=tags)
        return Parsed(Elements(found), syntax, meta.text(_MEDIA_CLASS), meta.text(_MEDIA_INSTANCE), None)
    is_known = syntax in (_IMPLICIT, _EXPLICIT, _BIG) or syntax.startswith(_ENCAPSULATED)
    if not is_known or _looks_implicit(handle) != (syntax == _IMPLICIT):
        return _guessed(handle, tags)
    if syntax == _BIG:
        found = data_element_generator(handle, False, False, stop_when=_stop_at_pixels(), specific_tags=tags)
    else:
        found = Walk(handle, frozenset(tags), is_implicit=syntax == _IMPLICIT).elements()
    elements = Elements(found)
    pixels = _pixel_element(handle, syntax)
    is_cut = handle.tell() > os.fstat(handle.fileno()).st_size
    return Parsed(elements, syntax, meta.text(_MEDIA_CLASS), meta.text(_MEDIA_INSTANCE), pixels, is_cut)


def _guessed(handle: BinaryIO, tags: list[BaseTag | int]) -> Parsed:
    handle.seek(0)
    dataset = pydicom.dcmread(handle, force=True, stop_before_pixels=True, specific_tags=[*tags])
    meta = dataset.file_meta
    syntax = str(meta.get("TransferSyntaxUID") or "")
    is_implicit, is_little = dataset.original_encoding
    # bare data sets name no syntax: they are what pydicom took them for
    if not syntax and is_implicit is not None and is_little is not None:
        syntax = _IMPLICIT if is_implicit else _EXPLICIT if is_little else _BIG
    said = _IMPLICIT if is_implicit else syntax
    pixels = None if syntax == _DEFLATED else _pixel_element(handle, said)
    media = str(meta.get("MediaStorageSOPClassUID") or "")
    instance = str(meta.get("MediaStorageSOPInstanceUID") or "")
    return Parsed(Elements.of(dataset), syntax, media, instance, pixels)


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


def _stop_at_pixels() -> Callable[[BaseTag, str | None, int], bool]:
    """Asked before every element of a header whether it ends here."""
    count = 0

    def is_over(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal count
        count += 1
        if count > MOST_ELEMENTS:
            raise ValueError("header has too many elements")
        return tag in PIXELS

    return is_over


def _looks_implicit(handle: BinaryIO) -> bool:
    """Whether the first element has no value representation."""
    begun = handle.tell()
    head = handle.read(6)
    handle.seek(begun)
    return not (head[4:].isalpha() and head[4:].isupper())


def _pixel_element(handle: BinaryIO, syntax: str) -> PixelElement | None:
    """Where the pixel data stand in a file that was parsed up to them (PS3.5 7.1)."""
    begun = handle.tell()
    head = handle.read(12)
    order: Literal["little", "big"] = "big" if syntax == _BIG else "little"
    group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    if len(head) < 8 or group << 16 | element not in PIXELS:
        return None
    where = (8, slice(4, 8)) if syntax == _IMPLICIT else (12, slice(8, 12))
    return PixelElement(
        begun + where[0],
        int.from_bytes(head[where[1]], order),
        os.fstat(handle.fileno()).st_size,
        is_float=(group << 16 | element) != _PIXEL_DATA,
    )
