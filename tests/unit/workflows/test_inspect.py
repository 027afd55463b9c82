"""medaug inspect: counts that match the dataset, findings, and pages to leaf through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medaug.core.errors import DataError
from medaug.core.findings import Inspection
from medaug.core.runs import NoProgress
from medaug.ingest.sheet import ROWS
from medaug.workflows.ingest import IngestOptions, ingest
from medaug.workflows.inspect import INSPECTION, InspectOptions, inspect
from tests.unit.ingest.material import CountingProgress, ct_set, write_table


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rows = ct_set(tmp_path / "src", ("a1", "a2", "a3", "bad"))
    (tmp_path / "src" / "images" / "bad.nii.gz").write_bytes(b"junk")
    write_table(tmp_path / "src", rows)
    ingest(IngestOptions(sources=(tmp_path / "src",), out=tmp_path / "out"), NoProgress())
    return tmp_path / "out"


def _damage(dataset: Path) -> None:
    first, second = dataset / "imagesTr" / "a1_0000.nii.gz", dataset / "imagesTr" / "a2_0000.nii.gz"
    first.write_bytes(second.read_bytes())


def test_counts_findings_and_sheet(dataset: Path) -> None:
    progress = CountingProgress()
    summary = inspect(InspectOptions(dataset=dataset), progress)
    assert (summary.cases, summary.labelled, summary.patients, summary.unit) == (3, 3, 3, "HU")
    assert [(c.class_name, c.lesions, c.cases) for c in summary.classes] == [("solid", 3, 3)]
    assert [(f.severity, f.code, f.count) for f in summary.findings] == [
        ("refused", "unreadable", 1),
        ("flagged", "modality-guessed", 1),
    ]
    assert summary.sheet == dataset / "inspection" / "contact_sheet.html"
    assert (dataset / "inspection" / "contact_sheet_01.png").read_bytes().startswith(b"\x89PNG")
    assert (summary.pages, summary.sheet_cases) == (1, 3)
    assert progress.started == ["checking cases", "comparing cases", "drawing cases"]
    text = "\n".join(summary.lines())
    assert "3 cases of 3 patients, CT in HU" in text
    assert "refused unreadable x 1" in text


def test_what_is_found_is_written_and_shown(dataset: Path) -> None:
    summary = inspect(InspectOptions(dataset=dataset), NoProgress())
    report = Inspection.read(dataset / INSPECTION)
    assert (report.cases, report.examined, report.folds) == (3, 3, 5)
    codes = {one.code for one in report.findings}
    assert "few-patients" in codes
    assert codes == {one.code for one in summary.checked}
    assert "few-patients x 1: class solid is in 3 patients" in "\n".join(summary.lines())
    assert "left and right: inconclusive" in summary.notes[0]
    assert "few-patients" in summary.sheet.read_text()
    assert not {one.code for one in _again(dataset, folds=3).findings} & {"few-patients"}


def _again(dataset: Path, folds: int) -> Inspection:
    inspect(InspectOptions(dataset=dataset, folds=folds), NoProgress())
    return Inspection.read(dataset / INSPECTION)


def test_the_same_call_writes_the_same_bytes(dataset: Path) -> None:
    contents = []
    for _ in range(2):
        inspect(InspectOptions(dataset=dataset), NoProgress())
        contents.append({path.name: path.read_bytes() for path in (dataset / "inspection").iterdir()})
    assert contents[0] == contents[1]


def test_the_sheet_may_go_elsewhere_and_be_short(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "s_02.png").write_bytes(b"page of an earlier, longer sheet")
    (tmp_path / "s_other.png").write_bytes(b"mine")
    summary = inspect(InspectOptions(dataset=dataset, sheet=tmp_path / "s.png", max_cases=2), NoProgress())
    assert summary.sheet_cases == 2
    assert sorted(path.name for path in tmp_path.glob("s[._]*")) == ["s.html", "s_01.png", "s_other.png"]
    assert not (dataset / "inspection").exists()


def test_flagged_cases_come_first(dataset: Path, tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "many", tuple(f"b{n}" for n in range(ROWS + 1)))
    source = tmp_path / "many" / "images"
    (source / "b8.nii.gz").write_bytes((source / "b3.nii.gz").read_bytes())
    rows[8]["patient_id"] = rows[3]["patient_id"]
    write_table(tmp_path / "many", rows)
    out = tmp_path / "set"
    ingest(IngestOptions(sources=(tmp_path / "many",), out=out), NoProgress())
    summary = inspect(InspectOptions(dataset=out), NoProgress())
    assert summary.pages == 2
    codes = {one.code for one in Inspection.read(out / INSPECTION).findings if one.case_id == "b8"}
    assert "near-duplicate" in codes


def test_changed_files_are_named_and_the_other_cases_are_drawn(dataset: Path) -> None:
    _damage(dataset)
    summary = inspect(InspectOptions(dataset=dataset), NoProgress())
    assert len(summary.damaged) == 1
    assert summary.damaged[0].startswith("a1: imagesTr/a1_0000.nii.gz is not the file the manifest describes")
    assert summary.sheet_cases == summary.cases - 1
    assert f"damaged: {summary.damaged[0]}" in summary.lines()
    report = Inspection.read(dataset / INSPECTION)
    assert [(one.case_id, one.severity) for one in report.findings if one.code == "unreadable"] == [
        ("a1", "refused")
    ]
    assert re.match("a1: ", summary.worst[0])
    for image in (dataset / "imagesTr").iterdir():
        image.write_bytes(b"junk")
    with pytest.raises(DataError, match="no case can be read, the first: a1"):
        inspect(InspectOptions(dataset=dataset), NoProgress())
    assert Inspection.read(dataset / INSPECTION).examined == 0


def test_strict_fails_on_what_is_severe_after_everything_is_written(dataset: Path) -> None:
    inspect(InspectOptions(dataset=dataset, strict=True), NoProgress())
    _damage(dataset)
    with pytest.raises(DataError, match="1 severe finding under --strict, the first: a1"):
        inspect(InspectOptions(dataset=dataset, strict=True), NoProgress())
    assert (dataset / "inspection" / "contact_sheet.html").is_file()
