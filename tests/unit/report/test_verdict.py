"""Plain words for every outcome; harm is never left out."""

from __future__ import annotations

import pytest

from medaug.core.results import Comparison
from medaug.report.verdict import p_text, signed, verdict
from tests.unit.report.sample import comparison, result


def test_a_gain_is_said_with_its_figures() -> None:
    said = verdict(result(comparison("cgan", "ground_glass", 0.08, "gain")))
    assert said.tone == "gain"
    assert said.sentence.startswith(
        "A gain: cgan changed the mean Dice of ground_glass by +0.080 against classical"
    )
    assert "n = 8 patients" in said.sentence
    assert said.warning == ""


def test_a_sure_but_tiny_gain_is_called_tiny() -> None:
    said = verdict(result(comparison("cgan", "ground_glass", 0.002, "gain")))
    assert said.sentence.startswith("A gain, though of less than a hundredth: cgan")


def test_no_evidence_says_what_could_have_been_seen() -> None:
    said = verdict(result(comparison("cgan", "ground_glass", 0.02)))
    assert said.tone == "none"
    assert said.sentence.startswith("No evidence of a gain")
    assert "0.061" in said.sentence


def test_the_detectable_difference_is_only_named_where_it_was_not_reached() -> None:
    said = verdict(result(comparison("cgan", "ground_glass", 0.07)))
    assert said.sentence.startswith("No evidence of a gain")
    assert "would likely have been seen" not in said.sentence


def test_a_gain_in_a_class_that_is_not_studied_is_no_headline() -> None:
    said = verdict(result(comparison("cgan", "solid", 0.08, "gain"), comparison("cgan", "ground_glass", 0.0)))
    assert said.sentence.startswith("No evidence of a gain")


def test_harm_in_any_class_is_said_as_loudly_as_a_gain() -> None:
    said = verdict(
        result(comparison("cgan", "ground_glass", 0.08, "gain"), comparison("cgan", "solid", -0.1, "harm"))
    )
    assert said.sentence.startswith("A gain")
    assert said.harm.startswith(
        "Harm: intervals lie wholly below zero for cgan in solid with 8 patients (−0.100"
    )
    assert said.warning == said.harm
    only = verdict(result(comparison("cgan", "ground_glass", -0.1, "harm")))
    assert only.tone == "harm"
    assert only.sentence.startswith("Harm")


def test_much_harm_is_counted_and_the_worst_comes_first() -> None:
    harmed = [comparison("cgan", f"class_{n}", -0.1 - n / 100, "harm") for n in range(8)]
    said = verdict(result(*harmed)).harm
    assert said.index("class_7") < said.index("class_6")
    assert said.endswith("; and 2 more.")


def test_comparisons_with_another_arm_make_sentences_of_their_own() -> None:
    def against_real(name: str, difference: float, verdict: str) -> Comparison:
        return comparison("cgan", name, difference, verdict).model_copy(update={"baseline": "real"})

    said = verdict(
        result(
            comparison("cgan", "ground_glass", 0.01),
            against_real("ground_glass", 0.2, "gain"),
            against_real("solid", -0.2, "harm"),
        )
    )
    assert said.sentence.startswith(
        "No evidence of a gain: at best, cgan changed the mean Dice of ground_glass by +0.010"
    )
    assert len(said.others) == 1
    assert said.others[0].startswith(
        "A gain: cgan changed the mean Dice of ground_glass by +0.200 against real"
    )
    assert "cgan in solid against real" in said.harm
    none = verdict(
        result(comparison("cgan", "ground_glass", 0.1), against_real("ground_glass", 0.0, "no evidence"))
    )
    assert none.others[0].endswith("minimum detectable effect 0.061.")


def test_why_nothing_can_be_said() -> None:
    made = result(comparison("real", "solid", 0.0)).model_copy(update={"comparisons": ()})
    assert "no training has been scored" in verdict(made.model_copy(update={"rows": ()})).sentence
    alone = made.model_copy(update={"rows": made.rows[:8]})
    assert verdict(alone).sentence == "Nothing can be compared: real is the only arm that has been trained."
    assert verdict(made).sentence.startswith(
        "Nothing can be said: no arm with synthetic lesions has been compared"
    )


def test_arms_without_synthetic_patches_make_no_headline() -> None:
    said = verdict(result(comparison("real", "ground_glass", -0.3, "harm")))
    assert said.sentence.startswith("Nothing can be said: no arm with synthetic lesions has been compared")


def test_without_any_synthetic_arm_every_arm_is_studied_once_all_are_trained() -> None:
    made = result(comparison("real", "ground_glass", 0.08, "gain"))
    costs = tuple(cost.model_copy(update={"synthetic_patch_share": 0.0}) for cost in made.costs)
    only_real = made.model_copy(update={"costs": costs})
    assert verdict(only_real).sentence.startswith("A gain: real changed")
    running = only_real.model_copy(update={"complete": False})
    assert verdict(running).sentence.startswith("Nothing can be said yet")


def test_too_few_patients_are_inconclusive_and_a_running_experiment_is_preliminary() -> None:
    few = comparison("cgan", "ground_glass", 0.3, "inconclusive", n=3)
    said = verdict(result(few, complete=False))
    assert said.sentence.startswith("Inconclusive: n = 3 pairs are too few")
    assert said.caution == said.warning == "Preliminary: 2 of 3 trainings are done."


@pytest.mark.parametrize(("value", "text"), [(0.03, "+0.030"), (-0.03, "−0.030")])
def test_signs(value: float, text: str) -> None:
    assert signed(value) == text


def test_p() -> None:
    assert p_text(0.0004) == "<0.001"
    assert p_text(0.05) == "0.050"
