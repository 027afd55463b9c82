"""The raw elements of a parsed header, converted one by one: far quicker than pydicom's own values, and never raising."""

from __future__ import annotations

import struct
from typing import Final, final

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

_BINARY: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "AT": "H"}
_UNTOLD = frozenset({None, "", "UN", "OB"})
_PARSE_ERRORS = (
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


@final
class Elements:
    """Values of a data set by tag; what is missing, empty or malformed comes back as empty.

    Only elements that pydicom has not converted yet are seen: a data set fresh from the file, text and numbers alone.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def has(self, tag: int) -> bool:
        """Whether the element stands in the data set, with a value or without."""
        return tag in self._dataset

    def _raw(self, tag: int) -> RawDataElement | None:
        if tag not in self._dataset:
            return None
        element: object = self._dataset.get_item(tag)
        return element if isinstance(element, RawDataElement) else None

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

    def items(self, tag: int) -> tuple[Elements, ...]:
        """The items of a sequence."""
        try:
            sequence = self._dataset[tag].value if tag in self._dataset else None
        except _PARSE_ERRORS:
            return ()
        return tuple(Elements(item) for item in sequence) if isinstance(sequence, Sequence) else ()


def _texts(raw: RawDataElement) -> tuple[str, ...]:
    text = (raw.value or b"").decode("latin-1").strip(" \0")
    return tuple(part.strip(" \0") for part in text.split("\\")) if text else ()
