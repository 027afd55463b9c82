"""Folders that medaug wrote: their manifest is believed, and held against the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medaug.core.case import MANIFEST, FindingsFile, Manifest, Origin, read_manifest
from medaug.core.errors import DataError
from medaug.core.runs import NoProgress
from medaug.core.volume import Unit
from medaug.ingest.described import is_described, read_described
from medaug.ingest.sources import ClassId
from medaug.workflows.ingest import IngestOptions, IngestSummary, ingest
from tests.unit.ingest.material import mr_values, save
from tests.unit.privacy.synthetic_set import make_set


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_set(tmp_path).dataset


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _change(dataset: Path, **facts: object) -> Manifest:
    manifest = read_manifest(dataset)
    first = manifest.cases[0].model_copy(update=facts)
    changed = manifest.model_copy(update={"cases": (first, *manifest.cases[1:])})
    changed.write(dataset / MANIFEST)
    return changed


def _ingest(dataset: Path, **more: object) -> IngestSummary:
    out = dataset.with_name("out")
    return ingest(IngestOptions.model_validate({"sources": (dataset,), "out": out, **more}), NoProgress())


def _codes(dataset: Path) -> dict[str | None, str]:
    findings = FindingsFile.read(dataset.with_name("out") / "findings.json").findings
    return {f.case_id: f.code for f in findings if f.severity == "refused"}


def test_everything_the_manifest_says_is_stated(dataset: Path) -> None:
    _change(dataset, split="test", spacing="nominal", terms="Ask first.", attributes={"sex": "F"})
    assert is_described(dataset)
    found = read_described(dataset, _files(dataset), 0)
    case = found.cases[0]
    assert (case.case_key, case.patient_key, case.ids_are_pseudonyms) == ("syn_0", "p0", True)
    assert case.classes == (ClassId(1, "solid"), ClassId(2, "ground_glass"))
    stated = case.stated
    assert (stated.unit, stated.origin, stated.modality) == (Unit.HU, Origin.SYNTHETIC, "CT")
    assert (stated.split, stated.spacing, stated.terms) == ("test", "nominal", "Ask first.")
    assert case.characteristics == (("sex", "F"),)
    assert case.recipe is not None
    assert case.recipe.donor_patient_ids == ("p7",)
    assert case.edit_mask is not None
    assert len(case.files) == 3
    assert not found.strays


def test_synthetic_stays_synthetic_whatever_the_command_line_leaves_out(dataset: Path) -> None:
    _ingest(dataset)
    assert {record.origin for record in read_manifest(dataset.with_name("out")).cases} == {Origin.SYNTHETIC}


@pytest.mark.parametrize(
    "name", ["imagesTr/syn_0_0000.nii.gz", "labelsTr/syn_0.nii.gz", "edits/syn_0.nii.gz"]
)
def test_a_changed_file_refuses_its_case(dataset: Path, name: str) -> None:
    other = "imagesTr/syn_1_0000.nii.gz" if "images" in name else "labelsTr/syn_1.nii.gz"
    (dataset / name).write_bytes((dataset / other).read_bytes())
    assert _ingest(dataset).cases == 1
    assert _codes(dataset) == {"syn_0": "file-changed"}


def test_a_lost_file_refuses_its_case(dataset: Path) -> None:
    (dataset / "labelsTr" / "syn_0.nii.gz").unlink()
    assert _ingest(dataset).cases == 1
    assert _codes(dataset) == {"syn_0": "file-changed"}


def test_files_that_the_manifest_does_not_list_are_told(dataset: Path) -> None:
    added = save(dataset / "imagesTr" / "anna_0000.nii.gz", mr_values(1))
    (stray,) = read_described(dataset, _files(dataset), 0).strays
    assert (stray.code, stray.severity, stray.files) == ("description-differs", "flagged", (added,))
    assert "anna" not in stray.message


@pytest.mark.parametrize("path", ["../outside.nii.gz", "/tmp/x.nii.gz", "a\\b.nii.gz"])
def test_a_manifest_names_nothing_outside_its_folder(dataset: Path, path: str) -> None:
    stored = read_manifest(dataset).cases[0].images[0].model_copy(update={"path": path})
    _change(dataset, images=(stored,))
    with pytest.raises(DataError, match="outside its folder"):
        read_described(dataset, _files(dataset), 0)


def test_a_manifest_with_other_files_than_channels_is_refused(dataset: Path) -> None:
    stored = read_manifest(dataset).cases[0].images
    _change(dataset, images=stored * 2, channels=("a", "b", "c"))
    with pytest.raises(DataError, match="2 image files for 3 channels"):
        _ingest(dataset)


@pytest.mark.parametrize("text", ["{", '{"schema_version": 99, "classes": [], "cases": []}'])
def test_a_damaged_manifest_is_refused(dataset: Path, text: str) -> None:
    (dataset / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        _ingest(dataset)


def test_damaged_recipes_are_refused(dataset: Path) -> None:
    (dataset / "recipes.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"recipes\.jsonl line 1"):
        _ingest(dataset)


def test_manifests_of_other_tools_and_of_dicom_say_nothing(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"files": []}))
    assert not is_described(tmp_path)
    assert not is_described(tmp_path / "nowhere")
    _change(dataset, images=())
    assert not is_described(dataset)


def test_a_dataset_below_a_source_keeps_its_manifest(dataset: Path) -> None:
    source = dataset.with_name("all")
    source.mkdir()
    dataset.rename(source / "first")
    save(source / "other" / "b.nii.gz", mr_values(1))
    summary = ingest(
        IngestOptions(sources=(source,), out=dataset.with_name("out"), modality="CT"), NoProgress()
    )
    assert (summary.cases, summary.labelled) == (3, 2)
    ids = {record.case_id for record in read_manifest(dataset.with_name("out")).cases}
    assert ids == {"syn_0", "syn_1", "case_0001"}
