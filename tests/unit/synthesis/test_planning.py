"""Plans say what was asked, spread evenly, and the same each time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from medaug.core.case import CaseRecord, LesionCount, Origin, StoredFile
from medaug.core.errors import ConfigError, DataError
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.synthesis.balance import ClassCount
from medaug.synthesis.planning import Wishes, make_plan, usable_hosts
from medaug.synthesis.sizes import SizeLimits
from medaug.synthesis.sweep import Sweep

FILE = StoredFile(path="x.nii.gz", sha256="0" * 64)


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


def other(number: int) -> CaseRecord:
    lesion = LesionCount(class_name="ground_glass", count=1, voxels=9, volume_mm3=9.0)
    return record(number, f"p{number}", lesions=(lesion,))


def test_swaps_go_to_hosts_with_a_lesion_of_another_class():
    plan = make_plan(
        (ClassCount("solid", 10),), (*HOSTS, other(8), other(9)), SeedTree(0), Wishes(swap_share=0.4)
    )
    swaps = [p for p in plan if p.use == "swap"]
    assert Counter(p.host_case_id for p in swaps) == {"case_8": 2, "case_9": 2}
    assert Counter(p.use for p in plan) == {"new": 6, "swap": 4}
    assert len({p.seed for p in plan}) == 10
    with pytest.raises(DataError, match="to turn into solid"):
        make_plan((ClassCount("solid", 2),), HOSTS, SeedTree(0), Wishes(swap_share=1.0))


def test_null_pastes_are_that_share_of_all():
    plan = make_plan((ClassCount("solid", 30),), HOSTS, SeedTree(0), Wishes(null_share=0.25))
    assert Counter(p.use for p in plan) == {"new": 30, "null": 10}


def test_a_sweep_is_one_lesion_many_times():
    sweep = Sweep("contrast", (0.25, 1.0))
    plan = make_plan((ClassCount("solid", 2),), HOSTS, SeedTree(0), Wishes(sweep=sweep))
    assert [p.case_id for p in plan] == ["SYN_00001_1", "SYN_00001_2", "SYN_00002_1", "SYN_00002_2"]
    assert [p.contrast for p in plan] == [0.25, 1.0, 0.25, 1.0]
    assert [p.group for p in plan] == ["SYN_00001", "SYN_00001", "SYN_00002", "SYN_00002"]
    one, two = plan[0], plan[1]
    assert (one.seed, one.host_case_id, one.room_mm) == (two.seed, two.host_case_id, None)
    assert plan[2].seed != one.seed


def test_sizes_of_a_sweep_share_the_room_of_the_largest_that_was_learnt():
    limits = SizeLimits({"solid": (5.0, 10.0)})
    wishes = Wishes(sweep=Sweep("diameter_mm", (4.0, 6.0, 12.0, 20.0)))
    plan = make_plan((ClassCount("solid", 1),), HOSTS, SeedTree(0), wishes, limits)
    assert [p.diameter_mm for p in plan] == [(5.0, 5.0), (6.0, 6.0), (10.0, 10.0)]
    assert {p.room_mm for p in plan} == {10.0}
    assert len(limits.findings) == 3
    with pytest.raises(DataError, match="solid was asked for at 4 mm; the bank knows 5 to 10 mm"):
        make_plan(
            (ClassCount("solid", 1),),
            HOSTS,
            SeedTree(0),
            wishes,
            SizeLimits({"solid": (5.0, 10.0)}, strict=True),
        )


@pytest.mark.parametrize(
    ("wishes", "where"),
    [
        (Wishes(diameter_mm=(5.0, 2.0)), "--diameter-mm"),
        (Wishes(diameter_mm=(2.0, 5.0), swap_share=1.0), "--diameter-mm"),
        (Wishes(sweep=Sweep("contrast", (0.5, 1.0)), null_share=0.1), "--null-share"),
        (Wishes(sweep=Sweep("diameter_mm", (5.0, 9.0)), swap_share=0.1), "--swap-share"),
        (Wishes(sweep=Sweep("diameter_mm", (5.0, 9.0)), diameter_mm=(4.0, 9.0)), "--diameter-mm"),
    ],
)
def test_wishes_that_contradict_each_other_are_refused(wishes, where):
    with pytest.raises(ConfigError, match=where):
        make_plan((ClassCount("solid", 1),), HOSTS, SeedTree(0), wishes)
