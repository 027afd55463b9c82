"""The table is whole, and options resolve to the safest action that is valid."""

import re

import pytest
from pydicom._dicom_dict import DicomDictionary

from medaug.core.errors import ConfigError
from medaug.privacy._deidentify.table import Action, Option, Profile, parse_options, rows


def test_every_row_is_well_formed_and_stands_once() -> None:
    assert len(rows()) == 656
    assert len({row.tag for row in rows()}) == 656
    for row in rows():
        assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{2}xx[0-9a-fx]{4}|private", row.tag)
        assert row.basic in ("X", "Z", "D", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*")
        if "x" not in row.tag and int(row.tag, 16 if row.tag != "private" else 36) in DicomDictionary:
            assert row.vr == DicomDictionary[int(row.tag, 16)][0]


@pytest.mark.parametrize(
    ("tag", "options", "action"),
    [
        (0x00100010, "", Action.EMPTY),
        (0x00100020, "", Action.DUMMY),
        (0x00080022, "", Action.EMPTY),
        (0x00080022, "modified-dates", Action.SHIFT),
        (0x00080022, "full-dates", Action.KEEP),
        (0x0008103E, "", Action.REMOVE),
        (0x0008103E, "clean-descriptors", Action.CLEAN),
        (0x00101010, "retain-patient-characteristics", Action.KEEP),
        (0x00181203, "retain-device,modified-dates", Action.SHIFT),
        (0x00340007, "modified-dates", Action.DUMMY),
        (0x00081140, "", Action.UID),
        (0x00080080, "retain-institution", Action.KEEP),
        (0x0020000D, "", Action.UID),
        (0x0020000D, "retain-uids", Action.KEEP),
        (0x50003000, "", Action.REMOVE),
        (0x501E0005, "", Action.REMOVE),
        (0x60020010, "", Action.REMOVE),
        (0x60013000, "", None),
        (0x00280010, "", None),
    ],
)
def test_actions_of_known_attributes(tag: int, options: str, action: Action | None) -> None:
    assert Profile(parse_options(options)).action(tag) is action


def test_no_option_makes_a_row_say_nothing() -> None:
    for option in Option:
        profile = Profile(frozenset({option}))
        assert all(isinstance(profile.resolved(row), Action) for row in rows())


def test_options_are_read_by_name() -> None:
    assert parse_options("basic") == frozenset()
    assert parse_options("basic, modified-dates") == {Option.MODIFIED_DATES}
    with pytest.raises(ConfigError, match="unknown option"):
        parse_options("basic,everything")


def test_what_was_chosen_is_coded() -> None:
    assert [code for code, _ in Profile(frozenset(Option) - {Option.FULL_DATES}).codes()] == [
        "113100", "113105", "113104", "113107", "113109", "113112", "113108", "113111", "113110",
    ]  # fmt: skip
