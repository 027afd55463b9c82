"""Pairing NIfTI files by name: never by order, and never wrong in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medaug.core.errors import DataError, LabelError
from medaug.ingest.description import modality_of
from medaug.ingest.folders import pair_files
from medaug.ingest.sources import ClassId, Discovery
from tests.unit.ingest.material import ct_values, label_values, save


def _pair(folder: Path, *names: str, keep_ids: bool = False) -> Discovery:
    for name in names:
        values = (
            label_values(1)
            if any(w in name.lower() for w in ("label", "seg", "mask"))
            else ct_values(len(name))
        )
        save(folder / name, values)
    return pair_files(folder, sorted(folder.rglob("*.nii.gz")), 0, keep_ids=keep_ids)


def _pairs(found: Discovery) -> dict[str, str]:
    """Image file name to label file name."""
    return {c.images[0].files[0].name: c.label.files[0].name if c.label else "" for c in found.cases}


def test_image_and_label_folders(tmp_path: Path) -> None:
    found = _pair(tmp_path, "images/x.nii.gz", "images/y.nii.gz", "labels/y.nii.gz", "labels/z.nii.gz")
    assert _pairs(found) == {"x.nii.gz": "", "y.nii.gz": "y.nii.gz"}
    assert [(s.code, s.severity, [p.name for p in s.files]) for s in found.strays] == [
        ("image-missing", "refused", ["z.nii.gz"])
    ]
    assert "z" not in found.strays[0].message.split()


def test_suffixes_beside_the_image(tmp_path: Path) -> None:
    found = _pair(
        tmp_path, "a.nii.gz", "a_seg.nii.gz", "b.nii.gz", "b-mask.nii.gz", "c_image.nii.gz", "c_label.nii.gz"
    )
    assert _pairs(found) == {
        "a.nii.gz": "a_seg.nii.gz",
        "b.nii.gz": "b-mask.nii.gz",
        "c_image.nii.gz": "c_label.nii.gz",
    }


def test_training_and_test_folders_do_not_mix(tmp_path: Path) -> None:
    found = _pair(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTs/a_0000.nii.gz", "labelsTr/a.nii.gz")
    assert sorted(c.label is not None for c in found.cases) == [False, True]


def test_numbered_channels_are_joined_and_numbered_cases_are_not(tmp_path: Path) -> None:
    two = _pair(tmp_path / "n", "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    (case,) = two.cases
    assert [image.channel for image in case.images] == ["channel_0", "channel_1"]
    plain = _pair(
        tmp_path / "p", "images/case_0000.nii.gz", "images/case_0001.nii.gz", "labels/case_0001.nii.gz"
    )
    assert _pairs(plain) == {"case_0000.nii.gz": "", "case_0001.nii.gz": "case_0001.nii.gz"}


def test_two_labels_or_two_images_of_one_case_are_refused(tmp_path: Path) -> None:
    found = _pair(tmp_path / "l", "a.nii.gz", "a_seg.nii.gz", "a_mask.nii.gz")
    assert "several label files" in found.cases[0].problem
    found = _pair(tmp_path / "i", "images/a.nii.gz", "images/a_img.nii.gz", "labels/a.nii.gz")
    assert "several image files" in found.cases[0].problem


def test_a_folder_a_patient_is_one_patient(tmp_path: Path) -> None:
    found = _pair(tmp_path, "p1/t1.nii.gz", "p1/t2.nii.gz", "p1/t1_seg.nii.gz", "p2/t1.nii.gz")
    assert [c.patient_key for c in found.cases] == ["p1", "p1", "p2"]
    assert _pairs(found)["t2.nii.gz"] == ""


def test_file_names_are_ids_only_on_demand(tmp_path: Path) -> None:
    assert not _pair(tmp_path, "images/a.nii.gz").cases[0].ids_are_pseudonyms
    kept = _pair(tmp_path, keep_ids=True).cases[0]
    assert (kept.ids_are_pseudonyms, kept.case_key) == (True, "a")


def test_dataset_json_of_nnunet_names_channels_and_classes(tmp_path: Path) -> None:
    described = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "solid": 1, "gg": 2},
        "licence": "CC0",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    (case,) = _pair(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz").cases
    assert case.classes == (ClassId(1, "solid"), ClassId(2, "gg"))
    assert (case.stated.modality, case.stated.licence, case.images[0].channel) == ("CT", "CC0", "CT")


def test_dataset_json_of_the_decathlon(tmp_path: Path) -> None:
    described = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    (case,) = _pair(tmp_path, "imagesTr/h_001.nii.gz", "labelsTr/h_001.nii.gz").cases
    assert case.classes == (ClassId(1, "Anterior"), ClassId(2, "Posterior"))
    assert (case.stated.modality, case.images[0].channel, case.problem) == ("MR", "MR", "")


def test_channels_of_the_decathlon_are_the_fourth_axis_and_those_of_nnunet_are_files(tmp_path: Path) -> None:
    described = {"modality": {"0": "FLAIR", "1": "T1w"}, "labels": {"0": "background", "1": "tumour"}}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    (case,) = _pair(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz").cases
    assert (case.channels, case.images[0].frames, case.problem) == (("FLAIR", "T1w"), ("FLAIR", "T1w"), "")
    renamed = {"channel_names": described["modality"], "labels": {"background": 0, "tumour": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(renamed))
    (case,) = _pair(tmp_path).cases
    assert "1 channel; expected 2" in case.problem


def test_lost_training_cases_are_told(tmp_path: Path) -> None:
    described = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1}, "numTraining": 2}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    (stray,) = _pair(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz").strays
    assert (stray.code, stray.severity) == ("description-differs", "flagged")
    assert "2 training cases; 1 labelled case found" in stray.message
    assert not _pair(tmp_path, "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz").strays


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": {}, "channel_names": {"first": "CT"}}'])
def test_a_damaged_dataset_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        _pair(tmp_path, "imagesTr/a_0000.nii.gz")


def test_a_missing_channel_and_regions_are_refused(tmp_path: Path) -> None:
    described = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "x": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    (case,) = _pair(tmp_path, "imagesTr/a_0000.nii.gz").cases
    assert "1 channel; expected 2" in case.problem
    (tmp_path / "dataset.json").write_text(json.dumps(described | {"labels": {"whole": [1, 2]}}))
    with pytest.raises(LabelError, match="regions"):
        _pair(tmp_path)


def test_channel_names_tell_the_modality() -> None:
    assert modality_of(["CT"]) == "CT"
    assert modality_of(["FLAIR", "T1w", "t2"]) == "MR"
    assert modality_of(["CT", "PET"]) is None
    assert modality_of(["image"]) is None
    assert modality_of([""]) is None
