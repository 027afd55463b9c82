"""What is done with each attribute: PS3.15 Table E.1-1 as ``confidentiality.csv``, resolved for a choice of options."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Final, final

from medaug.core.errors import ConfigError

EDITION: Final = "2026c"
PRIVATE: Final = "private"
TIMEZONE: Final = 0x00080201
# What can be cleaned or shifted; stamps of time in bytes and descriptions in them get what the profile alone does
_CLEANED_VRS: Final = frozenset(["AE", "CS", "LO", "LT", "SH", "SQ", "ST", "UC", "UT"])
_SHIFTED_VRS: Final = frozenset(["DA", "DT", "TM"])
_BASIC_CODE = ("113100", "Basic Application Confidentiality Profile")


@final
class Action(StrEnum):
    """What becomes of an element (PS3.15 Table E.1-1a), the conditional ones resolved."""

    KEEP = "K"
    CLEAN = "C"
    SHIFT = "S"
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"


@final
class Option(StrEnum):
    """Options of the profile that can be chosen."""

    CLEAN_DESCRIPTORS = "clean-descriptors"
    CLEAN_STRUCTURED = "clean-structured-content"
    MODIFIED_DATES = "modified-dates"
    FULL_DATES = "full-dates"
    DEVICE = "retain-device"
    INSTITUTION = "retain-institution"
    PATIENT = "retain-patient-characteristics"
    SAFE_PRIVATE = "retain-safe-private"
    UIDS = "retain-uids"
    PIXELS = "clean-pixel-data"
    PIXELS_OCR = "clean-pixel-data-ocr"


# Column of the table, and the code of CID 7050 (PS3.16) that says that the option was used
_OPTIONS: Final = {
    Option.CLEAN_DESCRIPTORS: ("clean_descriptors", "113105", "Clean Descriptors Option"),
    Option.CLEAN_STRUCTURED: ("clean_structured", "113104", "Clean Structured Content Option"),
    Option.MODIFIED_DATES: (
        "modified_dates",
        "113107",
        "Retain Longitudinal Temporal Information Modified Dates Option",
    ),
    Option.FULL_DATES: (
        "full_dates",
        "113106",
        "Retain Longitudinal Temporal Information Full Dates Option",
    ),
    Option.DEVICE: ("retain_device", "113109", "Retain Device Identity Option"),
    Option.INSTITUTION: ("retain_institution", "113112", "Retain Institution Identity Option"),
    Option.PATIENT: ("retain_patient", "113108", "Retain Patient Characteristics Option"),
    Option.SAFE_PRIVATE: ("safe_private", "113111", "Retain Safe Private Option"),
    Option.UIDS: ("retain_uids", "113110", "Retain UIDs Option"),
}
# They concern no attribute, and are stated where the pixels of a file were cleaned
_PIXEL_OPTIONS: Final = frozenset({Option.PIXELS, Option.PIXELS_OCR})
_PIXEL_CODE = ("113101", "Clean Pixel Data Option")
# Which of the allowed actions is taken where the standard lets the type of the attribute decide: the one that is
# valid for every type that is named. A dummy says as little as nothing does, and never breaks an object.
_RESOLVED: Final = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "D": Action.DUMMY,
    "U": Action.UID,
    "K": Action.KEEP,
    "C": Action.CLEAN,
    "X/Z": Action.EMPTY,
    "X/D": Action.DUMMY,
    "Z/D": Action.DUMMY,
    "X/Z/D": Action.DUMMY,
    "X/Z/U*": Action.UID,
}
# Where several chosen options speak of one attribute, the first of these wins
_SAFEST_FIRST: Final = (
    Action.REMOVE,
    Action.EMPTY,
    Action.DUMMY,
    Action.UID,
    Action.CLEAN,
    Action.SHIFT,
    Action.KEEP,
)


@final
@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        tag: Eight hexadecimal digits, ``x`` for any digit, or ``private``.
        keyword: Of PS3.6, or the name without blanks.
        vr: Value representation; empty where the dictionary does not know it.
        basic: Action codes of the profile, as the standard writes them.
        options: Column to action code; empty ones left out.
    """

    tag: str
    keyword: str
    vr: str
    basic: str
    options: tuple[tuple[str, str], ...]


@cache
def rows() -> tuple[Row, ...]:
    """All rows of the table, in the order of the file."""
    text = resources.files("medaug.privacy._deidentify").joinpath("confidentiality.csv").read_text("utf-8")
    columns = [column for column, _, _ in _OPTIONS.values()]
    return tuple(
        Row(
            line["tag"],
            line["keyword"],
            line["vr"],
            line["basic"],
            tuple((column, line[column]) for column in columns if line[column]),
        )
        for line in csv.DictReader(text.splitlines())
    )


@final
class Profile:
    """The basic profile with a choice of options.

    Args:
        options: Options; dates are kept in full or shifted, not both.

    Raises:
        ConfigError: If the options contradict each other.
    """

    def __init__(self, options: frozenset[Option] = frozenset()) -> None:
        if {Option.MODIFIED_DATES, Option.FULL_DATES} <= options:
            raise ConfigError(
                "dates cannot be kept and shifted",
                where="profile",
                hint="choose modified-dates or full-dates",
            )
        self.options = options
        self._columns = {_OPTIONS[option][0] for option in options - _PIXEL_OPTIONS}
        self._actions = {int(row.tag, 16): self._resolve(row) for row in rows() if _is_exact(row)}
        self._basic = {int(row.tag, 16): _RESOLVED[row.basic] for row in rows() if _is_exact(row)}
        self._masks = tuple(
            (int(row.tag[:2], 16) << 24, self._resolve(row))
            for row in rows()
            if not _is_exact(row) and row.tag != PRIVATE
        )

    def action(self, tag: int) -> Action | None:
        """What becomes of a public attribute; None where the table does not name it.

        The repeating groups of curves and overlays share one action: what is left of a plane without its samples is invalid.
        """
        found = self._actions.get(tag)
        if found is not None:
            return found
        for begins, action in self._masks:
            if tag & 0xFF010000 == begins:
                return action
        return None

    def fallback(self, tag: int) -> Action:
        """What becomes of an attribute of which cleaning leaves nothing: what the profile alone does."""
        return self._basic.get(tag, Action.EMPTY)

    def resolved(self, row: Row) -> Action:
        """What becomes of the attributes of a row."""
        return self._resolve(row)

    @property
    def cleans_pixels(self) -> bool:
        """Whether writing in pixels is searched and blanked."""
        return bool(_PIXEL_OPTIONS & self.options)

    def codes(self, *, pixels_cleaned: bool = False) -> tuple[tuple[str, str], ...]:
        """Code and meaning of profile and options, for De-identification Method Code Sequence (CID 7050)."""
        chosen = [_OPTIONS[option][1:] for option in _OPTIONS if option in self.options]
        pixels = (_PIXEL_CODE,) if pixels_cleaned else ()
        return (_BASIC_CODE, *pixels, *((code, meaning) for code, meaning in chosen))

    def _resolve(self, row: Row) -> Action:
        said = [
            (column, code)
            for column, code in row.options
            if column in self._columns and _applies(row, column, code)
        ]
        if not said:
            return _RESOLVED[row.basic]
        found = {Action.SHIFT if column == "modified_dates" else _RESOLVED[code] for column, code in said}
        return next(action for action in _SAFEST_FIRST if action in found)


def _applies(row: Row, column: str, code: str) -> bool:
    """Whether an option can do what it says with values of this representation."""
    if code != "C" or not _is_exact(row):
        return True
    if column == "modified_dates":
        return row.vr in _SHIFTED_VRS or int(row.tag, 16) == TIMEZONE
    return row.vr in _CLEANED_VRS


def _is_exact(row: Row) -> bool:
    return "x" not in row.tag and row.tag != PRIVATE


def parse_options(text: str) -> frozenset[Option]:
    """Options from a comma-separated list; ``basic`` adds none, since it always applies.

    Raises:
        ConfigError: If one is unknown.
    """
    words = [word.strip() for word in text.split(",") if word.strip() not in ("", "basic")]
    known = [option.value for option in Option]
    for word in words:
        if word not in known:
            raise ConfigError(
                f"unknown option {word}", where="--profile", expected=", ".join(["basic", *known])
            )
    return frozenset(Option(word) for word in words)
