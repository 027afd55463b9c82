"""The data sheet says what a reader must know."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.assessment import PartVerdict, QualityReport, Rejection
from medaug.core.certificate import ReleaseCertificate, Tier
from medaug.core.plan import Recipe, Translation, read_lines
from medaug.privacy.datasheet import SheetFacts, write_datasheet
from tests.unit.privacy.synthetic_set import QUALITY, make_set


def sheet(
    folder: Path,
    tier: Tier,
    *,
    accepted: bool = False,
    generators: tuple[str, ...] = ("copy_paste abc",),
    epsilon: float | None = None,
    **facts: object,
) -> str:
    material = make_set(folder)
    certificate = ReleaseCertificate(
        tier=tier,
        created="2026-01-01T00:00:00+00:00",
        medaug_version="0",
        files=(),
        n_cases=2,
        generators=generators,
        lineage=(),
        source_hmac=(),
        audit_sha256="0" * 64,
        verdict=PartVerdict(lesion="inconclusive" if accepted else "pass", background="fail"),
        detection_limit=0.075,
        accepted_inconclusive=accepted,
        dp_epsilon=epsilon,
        dp_delta=None if epsilon is None else 1e-5,
        licence="CC0-1.0",
        terms="Ask first.",
    )
    told = {
        "certificate": certificate,
        "manifest": material.manifest,
        "recipes": read_lines(material.dataset / "recipes.jsonl", Recipe),
        "translations": (),
        "quality": QualityReport.read(material.assessment / QUALITY),
    }
    return write_datasheet(SheetFacts.model_validate({**told, **facts}))


def test_counts_limits_and_the_disclaimer(tmp_path: Path) -> None:
    text = sheet(tmp_path, "hosted")
    assert "Research use, not a medical device." in text
    assert "| solid | 1 | 1 |" in text
    assert "| ground_glass | 1 | 1 |" in text
    assert "2 host patients, 1 donor patients" in text
    assert "7.5%" in text
    assert "CC0-1.0. Ask first." in text
    assert "| solid | 2 | 9 | 0.100 (0.050 to 0.150) | too few |" in text


@pytest.mark.parametrize(
    ("tier", "words"),
    [
        ("hosted", "real patient's scan"),
        ("synthetic-only", "no background was found to match"),
        ("internal", "must not be passed on"),
    ],
)
def test_each_tier_says_what_it_is(tmp_path: Path, tier: Tier, words: str) -> None:
    assert words in sheet(tmp_path, tier)


def test_acceptance_by_a_person_is_stated(tmp_path: Path) -> None:
    assert "a person accepted" in sheet(tmp_path / "a", "hosted", accepted=True)
    assert "a person accepted" not in sheet(tmp_path / "b", "hosted")


def test_what_was_left_out_is_said_without_a_persons_words(tmp_path: Path) -> None:
    assert "Nothing: the set is as it was made." in sheet(tmp_path / "a", "hosted")
    quality = QualityReport.read(tmp_path / "a" / "assessment" / QUALITY)
    rejected = (
        Rejection(case_id="syn_4", reason="score is 0.1", rule="score>0.4"),
        Rejection(case_id="syn_5", reason="score is 0.2", rule="score>0.4"),
        Rejection(case_id="syn_6", reason="the man next door"),
    )
    text = sheet(tmp_path / "b", "hosted", quality=quality.model_copy(update={"rejected": rejected}))
    assert "3 of 5 cases, before the copying audit." in text
    assert "| the rule `score>0.4` | 2 | syn_4, syn_5 |" in text
    assert "| a person | 1 | syn_6 |" in text
    assert "next door" not in text


def test_a_set_of_another_tool_and_cases_that_are_nobodys(tmp_path: Path) -> None:
    text = sheet(tmp_path / "a", "synthetic-only", generators=(), recipes=())
    assert "| solid | not known | 1 |" in text
    assert "Differential privacy: not known" in text
    assert "Made by another tool" in text
    assert "host patients" not in text
    row = Translation(
        case_id="syn_0", source_case_id=None, source_sha256=(), donor_patient_ids=("p3", "p4"), translator="whole_image",
        translator_sha256="e" * 64, fold=0, training_scope_sha256="c" * 64, class_name="solid", seed=0,
    )  # fmt: skip
    text = sheet(tmp_path / "b", "synthetic-only", recipes=(), translations=(row,))
    assert "1 cases are nobody's scan, drawn over bent label maps of 2 patients" in text
    assert "Made by another tool" not in text


def test_null_pastes_are_no_lesions(tmp_path: Path) -> None:
    recipes = read_lines(make_set(tmp_path / "a").dataset / "recipes.jsonl", Recipe)
    recipes = (recipes[0].model_copy(update={"use": "null"}), recipes[1])
    text = sheet(tmp_path / "b", "hosted", recipes=recipes)
    assert "| solid | 0 | 1 |" in text
    assert "1 of the cases hold healthy tissue" in text


def test_what_was_checked_and_what_was_not_is_said(tmp_path: Path) -> None:
    text = sheet(tmp_path, "hosted")
    assert "A list of known identifiers was not given." in text
    assert "Faces were not looked for." in text
    assert "Membership of patients in the training set: not measured" in text


def test_epsilon_covers_the_generator_alone(tmp_path: Path) -> None:
    text = sheet(tmp_path, "hosted", epsilon=7.94)
    assert "epsilon 7.94, delta 1e-05, unit patient" in text
    assert "not differentially private" in text
