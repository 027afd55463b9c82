"""Reading BIDS: what is an image, what is its label, who is a patient; nothing is taken that is not meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import Origin
from medaug.core.errors import DataError
from medaug.ingest.bids import is_bids, read_bids
from medaug.ingest.sources import Attribute, ClassId, Discovery, SourceCase
from tests.unit.ingest.material import label_values, mr_values, save

OTHER_GRID = np.diag([2.0, 2.0, 2.0, 1.0])


def _read(folder: Path, *names: str, keep_ids: bool = False, other: tuple[str, ...] = ()) -> Discovery:
    """Write these files, those of ``other`` on another grid, and read the folder."""
    for n, name in enumerate((*names, *other)):
        values = label_values(1) if name.endswith(("_dseg", "_mask", "_roi")) else mr_values(n)
        affine = OTHER_GRID if name in other else np.diag([-0.7, -0.8, 2.0, 1.0])
        save(folder / f"{name}.nii.gz", values, affine)
    if not is_bids(folder):
        _describe(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return read_bids(folder, files, 0, keep_ids=keep_ids)


def _describe(folder: Path, **more: object) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": "x", "BIDSVersion": "1.10.0", **more})
    )


def _label(case: SourceCase) -> str:
    return case.label.files[0].name if case.label is not None else ""


def test_suffixes_of_a_session_are_channels_and_sessions_are_studies_of_one_patient(tmp_path: Path) -> None:
    _describe(tmp_path, License="CC0")
    found = _read(
        tmp_path,
        "sub-01/ses-a/anat/sub-01_ses-a_T1w",
        "sub-01/ses-a/anat/sub-01_ses-a_FLAIR",
        "sub-01/ses-b/anat/sub-01_ses-b_T1w",
        "sub-02/anat/sub-02_T1w",
    )
    assert [case.channels for case in found.cases] == [("FLAIR", "T1w"), ("T1w",), ("T1w",)]
    assert [case.patient_key for case in found.cases] == ["sub-01", "sub-01", "sub-02"]
    assert [case.case_key for case in found.cases] == ["sub-01_ses-a", "sub-01_ses-b", "sub-02"]
    assert not any(case.ids_are_pseudonyms for case in found.cases)
    assert {case.stated.licence for case in found.cases} == {"CC0"}
    assert not found.strays


def test_other_grids_and_further_runs_are_cases_of_their_own(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        "sub-01/anat/sub-01_run-1_T1w",
        "sub-01/anat/sub-01_run-2_T1w",
        "sub-01/anat/sub-01_run-2_desc-lesion_mask",
        "sub-01/anat/sub-01_FLAIR",
        other=("sub-01/anat/sub-01_T2w", "sub-01/anat/sub-01_space-T2w_roi"),
    )
    pairs = [(case.channels, _label(case)) for case in found.cases]
    assert pairs == [
        (("FLAIR", "T1w"), ""),
        (("T1w",), "sub-01_run-2_desc-lesion_mask.nii.gz"),
        (("T2w",), "sub-01_space-T2w_roi.nii.gz"),
    ]
    assert [case.case_key for case in found.cases] == ["sub-01_part-1", "sub-01_part-2", "sub-01_part-3"]


def test_equal_suffixes_are_told_apart(tmp_path: Path) -> None:
    (case,) = _read(tmp_path, "sub-1/anat/sub-1_T1w", "sub-1/anat/sub-1_ce-gad_T1w").cases
    assert case.channels == ("T1w", "ce-gad_T1w")


def test_channels_have_one_order_whatever_else_is_in_the_names(tmp_path: Path) -> None:
    names = ["sub-1/anat/sub-1_T1w", "sub-1/anat/sub-1_FLAIR", "sub-2/anat/sub-2_T1w"]
    found = _read(tmp_path, *names, "sub-2/anat/sub-2_acq-3d_FLAIR")
    assert [case.channels for case in found.cases] == [("FLAIR", "T1w")] * 2


def test_participants_are_pseudonyms_and_their_columns_private(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsex\nsub-01\t51\tn/a\nsub-09\t40\tF\n", encoding="utf-8"
    )
    found = _read(tmp_path, "sub-01/anat/sub-01_T1w", "sub-02/anat/sub-02_T1w")
    assert [case.ids_are_pseudonyms for case in found.cases] == [True, False]
    assert found.cases[0].attributes == (Attribute("age", "51"),)
    assert [case.characteristics for case in found.cases] == [(("age", "50-59"),), ()]
    (stray,) = found.strays
    assert (stray.code, stray.severity) == ("description-differs", "flagged")
    assert stray.message == "participants.tsv lists 1 participant without an image, and lacks 1"
    kept = _read(tmp_path, keep_ids=True)
    assert all(case.ids_are_pseudonyms for case in kept.cases)


def test_masks_come_from_derivatives_and_are_named_by_the_table_that_applies(tmp_path: Path) -> None:
    derived = tmp_path / "derivatives" / "expert"
    derived.mkdir(parents=True)
    (derived / "dseg.tsv").write_text("index\tname\n0\tbackground\n1\twrong\n")
    (derived / "desc-lesion_dseg.tsv").write_text("index\tname\n0\tbackground\n1\tcore\n2\tedema\n")
    found = _read(
        tmp_path,
        "sub-01/anat/sub-01_T1w",
        "derivatives/expert/sub-01/anat/sub-01_desc-lesion_dseg",
        "derivatives/expert/sub-01/anat/sub-01_desc-brain_mask",
        "derivatives/prep/sub-01/anat/sub-01_desc-preproc_T1w",
    )
    (case,) = found.cases
    assert _label(case) == "sub-01_desc-lesion_dseg.nii.gz"
    assert case.classes == (ClassId(1, "core"), ClassId(2, "edema"))
    (stray,) = found.strays
    assert (stray.code, stray.severity, len(stray.files)) == ("not-an-image", "flagged", 2)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("label-lesion_roi", (ClassId(1, "lesion"),)),
        ("label-L_desc-T1lesion_mask", (ClassId(1, "lesion"),)),
        ("label-tumour_mask", (ClassId(1, "tumour"),)),
        ("mask", (ClassId(1, "lesion"),)),
        ("dseg", ()),
    ],
)
def test_masks_without_a_table(tmp_path: Path, name: str, classes: tuple[ClassId, ...]) -> None:
    (case,) = _read(tmp_path, "sub-1/anat/sub-1_T1w", f"sub-1/anat/sub-1_{name}").cases
    assert case.label is not None
    assert case.classes == classes


def test_a_lesion_goes_before_other_masks_and_two_lesions_are_refused(tmp_path: Path) -> None:
    names = ["sub-1/anat/sub-1_T1w", "sub-1/anat/sub-1_desc-aparc_dseg", "sub-1/anat/sub-1_label-lesion_mask"]
    (case,) = _read(tmp_path, *names).cases
    assert _label(case) == "sub-1_label-lesion_mask.nii.gz"
    (case,) = _read(tmp_path, "sub-1/anat/sub-1_label-lesion_desc-second_mask").cases
    assert "several label files" in case.problem
    assert case.label is None


def test_functional_images_source_data_and_foreign_names_are_left_out(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        "sub-1/anat/sub-1_T1w",
        "sub-1/anat/sub-1_label-GM_probseg",
        "sub-1/func/sub-1_task-rest_bold",
        "sub-1/anat/scan",
        "sourcedata/sub-1/anat/sub-1_T1w",
    )
    assert [case.channels for case in found.cases] == [("T1w",)]
    (stray,) = found.strays
    assert sorted(path.name for path in stray.files) == [
        "scan.nii.gz",
        "sub-1_label-GM_probseg.nii.gz",
        "sub-1_task-rest_bold.nii.gz",
    ]
    assert "sub-1" not in stray.message


def test_a_mask_without_image_is_a_stray(tmp_path: Path) -> None:
    found = _read(tmp_path, "sub-1/anat/sub-1_T1w", "sub-2/anat/sub-2_dseg")
    assert [(s.code, s.severity) for s in found.strays] == [("image-missing", "refused")]


def test_ct_and_synthetic_images_say_so(tmp_path: Path) -> None:
    (case,) = _read(tmp_path, "sub-1/ct/sub-1_desc-synthetic_ct").cases
    assert (case.stated.modality, case.stated.origin, case.channels) == ("CT", Origin.SYNTHETIC, ("CT",))


def test_changed_copies_say_so(tmp_path: Path) -> None:
    (case,) = _read(tmp_path, "sub-1/anat/sub-1_desc-augmented_T1w").cases
    assert case.stated.origin is Origin.AUGMENTED


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("dataset_description.json", "{", "not valid JSON"),
        ("dataset_description.json", "[]", "describes nothing"),
        ("participants.tsv", "name\nAnna\n", "no column participant_id"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    _describe(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        _read(tmp_path, "sub-1/anat/sub-1_T1w")


@pytest.mark.parametrize("text", ["index\tlabel\n1\tx\n", "index\tname\none\tx\n", "index\tname\n1\t\n"])
def test_a_damaged_lookup_table_refuses_its_cases_only(tmp_path: Path, text: str) -> None:
    (tmp_path / "sub-1").mkdir()
    (tmp_path / "sub-1" / "sub-1_dseg.tsv").write_text(text)
    names = [f"sub-{n}/anat/sub-{n}_{suffix}" for n in (1, 2) for suffix in ("T1w", "dseg")]
    first, second = _read(tmp_path, *names).cases
    assert "dseg.tsv" in first.problem
    assert (second.problem, second.classes) == ("", ())
