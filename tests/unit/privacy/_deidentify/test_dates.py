"""Dates, times and ages in every form that the standard allows, and in those it does not."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaug.privacy._deidentify.dates import cap_age, is_time, shift_date, shift_datetime


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("20200301", "20200228"),
        ("2020.03.01", "20200228"),
        ("20200301-20200302", "20200228-20200229"),
        ("20200301-", "20200228-"),
        ("00010101", None),
        ("20200230", None),
        ("202003", None),
        ("March 1", None),
    ],
)
def test_dates_move_by_whole_days(text: str, moved: str | None) -> None:
    assert shift_date(text, -2) == moved


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("20200301", "20200228"),
        ("2020", "2019"),
        ("202003", "202002"),
        ("20200301235960.999999+1400", "20200228235960.999999+1400"),
        ("2020030112-0500", "2020022812-0500"),
        ("20200301-20200401", "20200228-20200330"),
        ("202003011260", None),
        ("20201301", None),
        ("2020-03-01", None),
    ],
)
def test_moments_keep_their_length_and_their_clock(text: str, moved: str | None) -> None:
    assert shift_datetime(text, -2) == moved


@given(
    st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    st.integers(-3650, -30),
)
def test_intervals_are_exact(one: date, other: date, days: int) -> None:
    moved = [shift_date(f"{day:%Y%m%d}", days) or "" for day in (one, other)]
    first, second = (date(int(text[:4]), int(text[4:6]), int(text[6:])) for text in moved)
    assert second - first == other - one


@pytest.mark.parametrize(
    ("text", "expected"),
    [("235960.5", True), ("12:30:15", True), ("09-11", True), ("2461", False), ("noon", False)],
)
def test_times(text: str, expected: bool) -> None:
    assert is_time(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("089Y", "089Y"),
        ("090Y", "090Y"),
        ("120Y", "090Y"),
        ("011M", "011M"),
        ("999M", "999M"),
        ("45", None),
        ("", None),
    ],
)
def test_ages(text: str, expected: str | None) -> None:
    assert cap_age(text) == expected
