"""What a result says besides its rows."""

from __future__ import annotations

import pytest

from medaug.core.results import ArmCost, ClassCount, DiceRow, ExperimentContext, ExperimentResult
from medaug.core.seeding import SeedTree
from medaug.experiments.outcome import Plan, experiment_result
from tests.unit.experiments.fakes import experiment

ARMS = ("real", "copy_paste", "carvemix")


def plan(**changes: object) -> Plan:
    arms: list[dict[str, object]] = [{"name": "real"}]
    arms += [{"name": a, "generator": {"kind": a}, "synthetic_share": 0.5} for a in ARMS[1:]]
    config = experiment(**{"arms": arms, "n_annotated": [4, None], "limit_class": "x"} | changes)
    context = ExperimentContext(
        name="trial",
        command="",
        n_cases=12,
        n_patients=12,
        classes=tuple(
            ClassCount(class_name=name, cases=12, patients=12, scored_patients=12) for name in ("x", "y")
        ),
        findings=(),
        checks=(),
        licences=("CC BY 4.0",),
        terms=(),
        dataset="cohort",
        cells=("a", "b"),
    )
    return Plan(config, context, "0" * 64)


def rows(gain: float = 0.1, patients: int = 12) -> list[DiceRow]:
    rng = SeedTree(3).child("outcome").rng()
    found = []
    for n_annotated in (4, None):
        for n in range(patients):
            base = float(rng.uniform(0.2, 0.4)) + (0.3 if n_annotated is None else 0)
            for place, arm in enumerate(ARMS):
                for name in ("x", "y"):
                    dice = base + place * gain * (1 + float(rng.normal(0, 0.1)))
                    found.append(row(arm, n_annotated, n, name, dice))
    return found


def row(arm: str, n_annotated: int | None, patient: int, name: str, dice: float) -> DiceRow:
    return DiceRow(
        arm=arm,
        n_annotated=n_annotated,
        fold=0,
        seed=0,
        case_id=f"c{patient}",
        patient_id=f"p{patient}",
        class_name=name,
        dice=dice,
    )


def costs() -> list[ArmCost]:
    return [
        ArmCost(
            arm=arm,
            n_annotated=n,
            fold=0,
            seed=0,
            optimiser_steps=10,
            patch_size=(8, 8),
            lesion_patch_share=0.5,
            synthetic_patch_share=0.0,
            annotated_patients=n or 20,
            seconds=1.0,
        )
        for n in (4, None)
        for arm in ARMS
    ]


def result(found: list[DiceRow], *, complete: bool = True, **changes: object) -> ExperimentResult:
    return experiment_result(plan(**changes), found, costs(), complete=complete)


def test_a_result_has_curves_savings_and_equal_terms() -> None:
    found = result(rows())
    assert [p.patients for p in found.curves if (p.arm, p.class_name) == ("real", "x")] == [4.0, 20.0]
    (saving,) = (s for s in found.savings if (s.arm, s.class_name, s.n_annotated) == ("carvemix", "x", 4))
    assert saving.saved is not None
    assert 0 < saving.saved < 16
    assert saving.said.startswith("With 4 annotated patients carvemix reached the x Dice")
    assert found.equal_terms[0] == "Every training took 10 optimiser steps."
    assert ExperimentResult.model_validate_json(found.model_dump_json()) == found


def test_a_named_pair_is_compared_and_noted() -> None:
    named = result(rows(), comparisons=[["carvemix", "copy_paste"]])
    pairs = {(c.arm, c.baseline) for c in named.comparisons}
    assert pairs == {("copy_paste", "real"), ("carvemix", "real"), ("carvemix", "copy_paste")}
    assert "Named in the configuration, before any score: carvemix against copy_paste." in named.notes
    assert any("read off the same scores" in note for note in named.notes)
    assert not any("Named" in note for note in result(rows()).notes)


def test_arms_with_the_same_scores_are_noted() -> None:
    said = "gave the same Dice in every patient"
    assert any(said in note for note in result(rows(gain=0.0)).notes)
    assert not any(said in note for note in result(rows()).notes)


def test_scores_without_a_partner_are_noted_once_all_is_done() -> None:
    missing = [r for r in rows() if (r.arm, r.case_id) != ("carvemix", "c3")]
    said = "4 scores of carvemix or real have no partner in the other: they are not compared."
    assert said in result(missing).notes
    assert said not in result(missing, complete=False).notes
    (compared,) = {
        c.n_patients for c in result(missing).comparisons if (c.arm, c.class_name) == ("carvemix", "x")
    }
    assert compared == 11


def test_one_patient_or_a_class_absent_from_test_is_said() -> None:
    lone = result(rows(patients=1))
    assert {c.verdict for c in lone.comparisons} == {"inconclusive"}
    assert any(note.startswith("Only 1 scored patients carry x") for note in lone.notes)
    assert lone.savings == ()
    absent = result([r for r in rows() if r.class_name == "x"])
    assert "No scored patient carries y: it has no Dice." in absent.notes
    assert {c.class_name for c in absent.comparisons} == {"x"}


@pytest.mark.parametrize("pair", [["carvemix", "real"], ["carvemix", "carvemix"], ["carvemix", "absent"]])
def test_pairs_that_say_nothing_new_are_refused(pair: list[str]) -> None:
    with pytest.raises(ValueError, match=r"already|two arms"):
        plan(comparisons=[pair])
    with pytest.raises(ValueError, match="named twice"):
        plan(comparisons=[["carvemix", "copy_paste"]] * 2)


def test_nothing_done_yet_is_a_result_too() -> None:
    empty = experiment_result(plan(), [], [], complete=False)
    assert (empty.comparisons, empty.curves, empty.savings, empty.equal_terms) == ((), (), (), ())
