"""Patients, pairs, correction, calls and comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.results import DiceRow
from medaug.core.seeding import SeedTree
from medaug.experiments.means import Interval
from medaug.experiments.statistics import (
    Question,
    call,
    compare,
    holm,
    minimum_detectable_effect,
    paired_differences,
    patient_scores,
)

SEED = SeedTree(3)


def row(
    arm: str, patient: str, dice: float | None, seed: int = 0, case: str = "", name: str = "x"
) -> DiceRow:
    return DiceRow(
        arm=arm,
        n_annotated=None,
        fold=0,
        seed=seed,
        case_id=case or patient,
        patient_id=patient,
        class_name=name,
        dice=dice,
        false_positive_voxels=None if dice is not None else 4,
    )


def test_seeds_are_averaged_in_the_case_and_cases_in_the_patient() -> None:
    rows = [
        row("a", "p1", 0.2, seed=0, case="c1"),
        row("a", "p1", 0.4, seed=1, case="c1"),
        row("a", "p1", 0.9, seed=0, case="c2"),
        row("a", "p2", None),
        row("a", "p3", 0.5),
    ]
    scores = patient_scores(rows)
    assert scores.patient_ids == ("p1", "p3")
    assert scores.values == pytest.approx([0.6, 0.5])


def test_only_what_both_arms_scored_is_paired() -> None:
    ours = [row("a", "p1", 0.5), row("a", "p2", 0.9), row("a", "p1", 0.9, seed=1)]
    theirs = [row("b", "p1", 0.4), row("b", "p3", 0.1)]
    paired = paired_differences(ours, theirs)
    assert paired.patient_ids == ("p1",)
    assert paired.values == pytest.approx([0.1])


def test_holm_against_the_worked_example() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_minimum_detectable_effect_of_a_known_sample() -> None:
    values = np.array([-1.0, 1.0] * 5)
    # t(9): 0.975 -> 2.2622, 0.8 -> 0.8834; sd 1.0541, n 10
    assert minimum_detectable_effect(values) == pytest.approx((2.2622 + 0.8834) * 1.0541 / 10**0.5, abs=1e-3)
    assert minimum_detectable_effect(np.array([0.4])) is None


def pairs(n: int, zeros: int = 0) -> np.ndarray:
    return np.array([0.15] * (n - zeros) + [0.0] * zeros)


def test_calls() -> None:
    above, over_zero, below = Interval(0.1, 0.2), Interval(-0.1, 0.2), Interval(-0.2, -0.1)
    assert call(above, 0.01, pairs(4)) == "inconclusive"
    assert call(above, 0.01, pairs(8)) == "gain"
    assert call(above, 0.2, pairs(8)) == "no evidence"
    # five pairs give p of 0.0625 at best, eight pairs among eight tests 0.0625 after Holm
    assert call(above, 0.0625, pairs(5)) == "inconclusive"
    assert call(above, 0.0625, pairs(8), family=8) == "inconclusive"
    assert call(above, 0.0625, pairs(9), family=8) == "no evidence"
    assert call(above, 0.2, pairs(42), family=40) == "no evidence"
    # a pair without a difference cannot be flipped
    assert call(above, 0.0625, pairs(20, zeros=15)) == "inconclusive"
    assert call(over_zero, 0.01, pairs(8)) == "no evidence"
    assert call(below, 0.9, pairs(8)) == "harm"
    assert call(below, 0.9, pairs(4)) == "inconclusive"


def planted(rng: np.random.Generator, name: str = "x", patients: int = 14) -> list[DiceRow]:
    """Arms of which one is better, one worse and one the same as ``real``."""
    rows = []
    for n in range(patients):
        base = float(rng.uniform(0.3, 0.6))
        noise = [float(e) for e in rng.normal(0, 0.01, 3)]
        rows += [
            row("real", f"p{n}", base, name=name),
            row("good", f"p{n}", base + 0.2 + noise[0], name=name),
        ]
        rows += [
            row("bad", f"p{n}", base - 0.2 + noise[1], name=name),
            row("same", f"p{n}", base + noise[2], name=name),
        ]
    return rows


def test_compare_finds_a_planted_gain_and_a_planted_harm() -> None:
    rows = planted(SEED.child("plant").rng())
    question = Question("real", (("good", "same"),), ("x", "absent"), None)
    found = {(c.arm, c.baseline): c for c in compare(rows, question, SEED)}
    assert {pair: c.verdict for pair, c in found.items()} == {
        ("good", "real"): "gain",
        ("bad", "real"): "harm",
        ("same", "real"): "no evidence",
        ("good", "same"): "gain",
    }
    good = found["good", "real"]
    assert good.ci_low < good.mean_difference < good.ci_high
    assert good.mean_difference == pytest.approx(0.2, abs=0.02)
    assert good.p_holm == pytest.approx(3 * good.p)
    assert found["good", "same"].p_holm == found["good", "same"].p
    assert good.n_patients == 14
    assert good.coverage is not None
    assert 0.9 < good.coverage <= 1.0


def test_harm_in_a_class_that_is_not_studied_is_called_too() -> None:
    rng = SEED.child("classes").rng()
    rows = [r for r in planted(rng, "x") + planted(rng, "y") if r.arm != "same"]
    found = compare(rows, Question("real", (), ("x", "y"), "x"), SEED)
    assert {(c.arm, c.class_name): c.verdict for c in found} == {
        ("good", "x"): "gain",
        ("bad", "x"): "harm",
        ("good", "y"): "gain",
        ("bad", "y"): "harm",
    }


def test_the_class_under_study_is_not_corrected_for_the_others() -> None:
    rng = SEED.child("families").rng()
    rows = [r for name in "wxyz" for r in planted(rng, name) if r.arm in ("real", "good")]
    studied = {c.class_name: c for c in compare(rows, Question("real", (), tuple("wxyz"), "x"), SEED)}
    assert studied["x"].p_holm == studied["x"].p
    assert studied["y"].p_holm == pytest.approx(3 * studied["y"].p)
    alike = {c.class_name: c for c in compare(rows, Question("real", (), tuple("wxyz"), None), SEED)}
    assert alike["x"].p_holm == pytest.approx(4 * alike["x"].p)


def test_each_number_of_annotated_patients_is_a_family_of_its_own() -> None:
    rows = planted(SEED.child("sizes").rng())
    both = [r.model_copy(update={"n_annotated": n}) for n in (4, 8) for r in rows]
    found = compare(both, Question("real", (), ("x",), None), SEED)
    assert [c.n_annotated for c in found] == [4, 4, 4, 8, 8, 8]
    assert found[0].p_holm == pytest.approx(3 * found[0].p)


def test_one_patient_is_inconclusive_and_its_interval_says_nothing() -> None:
    rows = [row("real", "p", 0.2), row("better", "p", 0.9)]
    (found,) = compare(rows, Question("real", (), ("x",), "x"), SEED)
    assert (found.verdict, found.ci_low, found.ci_high) == ("inconclusive", -1.0, 1.0)
    assert (found.p, found.mde, found.coverage) == (1.0, None, None)


def test_identical_arms_are_no_evidence() -> None:
    rows = [row(arm, f"p{n}", n / 10) for n in range(9) for arm in ("real", "twin")]
    (found,) = compare(rows, Question("real", (), ("x",), None), SEED)
    assert (found.verdict, found.mean_difference, found.ci_low, found.ci_high) == (
        "no evidence",
        0.0,
        0.0,
        0.0,
    )
    assert (found.p, found.coverage) == (1.0, None)


def test_a_class_absent_from_test_is_not_compared() -> None:
    rows = [row(arm, f"p{n}", None) for n in range(9) for arm in ("real", "other")]
    assert compare(rows, Question("real", (), ("x",), None), SEED) == ()


def test_a_row_that_only_one_arm_could_score_is_left_out() -> None:
    ours = [row("a", "p1", 0.5), row("a", "p2", None), row("a", "p3", 0.1)]
    theirs = [row("b", "p1", 0.4), row("b", "p2", 0.4), row("b", "p3", 0.1 + 1e-12)]
    paired = paired_differences(ours, theirs)
    assert paired.patient_ids == ("p1", "p3")
    assert paired.values == pytest.approx([0.1, 0.0])
    assert paired.values[1] == 0.0  # not a rounding error


def test_every_arm_count_and_class_is_compared() -> None:
    rng = SEED.child("large").rng()
    rows = []
    for n_annotated in (4, 8, 16):
        for name in ("w", "x", "y", "z"):
            base = rng.uniform(0.2, 0.6, 42)
            for arm in range(9):
                dice = np.where(rng.random(42) < 0.3, base, base + 0.1 * rng.gamma(2.0, size=42))
                rows += [
                    row(f"a{arm}", f"p{n}", float(d), name=name).model_copy(
                        update={"n_annotated": n_annotated}
                    )
                    for n, d in enumerate(dice)
                ]
    found = compare(rows, Question("a0", (), ("w", "x", "y", "z"), "x"), SEED)
    assert len(found) == 3 * 4 * 8
