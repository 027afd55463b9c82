"""Plain words for every outcome; harm is never left out."""

from __future__ import annotations

import pytest

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


def test_harm_in_any_class_is_warned_of_even_beside_a_gain() -> None:
    said = verdict(
        result(comparison("cgan", "ground_glass", 0.08, "gain"), comparison("cgan", "solid", -0.1, "harm"))
    )
    assert said.sentence.startswith("A gain")
    assert "cgan (solid, −0.100)" in said.warning
    only = verdict(result(comparison("cgan", "ground_glass", -0.1, "harm")))
    assert only.tone == "harm"
    assert only.sentence.startswith("Harm")


def test_arms_without_synthetic_patches_make_no_headline() -> None:
    said = verdict(result(comparison("real", "ground_glass", -0.3, "harm")))
    assert said.sentence.startswith("Nothing can be said yet")


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
    assert said.warning.startswith("Preliminary: 2 of 3")


@pytest.mark.parametrize(("value", "text"), [(0.03, "+0.030"), (-0.03, "−0.030")])
def test_signs(value: float, text: str) -> None:
    assert signed(value) == text


def test_p() -> None:
    assert p_text(0.0004) == "<0.001"
    assert p_text(0.05) == "0.050"
