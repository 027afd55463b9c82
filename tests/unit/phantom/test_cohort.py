"""The phantom cohort: the same bytes from the same seed, and nobody's scan."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydantic import ValidationError

from medaug.core.runs import NoProgress
from medaug.io.annotations import combine, target_of
from medaug.io.dicom import read_series
from medaug.io.nifti import read_label, read_nifti
from medaug.io.segmentation import read_seg
from medaug.phantom.cohort import Cohort, PhantomSpec, draw_patient, list_patients, make_cohort
from medaug.phantom.growth import CLASSES

SPEC = PhantomSpec(seed=3, solid=3, ground_glass=2, both=1, lesion_free=2, shape=(48, 48, 8))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("cohort"), SPEC, NoProgress())


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_spec_gives_the_same_bytes(cohort: Cohort, tmp_path: Path) -> None:
    make_cohort(tmp_path, SPEC, NoProgress())
    assert digest(tmp_path) == digest(cohort.dicom.parent)


def test_a_patient_depends_on_nobody_else() -> None:
    patients = list_patients(SPEC)
    alone = draw_patient(SPEC, patients[-1]).volume.image
    for patient in patients:
        draw_patient(SPEC, patient)
    assert np.array_equal(draw_patient(SPEC, patients[-1]).volume.image, alone)
    other = SPEC.model_copy(update={"seed": 4})
    assert not np.array_equal(draw_patient(other, patients[-1]).volume.image, alone)


def test_demo_cohort_has_the_promised_patients() -> None:
    patients = list_patients(PhantomSpec())
    kinds = Counter(tuple(sorted(set(patient.lesions))) for patient in patients)
    assert len(patients) == 36
    assert kinds == {("solid",): 21, ("ground_glass",): 8, ("ground_glass", "solid"): 2, (): 5}
    assert Counter(patient.stored for patient in patients) == {"dicom": 16, "nifti": 20}
    for stored in ("dicom", "nifti"):
        rare = [p for p in patients if p.stored == stored and "ground_glass" in p.lesions]
        assert len(rare) >= 4


def test_dicom_half_reads_back_as_drawn(cohort: Cohort) -> None:
    patients = [patient for patient in cohort.patients if patient.stored == "dicom"]
    assert patients
    for patient in patients:
        folder, scan = cohort.dicom / patient.patient_id, draw_patient(SPEC, patient)
        series = read_series(sorted((folder / "ct").iterdir()))
        assert np.array_equal(series.volume.image, scan.volume.image)
        assert series.volume.grid.agrees_with(scan.volume.grid)
        seg = read_seg(folder / "seg.dcm", target_of(series))
        assert np.array_equal(combine(seg.segments, CLASSES).labels, scan.label_map.labels)


def test_nifti_half_reads_back_as_drawn(cohort: Cohort) -> None:
    rows = list(csv.DictReader((cohort.nifti / "cases.csv").read_text().splitlines()))
    patients = {patient.patient_id: patient for patient in cohort.patients if patient.stored == "nifti"}
    assert [row["patient_id"] for row in rows] == list(patients)
    for row in rows:
        scan = draw_patient(SPEC, patients[row["patient_id"]])
        image = read_nifti(cohort.nifti / row["image"])
        assert np.array_equal(image.array, scan.volume.image[0])
        assert image.grid.agrees_with(scan.volume.grid, tolerance_mm=1e-3)
        assert (row["lesion_free"] == "yes") is not bool(row["label"])
        if row["label"]:
            assert np.array_equal(read_label(cohort.nifti / row["label"]).array, scan.label_map.labels)
        assert (row["licence"], row["lesion_classes"], row["label_ids"]) == (
            "CC0-1.0",
            "solid;ground_glass",
            "1;2",
        )


def test_both_orders_of_axes_occur(cohort: Cohort) -> None:
    stored = {read_nifti(path, as_stored=True).grid.axcodes for path in (cohort.nifti / "images").iterdir()}
    assert stored == {"RAS", "LPS"}


def test_nobody_is_in_it(cohort: Cohort) -> None:
    for path in cohort.dicom.rglob("*.dcm"):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert str(dataset.PatientName).startswith("PHANTOM^")
        assert dataset.PatientID.startswith("PHANTOM-")
        assert dataset.SyntheticData == "YES"


@pytest.mark.parametrize(
    "wrong",
    [{"both": 30}, {"solid": 0, "ground_glass": 0, "both": 0, "lesion_free": 0}, {"shape": (8, 96, 16)}],
)
def test_specs_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PhantomSpec.model_validate(wrong)
