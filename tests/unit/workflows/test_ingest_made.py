"""Synthetic sets that come in again are never scans: what was exported, a part of it, what lost its manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medaug.core.case import CaseRecord, FindingsFile, Origin, read_manifest
from medaug.core.runs import NoProgress
from medaug.workflows.convert import ConvertOptions, convert
from medaug.workflows.ingest import IngestOptions, ingest
from tests.unit.privacy.synthetic_set import Material, make_real, make_set

PART = {"nnunet": "imagesTr", "msd": "imagesTr", "nifti": "images", "bids": "sub-p0"}


def _ingest(source: Path, out: Path, **settings: object) -> tuple[CaseRecord, ...]:
    asked = {"sources": (source,), "out": out} | settings
    ingest(IngestOptions.model_validate(asked), NoProgress())
    return read_manifest(out).cases


def _exported(material: Material, form: str, out: Path) -> Path:
    convert(
        ConvertOptions.model_validate({"dataset": material.dataset, "to": form, "out": out}), NoProgress()
    )
    return out


def _told(cases: tuple[CaseRecord, ...]) -> set[tuple[Origin, bool]]:
    """Origins, and whether the case is flagged."""
    return {(record.origin, "synthetic-data" in record.findings) for record in cases}


def _odd(dataset: Path) -> set[str]:
    """Codes of findings, but for how few cases these are."""
    found = FindingsFile.read(dataset / "findings.json").findings
    return {finding.code for finding in found} - {"single-lesion-class"}


@pytest.mark.parametrize("form", list(PART))
def test_an_export_stays_synthetic_in_whole_in_part_and_without_its_manifest(
    tmp_path: Path, form: str
) -> None:
    folder = _exported(make_set(tmp_path), form, tmp_path / "export")
    assert _told(_ingest(folder, tmp_path / "whole")) == {(Origin.SYNTHETIC, False)}
    part = folder / PART[form]
    assert _told(_ingest(part, tmp_path / "part")) == {(Origin.REAL, True)}
    assert _told(_ingest(part, tmp_path / "said", origin="synthetic")) == {(Origin.SYNTHETIC, False)}
    assert _told(_ingest(part, tmp_path / "real", origin="real")) == {(Origin.REAL, False)}
    # what was flagged stays flagged on the next round, and what somebody said stays said
    assert _told(_ingest(tmp_path / "part", tmp_path / "part_2")) == {(Origin.REAL, True)}
    assert _told(_ingest(tmp_path / "real", tmp_path / "real_2")) == {(Origin.REAL, False)}
    (folder / "manifest.json").unlink()
    assert _told(_ingest(folder, tmp_path / "bare")) <= {(Origin.REAL, True), (Origin.SYNTHETIC, False)}


@pytest.mark.parametrize("make", [make_set, make_real])
def test_dicom_is_named_whole_or_in_part(tmp_path: Path, make: Callable[[Path], Material]) -> None:
    material = make(tmp_path)
    (origin,) = {record.origin for record in material.manifest.cases}
    asked = {
        "dataset": material.dataset,
        "to": "dicom",
        "out": tmp_path / "out",
        "key_file": tmp_path / "key",
    }
    convert(ConvertOptions.model_validate(asked), NoProgress())
    whole = _ingest(tmp_path / "out", tmp_path / "whole")
    # edit masks are no images, texts of medaug no strangers
    assert (len(whole), _told(whole)) == (2, {(origin, False)})
    assert _odd(tmp_path / "whole") == set()
    part = _ingest(tmp_path / "out" / "dicom", tmp_path / "part")
    assert _told(part) == {(Origin.REAL, origin is Origin.SYNTHETIC)}
    (tmp_path / "out" / "added.nii.gz").write_bytes(
        (material.dataset / material.manifest.cases[0].images[0].path).read_bytes()
    )
    assert len(_ingest(tmp_path / "out", tmp_path / "more")) == 2
    assert _odd(tmp_path / "more") == {"description-differs"}


@pytest.mark.parametrize("form", ["nnunet", "msd"])
def test_the_description_alone_tells_too(tmp_path: Path, form: str) -> None:
    folder = _exported(make_set(tmp_path), form, tmp_path / "export")
    for name in ("manifest.json", "recipes.jsonl", "findings.json", "run.json", "log.jsonl"):
        (folder / name).unlink(missing_ok=True)
    assert _told(_ingest(folder, tmp_path / "back")) == {(Origin.REAL, True)}


@pytest.mark.parametrize("form", list(PART))
def test_scans_are_not_called_synthetic(tmp_path: Path, form: str) -> None:
    folder = _exported(make_real(tmp_path), form, tmp_path / "export")
    assert "origin" not in (folder / "dataset.json").read_text() if form in ("nnunet", "msd") else True
    for number, source in enumerate((folder, folder / PART[form])):
        assert _told(_ingest(source, tmp_path / f"back_{number}")) == {(Origin.REAL, False)}
