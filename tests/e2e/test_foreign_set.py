"""A set that another tool made: images and a table, no recipes, and a split that says who was trained on."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from medaug.cli.main import main
from medaug.core.assessment import AuditReport, QualityReport
from tests.unit.quality.textured import textured
from tests.unit.workflows.assessable import write_set

TRAINED, HELD_OUT = range(6), range(100, 106)


def scans(folder: Path, sides: dict[int, str]) -> Path:
    """NIfTI files with a cases.csv, as any tool could write them."""
    cases = [replace(textured(n), case_id=f"c{n}", patient_id=f"p{n}") for n in sides]
    write_set(folder / "made", cases)
    rows = []
    for case, side in zip(cases, sides.values(), strict=True):
        image, label = f"{case.case_id}.nii.gz", f"{case.case_id}_label.nii.gz"
        shutil.copy(folder / f"made/imagesTr/{case.case_id}_0000.nii.gz", folder / image)
        shutil.copy(folder / f"made/labelsTr/{case.case_id}.nii.gz", folder / label)
        rows.append(
            {"case_id": case.case_id, "patient_id": case.patient_id, "modality": "CT", "image": image, "label": label,
             "lesion_classes": "solid;ground_glass", "label_ids": "1;2", "split": side}
        )  # fmt: skip
    shutil.rmtree(folder / "made")
    with (folder / "cases.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_it_is_assessed_against_the_patients_that_it_was_made_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def medaug(*arguments: object) -> dict[str, object]:
        code = main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        return dict(json.loads(out))

    real = scans(tmp_path / "scans", {**dict.fromkeys(TRAINED, "train"), **dict.fromkeys(HELD_OUT, "test")})
    # half of the made cases are the training patients' own
    theirs = scans(tmp_path / "theirs", dict.fromkeys((*range(3), *range(800, 803)), ""))
    medaug("ingest", real, "--out", tmp_path / "dataset")
    medaug("ingest", theirs, "--origin", "synthetic", "--out", tmp_path / "made")
    said = medaug(
        "assess", tmp_path / "made", "--against", tmp_path / "dataset", "--on-split", "--parts", "quality,copying",
        "--out", tmp_path / "assessment",
    )  # fmt: skip
    audit = AuditReport.read(tmp_path / "assessment/audit.json")
    quality = QualityReport.read(tmp_path / "assessment/quality.json")
    # six held-out patients are too few to calibrate on: never a pass
    assert said["lesion"] == audit.verdict.lesion == "inconclusive"
    assert any("held-out patients to calibrate on" in reason for reason in audit.reasons)
    assert [(c.n_synthetic, c.n_training, c.n_held_out) for c in quality.classes] == [(6, 6, 6), (0, 0, 0)]
    assert "--on-split" in (tmp_path / "assessment/assessment.html").read_text()
