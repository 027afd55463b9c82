"""The data sheet says what a reader must know."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.assessment import PartVerdict, QualityReport
from medaug.core.plan import Recipe, read_lines
from medaug.core.results import ReleaseCertificate, Tier
from medaug.privacy.datasheet import SheetFacts, write_datasheet
from tests.unit.privacy.synthetic_set import QUALITY, make_set


def sheet(folder: Path, tier: Tier, *, accepted: bool = False) -> str:
    material = make_set(folder)
    certificate = ReleaseCertificate(
        tier=tier,
        created="2026-01-01T00:00:00+00:00",
        medaug_version="0",
        files=(),
        n_cases=2,
        generators=("copy_paste abc",),
        lineage=(),
        source_hmac=(),
        audit_sha256="0" * 64,
        verdict=PartVerdict(lesion="inconclusive" if accepted else "pass", background="fail"),
        detection_limit=0.075,
        accepted_inconclusive=accepted,
        dp_epsilon=None,
        licence="CC0-1.0",
        terms="Ask first.",
    )
    recipes = read_lines(material.dataset / "recipes.jsonl", Recipe)
    quality = QualityReport.read(material.assessment / QUALITY)
    return write_datasheet(
        SheetFacts(certificate=certificate, manifest=material.manifest, recipes=recipes, quality=quality)
    )


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
