"""The study of synthesis runs from a dataset to its tables, and measures nothing twice."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from medaug.core.case import SPLITS, Manifest, read_manifest
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, Splits
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.quality import encoder, recovery, seams
from medaug.quality.networks import Training
from medaug.workflows.bank import BankOptions, bank
from medaug.workflows.fit import FitOptions, fit
from scripts import synthesis_study
from scripts.study import parts, summary
from tests.small_cases import CLASSES, chest

HALF = 6
CGAN = "kind: cgan\nsize: [16, 16]\nbase: 4\ncritic_base: 4\nbatch_size: 2\nsteps: 1\n"
SEGMENTER = {**parts.SEGMENTER, "patch_size": [16, 16], "batch_size": 2, "steps": 1, "base_channels": 4}


def prepared(folder: Path) -> list[str]:
    """A dataset of two halves, a bank and a cgan of one; returns the study's arguments."""
    dataset = folder / "set"
    facts = CaseFacts(modality="CT")
    records = tuple(write_case(dataset, chest(n, CLASSES), facts) for n in range(2 * HALF))
    finish_dataset(dataset, Manifest(name="small", classes=CLASSES, cases=records), ())
    manifest = read_manifest(dataset)
    patients = manifest.patient_ids
    fold = Fold(index=0, train=patients[:HALF], held_out=patients[HALF:])
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=(fold,)).write(dataset / SPLITS)
    bank(BankOptions(dataset=dataset, out=folder / "bank"), NoProgress())
    (folder / "cgan.yaml").write_text(CGAN)
    wanted = {"bank": folder / "bank", "config": folder / "cgan.yaml", "out": folder / "cgan"}
    fit(FitOptions.model_validate({"dataset": dataset, "device": "cpu", **wanted}), NoProgress())
    return [
        *("study", str(dataset), "--bank", str(folder / "bank"), "--out", str(folder / "out")),
        *("--per-class", "5", "--generators", f"ours={folder / 'cgan'}", "copy_paste=copy_paste"),
    ]


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps and few places."""
    brief = Training(steps=2, batch=4)
    monkeypatch.setattr(recovery, "Training", lambda: brief)
    monkeypatch.setattr(seams, "_TRAINING", brief)
    monkeypatch.setattr(encoder, "SelfTraining", partial(encoder.SelfTraining, steps=2))
    monkeypatch.setattr(parts, "SEGMENTER", SEGMENTER)
    for name, count in {"SEAM_PLACES": 6, "SWEPT": 4, "PLACES_A_CLASS": 1, "DRAWS_A_PLACE": 2}.items():
        monkeypatch.setattr(parts, name, count)


def read(out: Path) -> dict[str, Any]:
    return {name: json.loads((out / f"{name}.json").read_text()) for name in synthesis_study.PARTS}


@pytest.mark.slow  # a study, however small
def test_the_study_measures_every_part_and_writes_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_small(monkeypatch)
    monkeypatch.setattr(sys, "argv", prepared(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert synthesis_study.main() == 0
    found = read(tmp_path / "out")
    drawn = {"ours", "ours_coarse", "copy_paste"}
    assert drawn <= set(found["recovery"])
    assert found["recovery"]["n_learnt"] == found["recovery"]["n_real"] == 2 * HALF
    levels = {name: found["density"]["real"][name]["value"] for name in CLASSES}
    assert levels == pytest.approx({"solid": 40, "ground_glass": -520}, abs=20)
    assert set(found["distance"]["figures"]["distance"]) == {"real", *drawn}
    assert set(found["distance"]["figures"]["difference"]) == {"ours - ours_coarse", "ours - copy_paste"}
    assert {name for name in drawn if "z_ssim" in found["diversity"][name]} == {"ours"}
    assert -1 <= found["diversity"]["ours"]["z_ssim"]["value"] <= 1
    assert set(found["seams"]) == {"hard", "feather", "poisson", "cpu_seconds"}
    assert found["controls"]["real"]["n"] == HALF
    text = (tmp_path / "out/summary.md").read_text()
    assert text in capsys.readouterr().out
    for title in (
        "Class recovered",
        "Mean density",
        "Kernel distance",
        "Diversity",
        "Seams",
        "Size as asked",
    ):
        assert f"**{title}" in text

    def again(*_: object) -> dict[str, object]:
        raise AssertionError("measured twice")

    for name in ("recovery", "seams", "controls"):
        monkeypatch.setattr(parts, name, again)
    assert synthesis_study.main() == 0
    assert (tmp_path / "out/summary.md").read_text() == text


def test_a_class_that_a_generator_did_not_draw_is_left_empty() -> None:
    level = {"value": 10.0, "low": 5.0, "high": 15.0}
    lower = {"value": -10.0, "low": -15.0, "high": -5.0}
    part = {
        "unit": "HU",
        "real": {"solid": level, "ground_glass": lower},
        "ours": {"solid": level, "ground_glass": lower},
        "turned": {"solid": lower, "ground_glass": level},
        "half": {"solid": level},
    }
    lines = summary.tables({"density": part}, ("ours", "turned", "half")).splitlines()
    assert lines[-3:] == [
        "| ours | 10 (5 to 15) | -10 (-15 to -5) | yes |",
        "| turned | -10 (-15 to -5) | 10 (5 to 15) | no |",
        "| half | 10 (5 to 15) |  |  |",
    ]
