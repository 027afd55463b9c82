"""Pairing NIfTI files by name: never by order, and never wrong in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medaug.core.errors import DataError, LabelError
from medaug.ingest.description import modality_of
from medaug.ingest.folders import pair_files
from medaug.ingest.sources import ClassId, Discovery
from medaug.io.formats import kind_of
from tests.unit.ingest.material import ct_values, label_values, save
from tests.unit.io import test_metaimage, test_nrrd
from tests.unit.io.test_images import slicer


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


def _pictures(folder: Path, *names: str, values: dict[str, np.ndarray] | None = None) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = (values or {}).get(name, np.full((4, 5), number, np.uint8))
        Image.fromarray(pixels).save(folder / name)


def _found(folder: Path, *, beside_images: bool = False) -> Discovery:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return pair_files(folder, files, 0, beside_images=beside_images)


def _masks(found: Discovery) -> dict[str, list[str]]:
    return {
        c.images[0].files[0].name: [p.name for p in c.label.files] if c.label else [] for c in found.cases
    }


def test_pictures_have_one_mask_or_several(tmp_path: Path) -> None:
    _pictures(
        tmp_path,
        *("benign/benign (1).png", "benign/benign (1)_mask.png", "benign/benign (1)_mask_1.png"),
        *("benign/benign (2).png", "normal/normal (1).png", "a.bmp", "a_mask1.png", "a_mask2.png"),
    )
    found = _found(tmp_path)
    assert _masks(found) == {
        "benign (1).png": ["benign (1)_mask.png", "benign (1)_mask_1.png"],
        "benign (2).png": [],
        "normal (1).png": [],
        "a.bmp": ["a_mask1.png", "a_mask2.png"],
    }
    # folders that sort by diagnosis are no patients
    assert len({case.patient_key for case in found.cases}) == 4
    assert [case.problem for case in found.cases] == [""] * 4


def test_masks_of_two_kinds_are_not_merged(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "a_mask.png", "a_seg.png")
    (case,) = _found(tmp_path).cases
    assert "several label files" in case.problem


def test_masks_lie_in_a_folder_an_image_or_a_folder_a_class(tmp_path: Path) -> None:
    _pictures(tmp_path / "i", "images/x.png", "masks/x/1.png", "masks/x/2.png", "images/y.png")
    assert _masks(_found(tmp_path / "i")) == {"x.png": ["1.png", "2.png"], "y.png": []}
    _pictures(
        tmp_path / "c",
        "images/x.png",
        "masks/core/x.png",
        "masks/edge/x.png",
        "images/y.png",
        "masks/edge/y.png",
    )
    found = _found(tmp_path / "c")
    assert [c.label.names for c in found.cases if c.label] == [("core", "edge"), ("edge",)]
    assert {c.classes for c in found.cases} == {(ClassId(1, "core"), ClassId(2, "edge"))}
    _pictures(tmp_path / "s", "x.png", "masks/x.png", "deep/x.png", "deep/masks/x.png")
    assert all(c.label is not None for c in _found(tmp_path / "s").cases)
    assert _found(tmp_path / "s").strays == ()


def test_folders_of_the_same_name_pair_before_classes_do(tmp_path: Path) -> None:
    _pictures(tmp_path, "images/benign/x.png", "masks/benign/x.png", "images/other/x.png")
    found = _found(tmp_path)
    assert [bool(c.label) for c in found.cases] == [True, False]
    assert [c.label.names for c in found.cases if c.label] == [()]


def test_pictures_beside_volumes_are_cases_only_with_a_mask(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png", "b_mask.png", "c_seg.png")
    save(tmp_path / "a.nii.gz", ct_values(1))
    found = _found(tmp_path)
    assert sorted(c.images[0].files[0].name for c in found.cases) == ["a.nii.gz", "b.png"]
    (stray,) = found.strays
    assert (stray.code, stray.severity, len(stray.files)) == ("not-an-image", "flagged", 2)
    (tmp_path / "a.nii.gz").unlink()
    assert len(_found(tmp_path).cases) == 2
    assert len(_found(tmp_path, beside_images=True).cases) == 1


def test_volumes_of_other_formats_pair_across_formats(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz", ct_values(1))
    test_nrrd.write(tmp_path / "a_seg.nrrd")
    test_metaimage.write(tmp_path / "b.mhd", b"", ElementDataFile="b.raw")
    (tmp_path / "b.raw").write_bytes(test_metaimage.RAW)
    files = [path for path in sorted(tmp_path.iterdir()) if kind_of(path)]
    found = pair_files(tmp_path, files, 0)
    assert [[p.name for p in c.files] for c in found.cases] == [
        ["a.nii.gz", "a_seg.nrrd"],
        ["b.mhd", "b.raw"],
    ]
    assert [c.images[0].kind for c in found.cases] == ["nifti", "metaimage"]


def test_slicer_segmentations_declare_their_segments(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz", ct_values(1))
    layers = np.zeros((2, 2, 3, 2), np.int16)
    slicer(tmp_path / "a.seg.nrrd", layers)
    (case,) = pair_files(tmp_path, sorted(tmp_path.iterdir()), 0).cases
    assert case.label is not None
    assert [d.name for d in case.label.drawings[0].declared] == ["core", "edge", "whole"]
    damaged = (tmp_path / "a.seg.nrrd").read_bytes().replace(b"Layer:=1", b"Layer:=x")
    (tmp_path / "a.seg.nrrd").write_bytes(damaged)
    (case,) = pair_files(tmp_path, sorted(tmp_path.iterdir()), 0).cases
    assert "whole number" in case.problem


def test_colour_channels_of_nnunet_are_one_picture(tmp_path: Path) -> None:
    _pictures(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    description = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "road": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    files = [path for path in sorted(tmp_path.rglob("*")) if kind_of(path)]
    (case,) = pair_files(tmp_path, files, 0).cases
    assert (case.problem, case.images[0].channel) == ("", "")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("P{}/image", "P{}/label"),
        ("P{}/CT", "P{}/Mask"),
        ("P{}/scan", "P{}/ground_truth"),
        ("image_{}", "mask_{}"),
        ("volume-{}", "segmentation-{}"),
        ("{}", "seg_{}"),
        ("imgs/{}", "gt/{}"),
        ("images/image_{}", "masks/mask_{}"),
    ],
)
def test_labels_whose_name_begins_with_or_is_what_they_are(tmp_path: Path, image: str, label: str) -> None:
    names = [f"{name.format(number)}.nii.gz" for number in (1, 2) for name in (image, label)]
    found = _pair(tmp_path, *names)
    pairs = {str(c.images[0].files[0].relative_to(tmp_path)): c.label for c in found.cases}
    assert {one: str(two.files[0].relative_to(tmp_path)) for one, two in pairs.items() if two} == {
        names[0]: names[1],
        names[2]: names[3],
    }
    assert len({c.patient_key for c in found.cases}) == 2
    assert found.strays == ()


@pytest.mark.parametrize("names", [("T1", "FLAIR", "seg"), ("image_1", "1", "mask_1"), ("a", "mask_b")])
def test_a_label_is_never_an_image_and_none_is_guessed(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = _pair(tmp_path, *(f"{name}.nii.gz" for name in names))
    assert sorted(_pairs(found)) == sorted(f"{name}.nii.gz" for name in names[:-1])
    assert {c.label for c in found.cases} == {None}
    assert [s.code for s in found.strays] == ["image-missing"]
