"""scripts/nnunet_check.py: which folds it judges, and that made cases are never scored. nnU-Net itself runs outside CI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.nnunet_check import fold_sides, row

REAL, MADE = ("c1", "c2", "c3"), "f1"


def write_raw(folder: Path, *folds: tuple[list[str], list[str]], made_of: str = "c1") -> Path:
    """The two files that say who is who; every real case is of a patient of its own."""
    cases = [{"case_id": c, "patient_id": f"p_{c}", "origin": "real"} for c in REAL]
    cases.append({"case_id": MADE, "patient_id": f"p_{made_of}", "origin": "synthetic"})
    (folder / "manifest.json").write_text(json.dumps({"cases": cases}))
    sides = [{"train": train, "val": val} for train, val in folds]
    (folder / "splits_final.json").write_text(json.dumps(sides))
    return folder


def test_the_first_fold_with_made_cases_is_judged(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, (["c2", "c3"], ["c1"]), (["c1", "c2", MADE], ["c3"]))
    chosen, folds, made = fold_sides(raw, None)
    assert (chosen, len(folds), made) == (1, 2, frozenset({MADE}))
    with pytest.raises(SystemExit, match=r"fold 0 trains on no synthetic case; these do: \[1\]"):
        fold_sides(raw, 0)


@pytest.mark.parametrize("fold", [(["c1", "c2"], [MADE]), (["c2", MADE], ["c1"])])
def test_folds_that_score_what_was_made_are_refused(
    tmp_path: Path, fold: tuple[list[str], list[str]]
) -> None:
    with pytest.raises(SystemExit, match="validates on made cases, or on patients that it trains on"):
        fold_sides(write_raw(tmp_path, fold), None)


def test_a_row_of_the_table_is_nnunets_own_mean(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"mean": {"1": {"Dice": 0.5}, "2": {"Dice": 0.25}}}))
    sides = {"train": ["c1", MADE], "val": ["c2"]}
    told = row("real", sides, tmp_path / "summary.json", {0: "background", 1: "solid", 2: "cavity"})
    assert told == "real: 2 training cases, 1 validated, Dice solid 0.500, cavity 0.250"
