"""What a de-identified file says of itself (PS3.15 E.1.1, PS3.3 C.12.1), and the seal by which its maker knows it again."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Final

from medaug import __version__
from medaug.privacy._deidentify.secret import Pseudonyms
from medaug.privacy._deidentify.stream import Element, Stream
from medaug.privacy._deidentify.table import EDITION, Option, Profile

IMPLEMENTATION_UID: Final = "2.25.275867431962379459021862817536894530712"
_REMOVED, _METHOD, _METHOD_CODES, _DATES = 0x00120062, 0x00120063, 0x00120064, 0x00280303
MARKS: Final = frozenset({_REMOVED, _METHOD, _METHOD_CODES, _DATES})
_OPEN = "medaug seal " + "0" * 32
_SEAL = re.compile(rb"medaug seal ([0-9a-f]{32})")


def marks(profile: Profile, *, pixels_cleaned: bool = False) -> list[Element]:
    """The elements that state what was done; the seal is still open."""
    dates = "REMOVED"
    if Option.MODIFIED_DATES in profile.options:
        dates = "MODIFIED"
    elif Option.FULL_DATES in profile.options:
        dates = "UNMODIFIED"
    method = f"medaug {__version__} PS3.15 {EDITION} table E.1-1\\{_OPEN}"
    items = [_code_item(code, meaning) for code, meaning in profile.codes(pixels_cleaned=pixels_cleaned)]
    return [
        Element(_REMOVED, "CS", b"YES"),
        Element(_METHOD, "LO", method.encode("ascii")),
        Element(_METHOD_CODES, "SQ", items=items),
        Element(_DATES, "CS", dates.encode("ascii")),
    ]


def closed(meta: bytes, body: bytes, pseudonyms: Pseudonyms) -> bytes:
    """The data set with its seal, which is over every byte of it and of the file meta."""
    seal = pseudonyms.seal(meta, body)
    return body.replace(_OPEN.encode("ascii"), f"medaug seal {seal}".encode("ascii"), 1)


def is_own(stream: Stream, pseudonyms: Pseudonyms) -> bool:
    """Whether a file is, byte for byte, what was written with this key before."""
    value = next((element.value for element in stream.elements if element.tag == _METHOD), b"")
    found = _SEAL.search(value)
    if found is None or stream.rest not in (b"", b"\0"):
        return False
    body = stream.body_bytes.replace(found.group(), _OPEN.encode("ascii"), 1)
    return hmac.compare_digest(pseudonyms.seal(stream.meta_bytes, body), found.group(1).decode("ascii"))


def meta_elements(classes: str, instance: str, syntax: str) -> list[Element]:
    """File meta information, written anew (PS3.10 table 7.1-1)."""
    values = (
        (0x00020001, "OB", b"\0\1"),
        (0x00020002, "UI", classes.encode("ascii")),
        (0x00020003, "UI", instance.encode("ascii")),
        (0x00020010, "UI", syntax.encode("ascii")),
        (0x00020012, "UI", IMPLEMENTATION_UID.encode("ascii")),
        (0x00020013, "SH", f"medaug {__version__}"[:16].encode("ascii")),
    )
    return [Element(tag, vr, value) for tag, vr, value in values]


def without_marks(elements: Iterable[Element]) -> list[Element]:
    """Elements less those that state what an earlier run did."""
    return [element for element in elements if element.tag not in MARKS]


def _code_item(code: str, meaning: str) -> list[Element]:
    return [
        Element(0x00080100, "SH", code.encode("ascii")),
        Element(0x00080102, "SH", b"DCM"),
        Element(0x00080104, "LO", meaning.encode("ascii")),
    ]
