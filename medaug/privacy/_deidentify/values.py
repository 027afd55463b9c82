"""Which values a representation allows, and the dummies that stand for what is taken away (PS3.5 6.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from pydicom._dicom_dict import DicomDictionary
from pydicom._uid_dict import UID_dictionary
from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.valuerep import TEXT_VR_DELIMS

from medaug.privacy._deidentify.dates import DUMMY_DATE, DUMMY_DATETIME, DUMMY_TIME

# What pydicom raises on character sets that it does not know, or that do not fit the bytes
_CHARSET_ERRORS = (AttributeError, LookupError, TypeError, ValueError)
DUMMY_TEXT: Final = "ANONYMIZED"
DUMMY_CODE: Final = "ANON"
# Stands for a text or code of which cleaning leaves no word; a word of the vocabulary, so that it is no name
REMOVED: Final = "REMOVED"
# Free text, in which anything can be written; the longest kinds hold one value, backslashes and all
TEXTS: Final = frozenset(["LO", "LT", "SH", "ST", "UC", "UT"])
LONG_TEXTS: Final = frozenset(["LT", "ST", "UT"])
NUMBERS: Final = frozenset(["DS", "IS"])
BYTES: Final = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
SIZES: Final = {"US": 2, "SS": 2, "AT": 4, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "SV": 8, "UV": 8}
_DUMMIES: Final = {
    "AE": DUMMY_CODE, "AS": "000D", "CS": DUMMY_CODE, "DA": DUMMY_DATE, "DS": "0", "DT": DUMMY_DATETIME,
    "IS": "0", "LO": DUMMY_TEXT, "LT": DUMMY_TEXT, "PN": DUMMY_TEXT, "SH": DUMMY_TEXT, "ST": DUMMY_TEXT,
    "TM": DUMMY_TIME, "UC": DUMMY_TEXT, "UR": "about:blank", "UT": DUMMY_TEXT,
}  # fmt: skip
_DECIMAL = re.compile(r" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *")
_INTEGER = re.compile(r" *[+-]?\d{1,12} *")
_CODE_STRING = re.compile(r"[A-Z0-9 _]{0,16}")
_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+")
_STANDARD_UID = "1.2.840.10008."
_LONGEST_UID, _LONGEST_STANDARD_UID = 64, 40


def dummy(tag: int, vr: str) -> bytes:
    """A value that says nothing and is valid for the representation, as often as the attribute asks for one."""
    vr = vr[:2]
    one = _DUMMIES.get(vr)
    count = _least_values(tag)
    if one is not None:
        return (one if vr in LONG_TEXTS | {"UR"} else "\\".join([one] * count)).encode("ascii")
    return bytes(SIZES.get(vr, 8) * count)


def is_number(vr: str, text: str) -> bool:
    """Whether a DS or IS value is a number that can be read; nothing counts as one."""
    if not text.strip(" \0"):
        return True
    match = (_DECIMAL if vr == "DS" else _INTEGER).fullmatch(text.strip("\0"))
    return match is not None and math.isfinite(float(text.strip(" \0")))


def code_string(text: str) -> str | None:
    """A CS value as the standard wants it; None where it cannot be made so without losing something."""
    shown = text.strip(" \0").upper()
    return shown if _CODE_STRING.fullmatch(shown) else None


def is_uid(text: str) -> bool:
    """Whether a text is a UID (PS3.5 9.1)."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def is_standard_uid(text: str) -> bool:
    """Whether a UID names something of the standard (PS3.6 annex A): a class, a syntax, a coding scheme."""
    return text in UID_dictionary


def names_a_class(keyword: str) -> bool:
    """Whether the values of a UI attribute name what the standard, not an archive, has named."""
    return keyword.endswith(("SOPClassUID", "TransferSyntaxUID", "SOPClassesUID", "ContextUID"))


def may_be_standard(text: str) -> bool:
    """Whether a UID has the standard's root and the length of its classes: newer ones than this table knows."""
    return text.startswith(_STANDARD_UID) and len(text) <= _LONGEST_STANDARD_UID and is_uid(text)


def decode(value: bytes, charset: Sequence[str]) -> str | None:
    """The text of a value in its character sets; None where these do not fit it."""
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    try:
        return decode_bytes(value, convert_encodings([*charset]), TEXT_VR_DELIMS)
    except _CHARSET_ERRORS:
        return None


def encode(text: str, charset: Sequence[str]) -> bytes:
    """A text in its character sets; what these do not hold is left out."""
    if text.isascii():
        return text.encode("ascii")
    try:
        encoded: bytes = encode_string(text, convert_encodings([*charset]))
    except _CHARSET_ERRORS:
        return text.encode("ascii", "ignore")
    return encoded


def keyword_of(tag: int) -> str:
    """Keyword of PS3.6, or nothing."""
    known = DicomDictionary.get(tag)
    return str(known[4]) if known is not None else ""


def _least_values(tag: int) -> int:
    known = DicomDictionary.get(tag)
    least = str(known[1]).split("-", maxsplit=1)[0] if known is not None else "1"
    return int(least) if least.isdigit() else 1
