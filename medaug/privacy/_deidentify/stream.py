"""A DICOM file as a tree of elements and back (PS3.5 section 7, PS3.10 section 7.1), every byte accounted for.

Values stay bytes: nothing is converted that is not looked at, and pixels are copied as they stand. What is cut short or makes no
sense is refused; a file that is half understood could carry anything.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

from pydicom._dicom_dict import DicomDictionary

from medaug.core.errors import UnreadableError
from medaug.privacy._deidentify.values import is_standard_uid, may_be_standard

IMPLICIT: Final = "1.2.840.10008.1.2"
_BIG: Final = "1.2.840.10008.1.2.2"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_LONG: Final = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
_SHORT: Final = frozenset(
    [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
)
_SHORT_CODES: Final = {vr.encode("ascii"): vr for vr in _SHORT}
_ZERO_PADDED: Final = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UI", "UN"])
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
PIXEL_DATA: Final = 0x7FE00010
_DEEPEST, _MOST_ELEMENTS = 64, 500_000
_MOST_INFLATED = 1 << 30
# Of a file without preamble: file meta, or group 0008 in either byte order
_BARE_STARTS = (b"\x02\0", b"\x08\0", b"\0\x08")
_PREAMBLE = bytes(128) + b"DICM"


@final
@dataclass(slots=True)
class Element:
    """One element.

    Attributes:
        tag: Group and element in one number.
        vr: Value representation; ``UN`` where neither the file nor the dictionary says.
        value: Bytes as stored, in the byte order of the file.
        items: Of a sequence; None for all others.
        is_encapsulated: Whether the value is fragments of pixel data with their delimiters.
    """

    tag: int
    vr: str
    value: bytes = b""
    items: list[list[Element]] | None = None
    is_encapsulated: bool = False


@final
@dataclass(frozen=True, slots=True)
class Syntax:
    """How elements are written.

    Attributes:
        uid: Of the transfer syntax.
        is_implicit: Whether elements have no value representation.
        is_big: Whether bytes are in big-endian order.
    """

    uid: str
    is_implicit: bool
    is_big: bool

    @property
    def is_deflated(self) -> bool:
        """Whether the data set is packed."""
        return self.uid == _DEFLATED


EXPLICIT: Final = Syntax(_EXPLICIT, is_implicit=False, is_big=False)


@final
@dataclass(frozen=True, slots=True)
class Stream:
    """A file, taken apart.

    Attributes:
        meta: Elements of the file meta information; none where the file has none.
        syntax: Of the data set.
        elements: Of the data set.
        meta_bytes: All that stands before the data set, as stored.
        body_bytes: Data set as stored, unpacked.
        rest: What follows a packed data set; it is never written.
    """

    meta: list[Element]
    syntax: Syntax
    elements: list[Element]
    meta_bytes: bytes
    body_bytes: bytes
    rest: bytes = b""


def read_stream(content: bytes) -> Stream:
    """Take a file apart.

    Raises:
        UnreadableError: If it is cut short, damaged, or no DICOM.
    """
    begins = 132 if content[128:132] == b"DICM" else 0
    if not begins and content[:2] not in _BARE_STARTS:
        raise UnreadableError("file is no DICOM", code="not-dicom")
    meta, at = _Reader(content, EXPLICIT).group_two(begins)
    uid = _text(meta, 0x00020010)
    body, rest = content[at:], b""
    if uid == _DEFLATED:
        body, rest = _inflate(body)
    syntax = _syntax(uid, body)
    reader = _Reader(body, syntax)
    elements, end = reader.elements(0, len(body), depth=0)
    if end != len(body):
        raise _damaged("ends in the middle of something")
    if not elements:
        raise _damaged("holds no elements")
    return Stream(meta, syntax, elements, content[:at], body, rest)


def write_elements(elements: list[Element], syntax: Syntax) -> bytes:
    """Elements in the order of their tags; sequences and items with their lengths."""
    order = ">" if syntax.is_big else "<"
    return b"".join(
        part for element in sorted(elements, key=_by_tag) for part in _written(element, syntax, order)
    )


def write_meta(meta: list[Element]) -> bytes:
    """All that stands before a data set: a preamble of zeros, and the file meta with its length."""
    written = write_elements(meta, EXPLICIT)
    return b"".join((_PREAMBLE, struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(written)), written))


def packed(body: bytes, syntax: Syntax) -> bytes:
    """A data set as it stands in the file: deflated where the syntax says so."""
    if not syntax.is_deflated:
        return body
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = packer.compress(body) + packer.flush()
    return body + bytes(len(body) % 2)


def _by_tag(element: Element) -> int:
    return element.tag


def _written(element: Element, syntax: Syntax, order: str) -> tuple[bytes, bytes]:
    """Head and value of an element."""
    vr, value = _stored_vr(element), element.value
    if element.items is not None:
        item_head = struct.Struct(f"{order}HHI")
        items = [write_elements(item, syntax) for item in element.items]
        value = b"".join(item_head.pack(0xFFFE, 0xE000, len(item)) + item for item in items)
        vr = "SQ"
    elif len(value) % 2:
        value += b"\0" if vr in _ZERO_PADDED else b" "
    length = _UNDEFINED if element.is_encapsulated else len(value)
    group, number = element.tag >> 16, element.tag & 0xFFFF
    if syntax.is_implicit:
        return struct.pack(f"{order}HHI", group, number, length), value
    if vr not in _LONG and length > 0xFFFF:
        vr = "UN"
    if vr in _LONG:
        return struct.pack(f"{order}HH2sHI", group, number, vr.encode("ascii"), 0, length), value
    return struct.pack(f"{order}HH2sH", group, number, vr.encode("ascii"), length), value


def _stored_vr(element: Element) -> str:
    """One representation where the dictionary allows several: the one that holds any content."""
    if len(element.vr) == 2:
        return element.vr
    return "OW" if "OW" in element.vr else element.vr[:2]


@lru_cache(maxsize=8192)
def dictionary_vr(tag: int) -> str:
    """Value representation of an attribute in PS3.6, such as ``US or SS``; empty where it is not there."""
    known = DicomDictionary.get(tag)
    return str(known[0]) if known is not None else ""


@final
class _Reader:
    """Reads elements from bytes that all lie in memory."""

    def __init__(self, content: bytes, syntax: Syntax) -> None:
        self._content, self._is_implicit, self._is_big = content, syntax.is_implicit, syntax.is_big
        order = ">" if syntax.is_big else "<"
        self._tag = struct.Struct(f"{order}HH").unpack_from
        self._short = struct.Struct(f"{order}H").unpack_from
        self._long = struct.Struct(f"{order}I").unpack_from
        self._short_head = struct.Struct(f"{order}HH2sH").unpack_from
        self._count = 0

    def group_two(self, at: int) -> tuple[list[Element], int]:
        """The elements of group 0002, and where the data set begins."""
        found: list[Element] = []
        while self._content[at : at + 2] == b"\x02\0":
            element, at = self._element(at, len(self._content), depth=0)
            found.append(element)
        return found, at

    def elements(self, at: int, end: int, *, depth: int) -> tuple[list[Element], int]:
        """Elements up to the end, or to the delimiter of the item; and where reading stopped."""
        found: list[Element] = []
        while at + 8 <= end:
            at = self._plain(at, end, found)
            if at + 8 > end:
                break
            group, number = self._tag(self._content, at)
            if group == 0xFFFE:
                if number == 0xE00D and depth:
                    return found, at + 8
                raise _damaged("holds a delimiter where none may stand")
            element, at = self._element(at, end, depth)
            found.append(element)
        return found, at

    def _plain(self, at: int, end: int, found: list[Element]) -> int:
        """Read what is most of every file, elements with a short length and no items, and stop before anything else."""
        content, head, begun = self._content, self._short_head, len(found)
        while not self._is_implicit and at + 8 <= end and len(found) <= _MOST_ELEMENTS:
            group, number, code, length = head(content, at)
            vr, stop = _SHORT_CODES.get(code), at + 8 + length
            if vr is None or stop > end or group == 0xFFFE:
                break
            found.append(Element(group << 16 | number, vr, content[at + 8 : stop]))
            at = stop
        self._counted(len(found) - begun)
        return at

    def _counted(self, more: int) -> None:
        self._count += more
        if self._count > _MOST_ELEMENTS:
            raise _damaged("holds too many elements")

    def _element(self, at: int, end: int, depth: int) -> tuple[Element, int]:
        self._counted(1)
        group, number = self._tag(self._content, at)
        tag = group << 16 | number
        vr, length, at = self._head(tag, at, end)
        if length == _UNDEFINED:
            return self._undefined(tag, vr, at, end, depth)
        if at + length > end:
            raise _damaged("is cut short")
        if vr == "SQ":
            return Element(tag, vr, items=self.items(at, at + length, depth)[0]), at + length
        element = Element(tag, vr, self._content[at : at + length])
        if vr == "UN":
            self._recognise(element, at, depth)
        return element, at + length

    def _head(self, tag: int, at: int, end: int) -> tuple[str, int, int]:
        """Representation, length, and where the value begins."""
        if self._is_implicit:
            return _vr_of(tag), self._long(self._content, at + 4)[0], at + 8
        vr = self._content[at + 4 : at + 6].decode("latin-1")
        if vr in _SHORT:
            return vr, self._short(self._content, at + 6)[0], at + 8
        if vr not in _LONG:
            raise _damaged("holds an unknown value representation")
        if at + 12 > end:
            raise _damaged("is cut short")
        return vr, self._long(self._content, at + 8)[0], at + 12

    def _undefined(self, tag: int, vr: str, at: int, end: int, depth: int) -> tuple[Element, int]:
        if tag == PIXEL_DATA:
            stop = self._fragments(at, end)
            return Element(tag, "OB", self._content[at:stop], is_encapsulated=True), stop
        if vr not in ("SQ", "UN"):
            raise _damaged("holds an element without a length")
        reader = self
        if vr == "UN" and not self._is_implicit:
            # PS3.5 6.2.2 note 2: of unknown representation, without length: items in implicit little endian
            reader = self._as_implicit()
        items, stop = reader.items(at, end, depth, is_delimited=True)
        return Element(tag, "SQ", items=items), stop

    def _as_implicit(self) -> _Reader:
        reader = _Reader(self._content, Syntax(IMPLICIT, is_implicit=True, is_big=False))
        reader._count = self._count
        return reader

    def _recognise(self, element: Element, at: int, depth: int) -> None:
        """Give an element of unknown representation the dictionary's; what does not fit it stays unknown."""
        known = dictionary_vr(element.tag)
        if not known or self._is_big:
            return
        if known != "SQ":
            element.vr = known
            return
        try:
            element.items = self._as_implicit().items(at, at + len(element.value), depth)[0]
        except UnreadableError:
            return
        element.vr, element.value = "SQ", b""

    def items(
        self, at: int, end: int, depth: int, *, is_delimited: bool = False
    ) -> tuple[list[list[Element]], int]:
        """The items of a sequence, and where reading stopped."""
        if depth >= _DEEPEST:
            raise _damaged("is nested too deep")
        found: list[list[Element]] = []
        while at + 8 <= end:
            group, number = self._tag(self._content, at)
            tag, length = group << 16 | number, self._long(self._content, at + 4)[0]
            at += 8
            if tag == _SEQUENCE_END and is_delimited:
                return found, at
            if tag != _ITEM:
                raise _damaged("holds something else than items in a sequence")
            stop = end if length == _UNDEFINED else at + length
            if stop > end:
                raise _damaged("is cut short")
            item, reached = self.elements(at, stop, depth=depth + 1)
            is_ended = self._content[reached - 8 : reached - 4] in (b"\xfe\xff\x0d\xe0", b"\xff\xfe\xe0\x0d")
            if length == _UNDEFINED and not (is_ended and reached <= end):
                raise _damaged("is cut short")
            if length != _UNDEFINED and reached != stop:
                raise _damaged("holds an item that ends elsewhere than it says")
            found.append(item)
            at = reached
        if is_delimited or at != end:
            raise _damaged("is cut short")
        return found, at

    def _fragments(self, at: int, end: int) -> int:
        """Where encapsulated pixel data end (PS3.5 A.4)."""
        while at + 8 <= end:
            group, number = self._tag(self._content, at)
            length = self._long(self._content, at + 4)[0]
            at += 8
            if group << 16 | number == _SEQUENCE_END:
                return at
            if group << 16 | number != _ITEM or length == _UNDEFINED:
                break
            at += length
        raise _damaged("holds pixel data that are cut short")


@lru_cache(maxsize=8192)
def _vr_of(tag: int) -> str:
    """Representation where the file does not say it."""
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    return dictionary_vr(tag) or "UN"


def _syntax(uid: str, body: bytes) -> Syntax:
    """How the data set is written: as the file says, or as it looks where that is nothing or plainly wrong."""
    vr = body[4:6]
    looks_explicit = vr.decode("latin-1") in _SHORT | _LONG
    if uid == _BIG:
        return Syntax(uid, is_implicit=False, is_big=True)
    if uid and not (is_standard_uid(uid) or may_be_standard(uid)):
        raise UnreadableError("DICOM file is of an unknown transfer syntax", code="unknown-syntax")
    if not uid or (uid in (IMPLICIT, _EXPLICIT) and looks_explicit != (uid == _EXPLICIT)):
        uid = _EXPLICIT if looks_explicit else IMPLICIT
    return Syntax(uid, is_implicit=uid == IMPLICIT, is_big=False)


def _inflate(body: bytes) -> tuple[bytes, bytes]:
    try:
        packer = zlib.decompressobj(-zlib.MAX_WBITS)
        unpacked = packer.decompress(body, _MOST_INFLATED)
    except zlib.error as error:
        raise _damaged("cannot be unpacked") from error
    if packer.unconsumed_tail or not packer.eof:
        raise _damaged("unpacks to more than 1 GiB, or is cut short")
    return unpacked, packer.unused_data


def _text(elements: list[Element], tag: int) -> str:
    found = next((element.value for element in elements if element.tag == tag), b"")
    return found.decode("latin-1").strip(" \0")


def _damaged(how: str) -> UnreadableError:
    return UnreadableError(f"DICOM file {how}", hint="copy or export the file again", code="damaged-file")
