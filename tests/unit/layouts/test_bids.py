"""BIDS derivatives: names that the specification takes, and everything it has no word for beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medaug.core.case import CaseRecord, Manifest, Origin, StoredFile
from medaug.core.runs import NoProgress
from medaug.core.volume import Unit
from medaug.layouts.base import Export
from medaug.layouts.bids import BidsLayout, make_labels
from tests.unit.privacy.synthetic_set import make_set


def _write(folder: Path, channels: tuple[str, ...], **facts: object) -> tuple[Path, Manifest]:
    unit = Unit.HU if channels == ("CT",) else Unit.ARBITRARY
    material = make_set(folder, unit=unit, channels=channels)
    cases = tuple(record.model_copy(update=facts) for record in material.manifest.cases)
    manifest = material.manifest.model_copy(update={"cases": cases})
    return folder / "out", BidsLayout().write(
        Export(material.dataset, manifest, folder / "out", b""), NoProgress()
    )


def _paths(record: CaseRecord) -> list[str]:
    return [stored.path for stored in (*record.images, record.label) if isinstance(stored, StoredFile)]


def test_files_at_the_top(tmp_path: Path) -> None:
    out, _ = _write(tmp_path, ("FLAIR", "T1"))
    description = json.loads((out / "dataset_description.json").read_text())
    assert (description["DatasetType"], description["License"]) == ("derivative", "CC-BY-4.0")
    assert description["GeneratedBy"][0]["Name"] == "medaug"
    assert description["SourceDatasets"]
    assert (out / "participants.tsv").read_text() == "participant_id\tpatient_id\nsub-p0\tp0\nsub-p1\tp1\n"
    table = "index\tname\n0\tbackground\n1\tsolid\n2\tground_glass\n"
    assert (out / "desc-lesion_dseg.tsv").read_text() == table
    ignored = (out / ".bidsignore").read_text().splitlines()
    assert {"manifest.json", "edits", "ct"} <= set(ignored)


def test_known_channels_have_suffixes_and_sidecars(tmp_path: Path) -> None:
    out, written = _write(tmp_path, ("FLAIR", "T1ce"), split="test", terms="Ask first.")
    assert _paths(written.cases[0]) == [
        "sub-p0/anat/sub-p0_desc-synthetic_FLAIR.nii.gz",
        "sub-p0/anat/sub-p0_ce-contrast_desc-synthetic_T1w.nii.gz",
        "sub-p0/anat/sub-p0_desc-lesion_dseg.nii.gz",
    ]
    facts = json.loads((out / "sub-p0/anat/sub-p0_desc-synthetic_FLAIR.json").read_text())
    assert facts == {
        "CaseId": "syn_0",
        "PatientPseudonym": "p0",
        "Channel": "FLAIR",
        "ModalityCode": "MR",
        "Units": "a.u.",
        "Spacing": "known",
        "Origin": "synthetic",
        "LesionFree": False,
        "Split": "test",
        "License": "CC-BY-4.0",
        "Terms": "Ask first.",
        "SkullStripped": False,
    }


@pytest.mark.parametrize(
    ("channels", "paths"),
    [
        (("CT",), ["sub-p0/ct/sub-p0_ct.nii.gz", "sub-p0/ct/sub-p0_desc-lesion_dseg.nii.gz"]),
        (
            ("T1", "t1w"),
            [
                "sub-p0/anat/sub-p0_acq-c0_T1w.nii.gz",
                "sub-p0/anat/sub-p0_acq-c1_T1w.nii.gz",
                "sub-p0/anat/sub-p0_desc-lesion_dseg.nii.gz",
            ],
        ),
        (
            ("ADC map", "ü"),
            [
                "sub-p0/img/sub-p0_adcmap.nii.gz",
                "sub-p0/img/sub-p0_image.nii.gz",
                "sub-p0/img/sub-p0_desc-lesion_dseg.nii.gz",
            ],
        ),
    ],
)
def test_other_channels(tmp_path: Path, channels: tuple[str, ...], paths: list[str]) -> None:
    _, written = _write(tmp_path, channels, origin=Origin.REAL)
    assert _paths(written.cases[0]) == paths


def test_cases_of_one_patient_are_sessions(tmp_path: Path) -> None:
    _, written = _write(tmp_path, ("FLAIR",), patient_id="p_0")
    assert [_paths(record)[1] for record in written.cases] == [
        "sub-p0/ses-syn0/anat/sub-p0_ses-syn0_desc-lesion_dseg.nii.gz",
        "sub-p0/ses-syn1/anat/sub-p0_ses-syn1_desc-lesion_dseg.nii.gz",
    ]


def test_labels_stay_apart_in_any_case_of_letters() -> None:
    labels = make_labels(["p_1", "p-1", "P1", "p1x2"])
    assert labels == {"p_1": "p1", "p-1": "p1x2", "P1": "P1x3", "p1x2": "p1x2x2"}
