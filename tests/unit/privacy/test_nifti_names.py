"""Names of files and folders become pseudonyms that keep what an image is, and who belongs together, and nothing of whom."""

import os
import re
from pathlib import PurePosixPath

import pytest

from medaug.privacy._deidentify.secret import Secret
from medaug.privacy.nifti_names import ImageNames, split_name

NAMES, OTHER = ImageNames(Secret.of(b"k" * 32)), ImageNames(Secret.of(b"o" * 32))
BIDS = "sub-Kowalczyk/ses-20200301/anat/sub-Kowalczyk_ses-20200301_acq-Bronislawa_run-2_T1w.nii.gz"
ID = "[0-9A-F]{24}"


def _name(path: str, names: ImageNames = NAMES) -> str:
    return names.path(PurePosixPath(path))


def test_words_of_bids_stay_and_labels_become_pseudonyms() -> None:
    name = _name(BIDS)
    assert re.fullmatch(rf"sub-({ID})/ses-({ID})/anat/sub-\1_ses-\2_acq-{ID}_run-2_T1w\.nii\.gz", name)
    sidecar = _name(BIDS.replace("nii.gz", "json"))
    assert sidecar == name.replace("nii.gz", "json")
    assert _name(BIDS, OTHER).count("-") == name.count("-")
    assert not set(re.findall(ID, name)) & set(re.findall(ID, _name(BIDS, OTHER)))


def test_two_patients_share_nothing_that_tells_of_a_date() -> None:
    one, other = _name(BIDS), _name(BIDS.replace("Kowalczyk", "Nowak"))
    assert not set(re.findall(ID, one)) & set(re.findall(ID, other))
    folders = (_name("Kowalczyk/20200301/a.nii"), _name("Nowak/20200301/b.nii"))
    assert not set(re.findall(ID, folders[0])) & set(re.findall(ID, folders[1]))


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("imagesTr/Kowalczyk_1948_0001.nii.gz", rf"imagesTr/{ID}_0001\.nii\.gz"),
        ("Kowalczyk T1.NII", rf"{ID}\.nii"),
        ("Kowalczyk_FLAIR_mask.nii", rf"{ID}_FLAIR_mask\.nii"),
        ("FLAIR_Kowalczyk.nii", rf"{ID}\.nii"),
        ("Mr_Pet.nii", rf"{ID}\.nii"),
        ("T1w.nii", r"T1w\.nii"),
        ("0001.nii", rf"{ID}\.nii"),
        ("Kowalczyk/./x_dwi.bvec", rf"{ID}/{ID}_dwi\.bvec"),
        ("sub-A_kowalczyk-B_Nowak_bold.nii", rf"sub-{ID}_{ID}_{ID}_bold\.nii"),
        ("sub-A_run-4711_T1w.nii", rf"sub-{ID}_run-{ID}_T1w\.nii"),
        ("sub-" + "_a" * 100 + ".nii", rf"{ID}\.nii"),
    ],
)
def test_what_is_not_on_a_list_goes(path: str, form: str) -> None:
    made = _name(path)
    assert re.fullmatch(form, made) is not None, made
    assert _name(made) == made


def test_image_and_label_map_keep_one_name_and_different_ones_differ() -> None:
    assert (
        _name("imagesTr/Kowalczyk_0000.nii.gz").rpartition("/")[2].split("_")[0]
        == _name("labelsTr/Kowalczyk.nii.gz").rpartition("/")[2].split(".")[0]
    )
    paths = [
        "a_T1w_b.nii",
        "a_b_T1w.nii",
        "ab_T1w.nii",
        "A_b_T1w.nii",
        "x/a.nii",
        "y/a.nii",
        os.fsdecode(b"\xff.nii"),
    ]
    assert len({_name(path) for path in paths}) == len(paths)


def test_what_another_key_made_or_somebody_made_up_is_no_pseudonym() -> None:
    foreign = _name("Kowalczyk.nii", OTHER)
    assert _name(foreign) != foreign
    made_up = "0" * 24 + ".nii"
    assert _name(made_up) != made_up


def test_suffixes_are_those_of_images_and_their_companions() -> None:
    assert split_name("a.b.NII.gz") == ("a.b", ".nii.gz")
    assert split_name("a.gz") == ("a.gz", "")
    assert split_name(".nii") == (".nii", "")
