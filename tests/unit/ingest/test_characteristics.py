"""Ages become ten years of life, sexes one letter, names one line; what is not understood is left out."""

from __future__ import annotations

import pytest

from medaug.ingest.characteristics import age_band, characteristics


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("47", "40-49"),
        ("47.9", "40-49"),
        ("047Y", "40-49"),
        ("040y", "40-49"),
        ("018M", "0-9"),
        ("150M", "10-19"),
        ("003W", "0-9"),
        ("090D", "0-9"),
        ("0", "0-9"),
        ("89", "80-89"),
        ("90", "90+"),
        ("104Y", "90+"),
        ("60-69", "60-69"),
        ("90+", "90+"),
        ("", ""),
        ("61-64", ""),
        ("-3", ""),
        ("19570312", ""),
        ("nan", ""),
        ("old", ""),
    ],
)
def test_ages(text: str, band: str) -> None:
    assert age_band(text) == band


def test_only_what_is_understood_is_kept_in_one_order() -> None:
    found = characteristics(age="61", sex=" Female", scanner="  Philips\n Ingenia  ", site="")
    assert found == (("scanner", "Philips Ingenia"), ("sex", "F"), ("age", "60-69"))
    assert characteristics(sex="2", age="?", site=" \x00 ") == ()
    assert len(dict(characteristics(site="a" * 400))["site"]) == 48
