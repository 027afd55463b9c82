"""Pixel data without what follows the pixels: nothing shows such bytes, and they can carry anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from medaug.privacy._deidentify.stream import PIXEL_DATA, Element, Syntax

_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _BITS = 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100
_BITS_OF: Final = {0x7FE00008: 32, 0x7FE00009: 64}


def trimmed(pixels: Iterable[Element], header: Iterable[Element], syntax: Syntax) -> list[Element]:
    """Native pixel data as long as the header says that they are (PS3.3 C.7.6.3, PS3.5 8.1.1); shorter ones as they stand."""
    words = {element.tag: element.value for element in header if element.tag >> 16 == _ROWS >> 16}
    return [_trimmed(element, words, syntax) for element in pixels]


def _trimmed(element: Element, words: dict[int, bytes], syntax: Syntax) -> Element:
    bits = _BITS_OF.get(element.tag) or (_number(words, _BITS, syntax) if element.tag == PIXEL_DATA else 0)
    count = _number(words, _ROWS, syntax) * _number(words, _COLUMNS, syntax)
    count *= _number(words, _SAMPLES, syntax) or 1
    frames = words.get(_FRAMES, b"").strip(b" \0")
    count *= int(frames) if frames.isdigit() else 1
    length = (count * bits + 7) // 8
    if element.is_encapsulated or not length or len(element.value) <= length:
        return element
    return replace(element, value=element.value[:length])


def _number(words: dict[int, bytes], tag: int, syntax: Syntax) -> int:
    return int.from_bytes(words.get(tag, b"")[:2], "big" if syntax.is_big else "little")
