"""Every element of a header at every depth gets its action; what the table does not name is judged by its representation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from pydicom.charset import python_encoding

from medaug.privacy._deidentify.content import CONCEPT_NAME, is_withheld
from medaug.privacy._deidentify.dates import DUMMY_DATE, cap_age, is_time, shift_date, shift_datetime
from medaug.privacy._deidentify.harvest import CHARSET, PATIENT_ID, PATIENT_NAME, charset_of
from medaug.privacy._deidentify.private import safe_private
from medaug.privacy._deidentify.secret import Pseudonyms
from medaug.privacy._deidentify.stream import PIXEL_DATA, Element, dictionary_vr
from medaug.privacy._deidentify.table import TIMEZONE, Action, Option, Profile
from medaug.privacy._deidentify.text import Scrubber
from medaug.privacy._deidentify.values import (
    BYTES,
    DUMMY_CODE,
    DUMMY_TEXT,
    LONG_TEXTS,
    NUMBERS,
    REMOVED,
    SIZES,
    TEXTS,
    code_string,
    decode,
    dummy,
    encode,
    is_number,
    is_standard_uid,
    is_uid,
    keyword_of,
    may_be_standard,
    names_a_class,
)

_CONTENT_ITEMS = 0x0040A730
_CONTENT: Final = frozenset({_CONTENT_ITEMS, 0x00700001, 0x0040B020})
# Code sequences (PS3.3 8.8): what stands here is looked up in a coding scheme, and digits are no telephone number
_CODES: Final = frozenset(
    {
        0x00080100,
        0x00080102,
        0x00080103,
        0x00080104,
        0x00080119,
        0x00080120,
        0x0008010C,
        0x00080112,
        0x00080115,
    }
)
_CODE_MEANING = 0x00080104
_DATES: Final = frozenset({"DA", "DT", "TM"})
_VALUED: Final = NUMBERS | _DATES | {"AS", "PN"}
_TEXT_LIKE: Final = TEXTS | NUMBERS | _DATES | {"AE", "AS", "CS", "PN", "UI", "UR"}
_WORDS: Final = TEXTS | {"CS"}
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})


@final
class Depth(IntEnum):
    """Where an element stands: anywhere, in content that is replaced, in what names a person or place, or in its value."""

    PLAIN = 0
    REPLACED = 1
    NAMING = 2
    WITHHELD = 3


@final
@dataclass(frozen=True, slots=True)
class _Place:
    """What holds for the elements of one data set or item.

    Attributes:
        depth: How much of its text may stay.
        charset: Character sets of its text.
        written: Character sets of the text that is written.
    """

    depth: Depth
    charset: Sequence[str]
    written: Sequence[str]


@final
class Cleaner:
    """Cleans the headers of one patient.

    Args:
        profile: Which action each attribute gets.
        pseudonyms: Replacements.
        scrubber: Knows the identifiers of the patient.
        patient: What tells the patient from others.
    """

    def __init__(self, profile: Profile, pseudonyms: Pseudonyms, scrubber: Scrubber, patient: str) -> None:
        self._profile, self._pseudonyms, self._scrubber = profile, pseudonyms, scrubber
        self._patient_id = pseudonyms.patient_id(patient).encode("ascii")
        self._days = 0 if Option.FULL_DATES in profile.options else pseudonyms.shift_days(patient)
        self._keeps_dates = bool({Option.FULL_DATES, Option.MODIFIED_DATES} & profile.options)

    @property
    def patient_id(self) -> str:
        """The pseudonym."""
        return self._patient_id.decode("ascii")

    def clean(self, elements: list[Element]) -> list[Element]:
        """The elements of a data set that may stay, as they may stay, under the pseudonym; the given ones are left as they are."""
        made = self._cleaned(elements, _Place(Depth.PLAIN, (), ()), Depth.PLAIN)
        held = {element.tag for element in made}
        named = ((PATIENT_NAME, "PN"), (PATIENT_ID, "LO"))
        return made + [Element(tag, vr, self._patient_id) for tag, vr in named if tag not in held]

    def uid(self, text: str) -> str:
        """A UID as it is written: the standard's own stay."""
        stays = not text or is_standard_uid(text) or (Option.UIDS in self._profile.options and is_uid(text))
        return text if stays else self._pseudonyms.uid(text)

    def _cleaned(self, elements: list[Element], outer: _Place, depth: Depth) -> list[Element]:
        charset = charset_of(elements) or outer.charset
        known = all(part in python_encoding for part in charset)
        place = _Place(depth, charset, charset if known else ("ISO_IR 192",))
        kept = [made for element in elements if (made := self._element(element, place)) is not None]
        if Option.SAFE_PRIVATE in self._profile.options:
            kept += safe_private(elements)
        return kept

    def _element(self, element: Element, place: _Place) -> Element | None:
        tag, known = element.tag, dictionary_vr(element.tag)
        action = self._profile.action(tag)
        if not known or action is Action.REMOVE or _is_structure(tag):
            return None
        if known == "SQ":
            return None if element.items is None else self._sequence(element, element.items, action, place)
        vr = _agreed(element, known)
        replaced = self._replaced(tag, vr or known, action)
        if replaced is not None or vr == "":
            return replaced
        if place.depth is Depth.WITHHELD and vr in _VALUED:
            return Element(tag, vr, dummy(tag, vr))
        if tag == CHARSET:
            return Element(tag, vr, "\\".join(place.written).encode("ascii"))
        return self._value(element if vr == element.vr else Element(tag, vr, element.value), action, place)

    def _replaced(self, tag: int, vr: str, action: Action | None) -> Element | None:
        """What stands for an element whose own value does not matter; nothing where it does."""
        if tag in (PATIENT_ID, PATIENT_NAME):
            return Element(tag, vr, self._patient_id)
        if action is Action.EMPTY:
            return Element(tag, vr)
        if action is Action.DUMMY and vr != "UI":
            return Element(tag, vr, dummy(tag, vr))
        return None

    def _sequence(
        self, element: Element, items: list[list[Element]], action: Action | None, place: _Place
    ) -> Element:
        depth = place.depth
        if action is Action.EMPTY:
            items = []
        elif action is Action.DUMMY:
            depth = max(depth, Depth.REPLACED if element.tag in _CONTENT else Depth.NAMING)
        if element.tag == CONCEPT_NAME:
            depth = min(depth, Depth.REPLACED)
        made = [self._cleaned(item, place, self._depth(element, item, depth)) for item in items]
        return Element(element.tag, "SQ", items=made)

    def _depth(self, element: Element, item: list[Element], depth: Depth) -> Depth:
        is_content = element.tag == _CONTENT_ITEMS
        return Depth.WITHHELD if is_content and is_withheld(item, self._profile) else depth

    def _value(self, element: Element, action: Action | None, place: _Place) -> Element | None:
        """An element that stays in some form."""
        vr = element.vr
        if vr in BYTES or len(vr) > 2:
            is_telling = element.tag not in _PIXELS and self._scrubber.is_in_bytes(element.value)
            return None if is_telling or place.depth >= Depth.NAMING else element
        text = decode(element.value, place.charset) if vr not in SIZES else None
        if text is None:
            # a row of numbers is long enough to be a text; a text that its character sets do not fit is none
            is_sound = vr in SIZES and len(element.value) % SIZES[vr] == 0
            is_sound = is_sound and not self._scrubber.is_in_bytes(element.value)
            left = REMOVED.encode("ascii") if vr in _WORDS else b""
            return element if is_sound else Element(element.tag, vr, left)
        if not text.strip(" \0\\"):
            return element
        read = self._text(element, text, action, place) if vr in TEXTS else self._coded(element, text, action)
        if read is None or (action is Action.CLEAN and not read.strip("\\ ")):
            return None if read is None else self._emptied(element)
        cleaned = _filled(text, read, vr) if vr in _WORDS and element.tag != TIMEZONE else read
        if cleaned == text and place.charset == place.written:
            return element
        return Element(element.tag, vr, encode(cleaned, place.written))

    def _emptied(self, element: Element) -> Element | None:
        """An element of which cleaning left nothing, as valid for its type as the profile alone makes it."""
        fallback = self._profile.fallback(element.tag)
        if fallback is Action.REMOVE:
            return None
        value = dummy(element.tag, element.vr) if fallback is Action.DUMMY else b""
        return Element(element.tag, element.vr, value)

    def _text(self, element: Element, text: str, action: Action | None, place: _Place) -> str:
        if element.tag == TIMEZONE:
            return text if text.strip()[1:].isdigit() and len(text.strip()) == 5 else ""
        is_code = element.tag in _CODES
        if place.depth >= Depth.NAMING or (place.depth is Depth.REPLACED and not is_code):
            return DUMMY_TEXT if text.strip(" \0") else ""
        scrub: Callable[[str], str] = self._scrubber.label
        if (is_code and element.tag != _CODE_MEANING) or action is Action.KEEP:
            scrub = self._scrubber.code
        elif action is Action.CLEAN or element.vr in LONG_TEXTS or element.vr == "UC":
            scrub = self._scrubber.description
        if element.vr in LONG_TEXTS:
            return scrub(text)
        return "\\".join(scrub(part) for part in text.split("\\"))

    def _coded(self, element: Element, text: str, action: Action | None) -> str | None:
        """A value of a representation with a form of its own; nothing where it has not that form."""
        vr = element.vr
        if vr == "PN" or (vr == "UR" and action is not Action.KEEP):
            return None
        if vr == "AE":
            kept = action is Action.KEEP and not self._scrubber.holds_identifier(text)
            return text if kept else DUMMY_CODE
        parts = [part.strip(" \0") for part in text.split("\\")]
        cleaned = [self._part(element, part, action) if part else "" for part in parts]
        return text if cleaned == parts else "\\".join(cleaned)

    def _part(self, element: Element, part: str, action: Action | None) -> str:
        """One value of several."""
        vr = element.vr
        if vr == "UI":
            is_class = names_a_class(keyword_of(element.tag)) and may_be_standard(part)
            is_kept = is_class or (action is Action.KEEP and is_uid(part))
            return part if is_kept else self.uid(part)
        if vr in _DATES:
            return self._date(vr, part)
        if vr in NUMBERS:
            return part if is_number(vr, part) else ""
        if vr == "AS":
            return cap_age(part) or ""
        is_unknown = action is Action.CLEAN and self._scrubber.description(part) != part
        return "" if is_unknown or self._scrubber.holds_identifier(part) else code_string(part) or ""

    def _date(self, vr: str, part: str) -> str:
        if vr == "TM":
            return part if self._keeps_dates and is_time(part) else "000000"
        shift = shift_date if vr == "DA" else shift_datetime
        moved = shift(part, self._days) if self._keeps_dates else None
        return moved or DUMMY_DATE


def _filled(text: str, cleaned: str, vr: str) -> str:
    """A cleaned text with a word for each value of which nothing is left: many attributes must not be empty (PS3.5 7.4.1)."""
    given, kept = ([text], [cleaned]) if vr in LONG_TEXTS else (text.split("\\"), cleaned.split("\\"))
    # several values may have become one, which holds a word already
    return "\\".join(
        REMOVED if before.strip(" \0") and not after.strip() else after
        for before, after in zip(given, kept, strict=False)
    )


def _is_structure(tag: int) -> bool:
    """Private elements, group lengths, and groups that belong to commands, file meta and directories."""
    return bool(tag >> 16 & 1) or not tag & 0xFFFF or tag >> 16 in (0, 2, 4)


def _agreed(element: Element, known: str) -> str:
    """The representation of an element: the file's where the dictionary allows it, else the dictionary's; none at odds."""
    allowed = known.split(" or ")
    if element.items is not None or element.vr == "UN":
        return ""
    if element.vr in allowed or element.vr == known:
        return element.vr
    both_text = element.vr in _TEXT_LIKE and allowed[0] in _TEXT_LIKE
    both_bytes = element.vr in BYTES and known in BYTES
    return allowed[0] if both_text or both_bytes else ""
