from __future__ import annotations

import numpy as np
import pytest

from medaug.core.case import CaseRecord
from medaug.core.errors import ConfigError, DataError
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.translators._style.look import Look
from medaug.translators._style.settings import Config, Domain
from medaug.translators._style.slices import Reading, Slices, bodily, body_mask, gather, members, view
from tests.made_scans import MadeCases, scan

CASES = MadeCases.of([scan(n, channels=("FLAIR", "T1")) for n in range(4)])


def chosen(source: Domain, target: Domain, **changes: object) -> list[list[str]]:
    config = Config.model_validate({"source": source, "target": target, **changes})
    return [[record.case_id for record in part] for part in members(config, CASES.records)]


def gathered(domain: Domain, cases: MadeCases = CASES, most: int = 8) -> Slices:
    return gather(Reading(domain, cases, cases.records, most), NoProgress(), SeedTree(0))


def test_domains_are_channels_cases_patients_or_modalities() -> None:
    every = [f"case_00{n}" for n in range(4)]
    assert chosen(Domain(channel="FLAIR"), Domain(channel="T1")) == [every, every]
    assert chosen(Domain(cases=("case_000",)), Domain(cases=("*1", "*2"))) == [every[:1], every[1:3]]
    assert chosen(Domain(patients=("patient_003",)), Domain(modality="MR")) == [every[3:], every]


def test_disjoint_domains_share_no_patient() -> None:
    found = chosen(Domain(look=Look(gamma=2)), Domain(), disjoint_patients=True)
    assert found == [["case_000", "case_002"], ["case_001", "case_003"]]


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (Domain(), Domain(), "are the same"),
        (
            Domain(channel="CT"),
            Domain(channel="T1"),
            r"source: no training case.*channel FLAIR, T1; modality MR",
        ),
        (Domain(), Domain(cases=("elsewhere_*",)), "target: no training case"),
    ],
)
def test_empty_and_equal_domains_are_refused(source: Domain, target: Domain, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        members(Config(source=source, target=target), CASES.records)


def test_one_side_alone_cannot_name_a_channel() -> None:
    with pytest.raises(ValueError, match="both name a channel"):
        Config(source=Domain(channel="FLAIR"))


def test_as_many_slices_of_each_case_with_one_level_around_the_body() -> None:
    slices = gathered(Domain(channel="T1"))
    assert [len(volume) for volume in slices.by_case] == [2] * 4
    assert slices.by_case[0].shape[1:] == (1, 20, 18)
    assert slices.levels.shape == (4, 3, 1)
    assert {float(volume[:, :, 0, 0].max()) for volume in slices.by_case} == {-2.0}


def test_a_look_changes_the_slices_and_no_case() -> None:
    before = CASES.cases[0].volume.image.copy()
    plain, changed = gathered(Domain()), gathered(Domain(look=Look(gamma=2)))
    assert not np.array_equal(plain.by_case[0], changed.by_case[0])
    np.testing.assert_array_equal(CASES.cases[0].volume.image, before)


def test_patches_of_small_slices_are_filled_up() -> None:
    patches = gathered(Domain()).patches([0, 3], 32, np.random.default_rng(0))
    assert patches.shape == (2, 2, 32, 32)


def test_a_domain_without_a_body_is_refused() -> None:
    case = scan(0)
    case.volume.image[...] = 0.0
    case.volume.image[0, 0, 0, 0] = 1.0
    with pytest.raises(DataError, match="no slice"):
        gathered(Domain(), MadeCases.of([case]))


def test_view_takes_one_channel_or_all() -> None:
    case = CASES.cases[0]
    assert view(case, None) is case.volume
    one = view(case, "T1")
    assert one.channels == ("T1",)
    np.testing.assert_array_equal(one.image[0], case.volume.image[1])


def test_the_body_holds_what_is_bright_and_the_rest_is_level() -> None:
    volume = view(CASES.cases[0], "FLAIR")
    body = body_mask(volume)
    assert body[volume.image[0] > 0].all()
    level = bodily(np.zeros_like(volume.image), body)
    assert (level[0][~body] == -2.0).all()
    assert not level[0][body].any()


def test_records_decide_and_nothing_else() -> None:
    record: CaseRecord = CASES.records[0]
    assert Domain(channel="T1", modality="MR", cases=("case_*",)).holds(record)
    assert not Domain(channel="T1", modality="CT").holds(record)
