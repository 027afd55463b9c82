"""Dates, times and ages: checked, shifted by whole days, or replaced (PS3.5 6.2)."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

DUMMY_DATE: Final = "20000101"
DUMMY_TIME: Final = "000000"
DUMMY_DATETIME: Final = "20000101000000"
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})")
_DATETIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})((?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?)?)?"
    r"([+-](?:0\d|1[0-4])[0-5]\d)?"
)
_TIME = re.compile(r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?")
_AGE = re.compile(r"(\d{3})([DWMY])")
_OLDEST_YEARS = 89


def shift_date(text: str, days: int) -> str | None:
    """A DA value, or a range of a query, moved by whole days; None where it is no date or would leave the calendar."""
    if "-" in text:
        parts = text.split("-")
        moved = [shift_date(part, days) if part else "" for part in parts]
        return "-".join(part or "" for part in moved) if len(parts) == 2 and None not in moved else None
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups() if part is not None)
    moved_day = _moved(year, month, day, days)
    return None if moved_day is None else f"{moved_day.year:04d}{moved_day:%m%d}"


def shift_datetime(text: str, days: int) -> str | None:
    """A DT value moved by whole days, as long as it was: what is left out of it stays out.

    Year alone, or year and month, move as their first day does.
    """
    whole = _DATETIME.fullmatch(text.strip())
    if whole is None and "-" in text:
        parts = text.split("-")
        moved = [shift_datetime(part, days) if part else "" for part in parts]
        return "-".join(part or "" for part in moved) if len(parts) == 2 and None not in moved else None
    if whole is None:
        return None
    year, month, day, clock, offset = whole.groups()
    moved_day = _moved(int(year), int(month or 1), int(day or 1), days)
    if moved_day is None:
        return None
    kept = 8 if day else 6 if month else 4
    return f"{moved_day.year:04d}{moved_day:%m%d}"[:kept] + (clock or "") + (offset or "")


def is_time(text: str) -> bool:
    """Whether a text is a TM value, or the range of two; colons of old files count."""
    parts = text.strip().replace(":", "").split("-")
    return len(parts) <= 2 and all(_TIME.fullmatch(part) for part in parts)


def cap_age(text: str) -> str | None:
    """An AS value, 90 years for all that are older than 89; None where it is no age."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        return None
    number, unit = int(match.group(1)), match.group(2)
    years = {"D": number / 365.25, "W": number / 52.18, "M": number / 12, "Y": float(number)}[unit]
    return "090Y" if years > _OLDEST_YEARS else text.strip()


def _moved(year: int, month: int, day: int, days: int) -> date | None:
    try:
        return date(year, month, day) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
