"""Files that no cleaning of headers makes safe: documents, sound, film, and images that may carry writing."""

from __future__ import annotations

from typing import Final

from medaug.privacy._deidentify.stream import Element, Stream

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_DIRECTORY = "1.2.840.10008.1.3.10"
# PS3.4 B.5: encapsulated PDF, CDA, STL, OBJ, MTL and what comes; private raw data; sound; film
_DOCUMENTS, _RAW = f"{_STORAGE}104.", f"{_STORAGE}66"
_SOUND = (f"{_STORAGE}9.4.1", f"{_STORAGE}9.4.2")
_FILM_SYNTAXES = tuple(
    f"1.2.840.10008.1.2.4.{number}" for number in (100, 101, 102, 103, 104, 105, 106, 107, 108)
)
# ultrasound, secondary capture, radiography, angiography and fluoroscopy, visible light: often written upon
_WRITTEN_UPON: Final = tuple(
    f"{_STORAGE}{number}" for number in ("3", "6", "7", "1", "77.1", "12.1", "12.2", "12.3", "12.77")
)
_MODALITIES: Final = frozenset(
    [
        "US",
        "IVUS",
        "SC",
        "OT",
        "ES",
        "XC",
        "GM",
        "SM",
        "OP",
        "CR",
        "DX",
        "MG",
        "XA",
        "RF",
        "BI",
        "PX",
        "IO",
        "RG",
        "HC",
        "DOC",
        "DSCR",
    ]
)
_SCREEN_WORDS: Final = ("SCREEN", "SAVE", "CAPTURE", "PRINT")
_CONVERTED: Final = frozenset({"DV", "DI", "DF", "WSD", "SD", "SI", "SYN", "DRW"})


def refusals(stream: Stream) -> tuple[str, ...]:
    """Codes of the reasons why a file cannot go out at all, whatever its header says afterwards."""
    words = {element.tag: element for element in stream.elements}
    kind = _text(words, 0x00080016)
    reasons = []
    if _DIRECTORY in (kind, _text({element.tag: element for element in stream.meta}, 0x00020002)):
        reasons.append("media-directory")
    if kind.startswith(_DOCUMENTS):
        reasons.append("encapsulated-document")
    if kind == _RAW:
        reasons.append("raw-data")
    if kind in _SOUND:
        reasons.append("sound")
    if stream.syntax.uid.startswith(_FILM_SYNTAXES):
        reasons.append("film")
    return tuple(reasons)


def burned_in(stream: Stream) -> tuple[str, ...]:
    """Codes of the reasons why writing may stand in the pixels; what the file says of itself counts only where it says yes."""
    words = {element.tag: element for element in stream.elements}
    if not words.keys() & {0x7FE00008, 0x7FE00009, 0x7FE00010}:
        return ()
    kind, image_type = _text(words, 0x00080016), _text(words, 0x00080008).upper()
    is_secondary = any(kind == root or kind.startswith(f"{root}.") for root in _WRITTEN_UPON)
    said = _text(words, 0x00280301).upper() == "YES"
    shown = (
        any(word in image_type for word in _SCREEN_WORDS) or _text(words, 0x00080064).upper() in _CONVERTED
    )
    coloured = _text(words, 0x00280004).upper() not in ("", "MONOCHROME1", "MONOCHROME2")
    if is_secondary or said or shown or coloured or _text(words, 0x00080060).upper() in _MODALITIES:
        return ("burned-in-text-possible",)
    return ()


def _text(words: dict[int, Element], tag: int) -> str:
    return words[tag].value.decode("latin-1").strip(" \0") if tag in words else ""
