"""Whether a DICOM file is all there: pydicom takes what it finds of one that is cut short, and says nothing that can be caught."""

from __future__ import annotations

import struct
from typing import Final, final

_LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_UNDEFINED: Final = 0xFFFFFFFF
_ITEMS, _ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE, 0xE000, 0xE00D, 0xE0DD


def is_whole(content: bytes, *, is_implicit: bool, is_little: bool) -> bool:
    """Whether the elements of a file that is not deflated end where it ends (PS3.5 7.1 and 7.5); zeros may follow.

    Args:
        content: All of it, with preamble or without.
        is_implicit: Whether elements after the file meta have no value representation.
        is_little: Whether they are little endian.
    """
    walk = _Walk(content, 132 if content[128:132] == b"DICM" else 0)
    try:
        while walk.group() == 2:
            walk.element(is_implicit=False, is_little=True)
        while walk.is_inside():
            walk.element(is_implicit=is_implicit, is_little=is_little)
    except struct.error:
        return False
    return walk.is_at_end()


@final
class _Walk:
    def __init__(self, content: bytes, start: int) -> None:
        self._content, self._at = content, start
        # sequences and items of undefined length that have not ended yet
        self._open = 0

    def group(self) -> int:
        """Of the next element, where it is file meta."""
        return int.from_bytes(self._content[self._at : self._at + 2], "little")

    def is_inside(self) -> bool:
        """Whether more must follow."""
        return self._open > 0 or any(self._content[self._at : self._at + 8])

    def is_at_end(self) -> bool:
        """Whether what follows is nothing, or padding."""
        return self._at <= len(self._content) and not any(self._content[self._at :])

    def element(self, *, is_implicit: bool, is_little: bool) -> None:
        """Step over one element or item, or into it where only its end will tell how long it is.

        Raises:
            struct.error: If the file ends before it does.
        """
        order = "<" if is_little else ">"
        group, number = struct.unpack_from(f"{order}HH", self._content, self._at)
        if group == _ITEMS:
            (length,) = struct.unpack_from(f"{order}I", self._content, self._at + 4)
            self._item(number, length)
            return
        head, length = self._shape(order, is_implicit=is_implicit)
        if length == _UNDEFINED:
            self._at += head
            self._open += 1
            return
        self._skip(head + length)

    def _item(self, number: int, length: int) -> None:
        self._skip(8)
        if number == _ITEM and length == _UNDEFINED:
            self._open += 1
        elif number == _ITEM:
            self._skip(length)
        elif self._open and number in (_ITEM_END, _SEQUENCE_END):
            self._open -= 1

    def _shape(self, order: str, *, is_implicit: bool) -> tuple[int, int]:
        vr = self._content[self._at + 4 : self._at + 6]
        if is_implicit or not (vr.isalpha() and vr.isupper()):
            return 8, struct.unpack_from(f"{order}I", self._content, self._at + 4)[0]
        if vr in _LONG_VRS:
            return 12, struct.unpack_from(f"{order}I", self._content, self._at + 8)[0]
        return 8, struct.unpack_from(f"{order}H", self._content, self._at + 6)[0]

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._content):
            raise struct.error("file ends within an element")
