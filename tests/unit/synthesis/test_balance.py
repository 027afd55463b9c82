"""Plans say what was asked, spread evenly, and the same each time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from medaug.core.case import CaseRecord, Origin, StoredFile
from medaug.core.errors import ConfigError, DataError
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.synthesis.balance import ClassCount, parse_counts
from medaug.synthesis.planning import make_plan, usable_hosts

FILE = StoredFile(path="x.nii.gz", sha256="0" * 64)
CLASSES = ("solid", "ground_glass")


def record(number: int, patient: str, **how: Any) -> CaseRecord:
    facts = {"label": FILE, "origin": Origin.REAL} | how
    return CaseRecord(
        case_id=f"case_{number}",
        patient_id=patient,
        modality="CT",
        unit=Unit.HU,
        channels=("CT",),
        shape=(4, 4, 4),
        spacing_mm=(1, 1, 1),
        images=(FILE,),
        **facts,
    )


HOSTS = tuple(record(n, f"p{min(n, 3)}") for n in range(6))  # p3 has three cases


def test_counts_are_read():
    assert parse_counts(["ground_glass=200", " solid = 3"], CLASSES) == (
        ClassCount("ground_glass", 200),
        ClassCount("solid", 3),
    )


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["ground_glas=2"], "did you mean ground_glass"),
        (["ground_glass"], "expected CLASS=COUNT"),
        (["solid=0"], "at least 1"),
        (["solid=-3"], "at least 1"),
        (["solid=many"], "cannot read 'solid=many'"),
        (["=3"], "cannot read"),
        (["solid=1", "solid=2"], "named twice"),
        ([], "no class is named"),
    ],
)
def test_bad_counts_are_named(texts, words):
    with pytest.raises(ConfigError, match=words):
        parse_counts(texts, CLASSES)


def test_lesions_are_spread_over_patients_then_cases():
    plan = make_plan((ClassCount("solid", 12),), HOSTS, SeedTree(0))
    patients = Counter(next(h.patient_id for h in HOSTS if h.case_id == p.host_case_id) for p in plan)
    assert set(patients.values()) == {3}
    third = Counter(p.host_case_id for p in plan if p.host_case_id in {"case_3", "case_4", "case_5"})
    assert set(third.values()) == {1}
    assert len({p.seed for p in plan}) == len({p.case_id for p in plan}) == 12


def test_plan_is_repeatable_and_classes_do_not_disturb_each_other():
    solid = make_plan((ClassCount("solid", 5),), HOSTS, SeedTree(1))
    both = make_plan((ClassCount("ground_glass", 4), ClassCount("solid", 5)), HOSTS, SeedTree(1))
    assert [(p.host_case_id, p.seed) for p in both[4:]] == [(p.host_case_id, p.seed) for p in solid]
    assert make_plan((ClassCount("solid", 5),), HOSTS, SeedTree(2)) != solid


def test_synthetic_and_unlabelled_cases_are_no_hosts():
    odd = (record(7, "p7", label=None), record(8, "p8", origin=Origin.SYNTHETIC))
    assert usable_hosts((*HOSTS, *odd)) == HOSTS
    with pytest.raises(DataError, match="no host"):
        usable_hosts(odd)
