"""Site, scanner, sex and age of a case in few plain values, so that groups of patients can be compared.

They are patient characteristics: an age is kept as ten years of life, all above 89 are one group (as in the Safe Harbor
list, 45 CFR 164.514), and what is not understood is left out. No release holds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from medaug.core.case import Attributes

_LONGEST = 48
_OLDEST = 90
_SEXES: Final = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
_BANDS: Final = frozenset({*(f"{low}-{low + 9}" for low in range(0, _OLDEST, 10)), f"{_OLDEST}+"})
_YEARS = re.compile(r"\d{1,3}(\.\d*)?")
_AGE_STRING = re.compile(r"(\d{3})([DWMY])")  # PS3.5 table 6.2-1
_A_YEAR: Final = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


def characteristics(*, site: str = "", scanner: str = "", sex: str = "", age: str = "") -> Attributes:
    """What is understood of these texts, always in one order.

    Args:
        site: Where the scan was made.
        scanner: Manufacturer and model.
        sex: M, F or O, or the words.
        age: In years, as DICOM writes it (``047Y``), or ten years of life (``40-49``).
    """
    found: Attributes = (
        ("site", _plain(site)),
        ("scanner", _plain(scanner)),
        ("sex", _SEXES.get(sex.strip().lower(), "")),
        ("age", age_band(age)),
    )
    return tuple((name, value) for name, value in found if value)


def of_columns(told: Mapping[str, str]) -> Attributes:
    """The same of a table's row, whose columns are called ``site``, ``scanner``, ``sex`` and ``age``."""
    site, scanner, sex, age = (told.get(name, "") for name in ("site", "scanner", "sex", "age"))
    return characteristics(site=site, scanner=scanner, sex=sex, age=age)


def age_band(text: str) -> str:
    """Ten years of life, such as ``40-49``; ``90+`` for all above 89; empty where the text is no age."""
    plain = text.strip().upper()
    if plain in _BANDS:
        return plain
    told = _AGE_STRING.fullmatch(plain)
    if told is None and _YEARS.fullmatch(plain) is None:
        return ""
    age = float(plain) if told is None else int(told[1]) / _A_YEAR[told[2]]
    low = int(age) // 10 * 10
    return f"{_OLDEST}+" if low >= _OLDEST else f"{low}-{low + 9}"


def _plain(text: str) -> str:
    """A name in one line of printable characters."""
    words = "".join(one if one.isprintable() else " " for one in text).split()
    return " ".join(words)[:_LONGEST].rstrip()
