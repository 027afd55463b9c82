"""The raw elements of a parsed header, converted one by one: far quicker than pydicom's own values, and never raising."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, Self, final

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from medaug.io._dicom.border import PYDICOM_ERRORS

_BINARY: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "AT": "H"}
_CHARACTERS = 0x00080005
_UNTOLD = frozenset({None, "", "UN", "OB"})


@final
class Elements:
    """Values of a data set by tag; what is missing, empty or malformed comes back as empty.

    Text and numbers are seen only where pydicom has not converted them yet: in a data set fresh from the file.
    """

    __slots__ = ("_found",)

    def __init__(self, found: Iterable[RawDataElement | DataElement]) -> None:
        self._found = {int(element.tag): element for element in found}

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The elements of a data set."""
        return cls(dataset.values())

    def has(self, tag: int) -> bool:
        """Whether the element stands in the data set, with a value or without."""
        return tag in self._found

    def _raw(self, tag: int) -> RawDataElement | None:
        element = self._found.get(tag)
        return element if isinstance(element, RawDataElement) else None

    def content(self, tag: int) -> bytes:
        """The bytes of an element as stored."""
        raw = self._raw(tag)
        return (raw.value if raw is not None else None) or b""

    def texts(self, tag: int) -> tuple[str, ...]:
        """The stripped values of a text element."""
        raw = self._raw(tag)
        return () if raw is None else _texts(raw)

    def text(self, tag: int) -> str:
        """The first value of a text element, or nothing."""
        return next(iter(self.texts(tag)), "")

    def numbers(self, tag: int, kind: str = "DS") -> tuple[float, ...]:
        """The values of a number element; ``kind`` is its VR where the file does not tell (implicit VR, UN)."""
        raw = self._raw(tag)
        if raw is None:
            return ()
        code = _BINARY.get(kind if raw.VR in _UNTOLD else str(raw.VR))
        try:
            if code is None:
                return tuple(float(part) for part in _texts(raw))
            value = raw.value or b""
            count = len(value) // struct.calcsize(code)
            return struct.unpack(f"{'<' if raw.is_little_endian else '>'}{count}{code}", value)
        except (ValueError, struct.error):
            return ()

    def number(self, tag: int, kind: str = "DS") -> float | None:
        """The first value of a number element."""
        return next(iter(self.numbers(tag, kind)), None)

    def whole(self, tag: int, kind: str = "US") -> int | None:
        """The first value of a whole-number element."""
        value = self.number(tag, kind)
        return int(value) if value is not None and abs(value) < 2**53 else None

    def person(self, tag: int) -> str:
        """A text or name in the character set of the data set, as pydicom gives it."""
        value = self.content(tag)
        if value.isascii():
            return value.decode("ascii").rstrip(" \0")
        encodings = convert_encodings([*self.texts(_CHARACTERS)])
        return decode_bytes(value, encodings, TEXT_VR_DELIMS | PN_DELIMS).rstrip(" \0")

    def items(self, tag: int) -> tuple[Elements, ...]:
        """The items of a sequence."""
        element = self._found.get(tag)
        try:
            made = convert_raw_data_element(element) if isinstance(element, RawDataElement) else element
            sequence = made.value if made is not None else None
        except PYDICOM_ERRORS:
            return ()
        return tuple(Elements.of(item) for item in sequence) if isinstance(sequence, Sequence) else ()


def _texts(raw: RawDataElement) -> tuple[str, ...]:
    text = (raw.value or b"").decode("latin-1").strip(" \0")
    return tuple(part.strip(" \0") for part in text.split("\\")) if text else ()
