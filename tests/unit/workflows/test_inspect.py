"""medaug inspect: counts that match the dataset, findings, and a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.errors import DataError
from medaug.core.runs import NoProgress
from medaug.workflows.ingest import IngestOptions, ingest
from medaug.workflows.inspect import SHEET, InspectOptions, inspect
from tests.unit.ingest.material import ct_set, write_table


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rows = ct_set(tmp_path / "src", ("a1", "a2", "a3", "bad"))
    (tmp_path / "src" / "images" / "bad.nii.gz").write_bytes(b"junk")
    write_table(tmp_path / "src", rows)
    ingest(IngestOptions(sources=(tmp_path / "src",), out=tmp_path / "out"), NoProgress())
    return tmp_path / "out"


def test_counts_findings_and_sheet(dataset: Path) -> None:
    summary = inspect(InspectOptions(dataset=dataset), NoProgress())
    assert (summary.cases, summary.labelled, summary.patients, summary.unit) == (3, 3, 3, "HU")
    assert [(c.class_name, c.lesions, c.cases) for c in summary.classes] == [("solid", 3, 3)]
    assert [(f.severity, f.code, f.count) for f in summary.findings] == [
        ("refused", "unreadable", 1),
        ("flagged", "modality-guessed", 1),
    ]
    assert summary.sheet == dataset / SHEET
    assert (dataset / SHEET).read_bytes().startswith(b"\x89PNG")
    text = "\n".join(summary.lines())
    assert "3 cases of 3 patients, CT in HU" in text
    assert "refused unreadable x 1" in text


def test_the_sheet_may_go_elsewhere_and_be_short(dataset: Path, tmp_path: Path) -> None:
    summary = inspect(InspectOptions(dataset=dataset, sheet=tmp_path / "s.png", max_cases=2), NoProgress())
    assert summary.sheet_cases == 2
    assert (tmp_path / "s.png").is_file()
    assert not (dataset / SHEET).exists()


def test_changed_files_are_named_and_the_other_cases_are_drawn(dataset: Path) -> None:
    first, second = dataset / "imagesTr" / "a1_0000.nii.gz", dataset / "imagesTr" / "a2_0000.nii.gz"
    first.write_bytes(second.read_bytes())
    summary = inspect(InspectOptions(dataset=dataset), NoProgress())
    assert len(summary.damaged) == 1
    assert summary.damaged[0].startswith("a1: imagesTr/a1_0000.nii.gz is not the file the manifest describes")
    assert summary.sheet_cases == summary.cases - 1
    assert f"damaged: {summary.damaged[0]}" in summary.lines()
    for image in (dataset / "imagesTr").iterdir():
        image.write_bytes(b"junk")
    with pytest.raises(DataError, match="no case can be drawn, the first: a1"):
        inspect(InspectOptions(dataset=dataset), NoProgress())
