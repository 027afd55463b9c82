"""Checks of the set: what it takes to fire, and silence otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.case import CaseRecord
from medaug.ingest._battery import cohort
from medaug.ingest._battery.likeness import UPRIGHT, Flip, Pair
from tests.unit.ingest.material import record

MIRRORED: Flip = (True, False, False)


def _records(count: int, spacing: tuple[float, float, float] = (0.7, 0.7, 2.0)) -> list[CaseRecord]:
    return [record(f"c{n}", classes=("a",)).model_copy(update={"spacing_mm": spacing}) for n in range(count)]


def test_classes_in_fewer_patients_than_folds() -> None:
    cases = [*_records(5), record("x", classes=("b",)), record("y", "p_x", classes=("b",))]
    (found,) = cohort.check_few_patients(cases, ("a", "b", "never"), 5)
    assert (found.code, found.case_id) == ("few-patients", None)
    assert found.message == "class b is in 1 patient; 5 folds need at least 5"
    assert len(cohort.check_few_patients(cases, ("a", "b"), 6)) == 2


def test_patients_with_several_cases_are_counted() -> None:
    assert cohort.check_repeat_studies(_records(3)) is None
    same = [record("f1", "p1"), record("f2", "p1")]
    other = [record("g1", "p2"), record("g2", "p2").model_copy(update={"shape": (3, 2, 2)})]
    found = cohort.check_repeat_studies([*_records(3), *same, *other, record("g3", "p2")])
    assert found is not None
    assert found.message.startswith("2 patients of 5 have several cases, p2 the most (3); 2 of them")
    lone = cohort.check_repeat_studies(other)
    assert lone is not None
    assert "; 0 of them have cases of one size" in lone.message


def test_a_spacing_far_from_the_others() -> None:
    rng = np.random.default_rng(0)
    cases = [_records(1, (0.7 * f, 0.7 * f, 2.0))[0] for f in rng.uniform(0.9, 1.1, 12)]
    assert cohort.check_spacing_outliers(cases) == ()
    far = record("far").model_copy(update={"spacing_mm": (0.7, 0.7, 6.0), "shape": (4, 4, 4)})
    nominal = far.model_copy(update={"case_id": "nominal", "spacing": "nominal"})
    (found,) = cohort.check_spacing_outliers([*cases, far, nominal])
    assert (found.code, found.case_id) == ("spacing-outlier", "far")
    assert "6 mm" in found.message
    assert cohort.check_spacing_outliers([*cases[:3], far]) == ()


def test_mixed_modalities_name_the_rarer_ones() -> None:
    assert cohort.check_modalities(_records(3)) is None
    odd = [record(f"x{n}", modality="CT") for n in range(7)]
    found = cohort.check_modalities([*_records(8), *odd])
    assert found is not None
    assert found.code == "several-modalities"
    assert found.message.endswith("8 of MR, 7 of CT; unlike most: x0, x1, x2, x3, x4 and 2 more")


def _pair(likeness: float, flip: Flip = UPRIGHT, upright: float | None = None, *, sure: bool = True) -> Pair:
    return Pair(0, 1, flip, likeness, likeness if upright is None else upright, sure)


@pytest.mark.parametrize(
    ("pair", "severity"), [(_pair(0.97), "refused"), (_pair(0.8, sure=False), "flagged")]
)
def test_two_patients_with_one_image_are_a_leak(pair: Pair, severity: str) -> None:
    found = cohort.check_near_duplicate(pair, record("c0"), record("c1"))
    assert found is not None
    assert (found.code, found.severity, found.case_id) == ("near-duplicate", severity, "c1")
    assert "c0" in found.message
    assert "another patient" in found.message


def test_flips_are_named() -> None:
    found = cohort.check_near_duplicate(_pair(0.97, (True, False, True), 0.1), record("c0"), record("c1"))
    assert found is not None
    assert "flipped left-right and up-down (correlation 0.97)" in found.message


def test_one_patient_may_have_scans_that_are_alike_but_copies_are_named() -> None:
    first, second = record("c0", "p"), record("c1", "p")
    assert cohort.check_near_duplicate(_pair(0.9), first, second) is None
    found = cohort.check_near_duplicate(_pair(0.99), first, second)
    assert found is not None
    assert found.severity == "flagged"


def test_one_patient_seen_from_both_sides() -> None:
    first, second = record("c0", "p"), record("c1", "p")
    found = cohort.check_laterality_flip(_pair(0.9, MIRRORED, 0.5), first, second)
    assert found is not None
    assert (found.code, found.severity) == ("laterality-flip", "refused")
    assert cohort.check_near_duplicate(_pair(0.99, MIRRORED, 0.5), first, second) is None
    assert cohort.check_laterality_flip(_pair(0.9, MIRRORED, 0.85), first, second) is None
    assert cohort.check_laterality_flip(_pair(0.9), first, second) is None
    assert cohort.check_laterality_flip(_pair(0.9, MIRRORED, 0.5), first, record("c2")) is None


def test_sides_are_told_only_where_the_set_is_one_sided() -> None:
    cases = _records(24)
    clear = np.full(24, 0.3)
    clear[5] = -0.25
    (found,), note = cohort.check_sides(clear, cases)
    assert (found.code, found.case_id) == ("laterality-outlier", "c5")
    assert note == "left and right: 23 of 24 cases agree"
    assert cohort.check_sides(np.full(24, 0.3), cases) == ((), "left and right: 24 of 24 cases agree")
    for sides, count in ((np.full(24, 0.01), 24), (np.tile([0.3, -0.3], 12), 24), (clear[:19], 19)):
        nothing, why = cohort.check_sides(sides, cases[:count])
        assert nothing == ()
        assert "inconclusive" in why
