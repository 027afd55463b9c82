"""Identifiers as they stand anywhere in a header, so that they can be found again in every text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

from medaug.privacy._deidentify.stream import Element
from medaug.privacy._deidentify.table import Action, Profile, rows
from medaug.privacy._deidentify.text import general_words, is_name, vocabulary
from medaug.privacy._deidentify.values import decode, keyword_of

CHARSET: Final = 0x00080005
PATIENT_NAME, PATIENT_ID, STUDY_UID = 0x00100010, 0x00100020, 0x0020000D
_BIRTH_DATE = 0x00100030
_TELLING: Final = (PATIENT_ID, PATIENT_NAME, STUDY_UID)
_PLACES = re.compile(r"Address|Institution|Residence|Location|Organization|Department")
_IDENTIFYING = re.compile(
    r"Name$|Names$|IDs?$|Identifier|Identification|Address|Telephone|Phone|Number|Accession|Institution|Station"
    r"|Physician|Operator|Department|Insurance|Residence|Location|Serial|Requester|Organization|Observer|Author|Barcode"
)
_TEXT_VRS: Final = frozenset(["AE", "LO", "LT", "SH", "ST", "UC", "UT"])
_NAME_PARTS = re.compile(r"(?<![^\W_])[^\W\d_]+(?:['’][^\W\d_]+)?(?![^\W_])")
_SHORTEST_ID, _SHORTEST_PLACE = 4, 3
# The patient's own number is looked for even where it is short
_OWN_NUMBERS: Final = frozenset({PATIENT_ID, 0x00080050, 0x00101000})
_SHORTEST_OWN = 3


@final
@dataclass(frozen=True, slots=True)
class Identifiers:
    """What was found in one or several headers of a patient.

    Attributes:
        names: Parts of the names of persons and places.
        ids: Numbers, codes and phrases.
    """

    names: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def joined(self, other: Identifiers) -> Identifiers:
        """Both together."""
        return Identifiers(self.names | other.names, self.ids | other.ids)


def harvest(elements: list[Element], profile: Profile) -> Identifiers:
    """All identifiers in a header, at every depth; what an option keeps on purpose is none."""
    names: set[str] = set()
    ids: set[str] = set()
    for element, charset in walk(elements, ("",)):
        kind = _kind(element.tag, element.vr)
        if kind == "" or profile.action(element.tag) is Action.KEEP:
            continue
        text = decode(element.value, charset) or element.value.decode("latin-1")
        for value in (part.strip(" \0\r\n\t") for part in text.split("\\")):
            if kind == "birth":
                ids.update(_short_dates(value))
            elif kind == "person":
                names.update(_NAME_PARTS.findall(value))
                names.update(_digits_too(value))
                ids.update(_joined(value))
            else:
                ids.update(_phrases(value, _SHORTEST_OWN if element.tag in _OWN_NUMBERS else _SHORTEST_ID))
                names.update(_place_words(value) if kind == "place" else ())
    return Identifiers(frozenset(filter(is_name, names)), frozenset(ids))


def patient_of(elements: list[Element]) -> str:
    """What tells one patient from others: the patient's id, else the name, else the study's UID."""
    charset = charset_of(elements)
    found = {element.tag: element.value for element in elements if element.tag in _TELLING}
    for tag in _TELLING:
        value = found.get(tag, b"")
        text = (decode(value, charset) or value.hex()).strip(" \0^=")
        if text:
            return f"{tag:08x} {text}"
    return ""


def walk(elements: Iterable[Element], charset: Sequence[str]) -> Iterator[tuple[Element, Sequence[str]]]:
    """Every element at every depth that is no sequence, with the character sets of its item."""
    held = list(elements)
    charset = charset_of(held) or charset
    for element in held:
        if element.items is None:
            yield element, charset
            continue
        for item in element.items:
            yield from walk(item, charset)


def charset_of(elements: Iterable[Element]) -> tuple[str, ...]:
    """Specific Character Set of a data set or item; none where it has none of its own."""
    for element in elements:
        if element.tag == CHARSET:
            return tuple(part.strip(" \0") for part in element.value.decode("latin-1").split("\\"))
        if element.tag > CHARSET:
            break
    return ()


@lru_cache(maxsize=8192)
def _kind(tag: int, vr: str) -> str:
    """Whether an attribute tells a person, a day of birth, a place or something countable; nothing for all others."""
    if vr == "PN":
        return "person"
    if tag == _BIRTH_DATE:
        return "birth"
    if vr not in _TEXT_VRS or tag not in _identifying_tags():
        return ""
    return "place" if _PLACES.search(keyword_of(tag)) else "id"


@lru_cache(maxsize=1)
def _identifying_tags() -> frozenset[int]:
    """Rows of the table whose name says that they identify, descriptions left out."""
    return frozenset(
        int(row.tag, 16)
        for row in rows()
        if row.vr in _TEXT_VRS
        and _IDENTIFYING.search(row.keyword)
        and "clean_descriptors" not in dict(row.options)
    )


def _digits_too(value: str) -> Iterator[str]:
    """Parts of a name as they are written, where they hold more than letters (test patients, ids as names)."""
    return (part for part in re.split(r"[\^= ,]+", value) if len(part) >= _SHORTEST_ID)


def _joined(value: str) -> Iterator[str]:
    """A name without its blanks, as logins and file names have it: both orders, and with an initial."""
    for group in value.split("="):
        family, given = ("".join(_NAME_PARTS.findall(part)) for part in [*group.split("^"), "", ""][:2])
        first = (_NAME_PARTS.findall(group.partition("^")[2].partition("^")[0]) or [""])[0]
        forms = {family, given, family + given, given + family, family + first, first + family}
        forms |= {family + first[:1], first[:1] + family} if first else set()
        # a single word is a name already, and told from longer words that begin with it
        single = {*_NAME_PARTS.findall(group)}
        yield from (form for form in forms - single if len(form) >= _SHORTEST_ID)


def _phrases(value: str, shortest: int) -> Iterator[str]:
    """A value as it stands, and its lines."""
    for phrase in {value, *re.split(r"[\r\n\f;]+", value)}:
        shown = phrase.strip()
        if len(shown) >= shortest and not _is_plain(shown) and shown.lower() not in general_words():
            yield shown


def _short_dates(value: str) -> Iterator[str]:
    """A date in the forms that could as well be another number; the plain ones are found without being known."""
    if len(value) == 8 and value.isdigit():
        year, month, day = value[2:4], value[4:6], value[6:]
        yield from (year + month + day, day + month + year, month + day + year)
        yield from (f"{int(day)}.{int(month)}.{year}", f"{day}.{month}.{year}")


def _place_words(value: str) -> Iterator[str]:
    return (
        word
        for word in _NAME_PARTS.findall(value)
        if len(word) >= _SHORTEST_PLACE and word.lower() not in vocabulary() | general_words()
    )


def _is_plain(text: str) -> bool:
    """Whether a value says nothing: zeros, one letter again and again."""
    return len(set(text)) == 1 or not any(sign.isalnum() for sign in text)
