"""DICOM folders: a case a series, each segmentation with the series it was drawn on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from medaug.ingest.series import pair_series
from medaug.ingest.sources import Discovery
from tests.unit.io.series import MR, reread, stored_values, write_seg, write_series
from tests.unit.io.structure_sets import Drawn, write_structures


def _pair(folder: Path) -> Discovery:
    return pair_series(sorted(p for p in folder.rglob("*") if p.is_file()), 0)


def _mask() -> np.ndarray:
    mask = np.zeros((3, 6, 7, 1), np.uint8)
    mask[1, 2:4, 2:4] = 1
    return mask


def test_a_segmentation_goes_to_the_series_it_names(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", stored_values(3))
    write_series(tmp_path / "mr", stored_values(3), sop_class=MR)
    write_seg(tmp_path / "seg.dcm", ct, _mask(), ["solid"])
    cases = {case.stated.modality: case for case in _pair(tmp_path).cases}
    assert cases["CT"].label is not None
    assert [item.name for item in cases["CT"].label.drawings[0].declared] == ["solid"]
    assert cases["MR"].label is None
    assert {case.patient_key for case in cases.values()} == {"PAT-4711"}


def test_scanner_sex_and_age_are_those_of_the_header_and_the_institution_is_not(tmp_path: Path) -> None:
    def tell(dataset: FileDataset, number: int) -> None:
        dataset.Manufacturer, dataset.ManufacturerModelName = "SIEMENS", "Sensation 16"
        dataset.PatientAge, dataset.InstitutionName, dataset.StationName = "094Y", "Zzyzx General", "CT99"

    write_series(tmp_path / "ct", stored_values(3), tell)
    (case,) = _pair(tmp_path).cases
    assert case.characteristics == (("scanner", "SIEMENS Sensation 16"), ("sex", "F"), ("age", "90+"))


def test_without_reference_the_only_series_of_its_frame_is_taken(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", stored_values(3))
    write_seg(tmp_path / "seg.dcm", ct, _mask(), ["solid"])
    seg = reread(tmp_path / "seg.dcm")
    del seg.ReferencedSeriesSequence
    seg.save_as(tmp_path / "seg.dcm")
    assert _pair(tmp_path).cases[0].label is not None


def test_a_segmentation_of_another_series_or_patient_is_refused(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", stored_values(3))
    write_seg(tmp_path / "seg.dcm", ct, _mask(), ["solid"])
    seg = reread(tmp_path / "seg.dcm")
    seg.PatientID = "PAT-9"
    seg.save_as(tmp_path / "seg.dcm")
    assert "different patients" in _pair(tmp_path).cases[0].problem
    for path in ct:
        path.unlink()
    found = _pair(tmp_path)
    assert found.cases == ()
    assert [(s.code, s.severity) for s in found.strays] == [("image-missing", "refused")]


def test_junk_and_other_modalities_are_named_without_names(tmp_path: Path) -> None:
    def nuclear(dataset: FileDataset, number: int) -> None:
        dataset.Modality, dataset.SOPClassUID = "NM", "1.2.840.10008.5.1.4.1.1.20"

    write_series(tmp_path / "us", stored_values(1), nuclear)
    (tmp_path / "Meier.txt").write_text("notes")
    found = _pair(tmp_path)
    assert found.cases == ()
    assert sorted((s.code, s.severity) for s in found.strays) == [
        ("not-an-image", "flagged"),
        ("unsupported-modality", "refused"),
    ]
    assert not any("Meier" in s.message for s in found.strays)


def test_a_damaged_file_is_refused_on_its_own(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored_values(3))
    (tmp_path / "ct" / "torn").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 60)
    found = _pair(tmp_path)
    assert len(found.cases) == 1
    assert [(s.code, s.severity, len(s.files)) for s in found.strays] == [("unreadable", "refused", 1)]


def test_a_damaged_segmentation_refuses_its_case(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", stored_values(3))
    write_seg(tmp_path / "seg.dcm", ct, _mask(), ["solid"])
    seg = reread(tmp_path / "seg.dcm")
    del seg.SegmentSequence
    seg.save_as(tmp_path / "seg.dcm")
    assert "declares no segments" in _pair(tmp_path).cases[0].problem


def test_structure_sets_go_to_their_series_and_empty_ones_are_no_labels(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", stored_values(3))
    square = ((1.5, 0.5), (4.5, 0.5), (4.5, 3.5))
    write_structures(tmp_path / "rt", ct, {"GTV": [Drawn(1, square)], "template": []})
    write_structures(tmp_path / "empty", ct, {"template": [], "point": [Drawn(1, square[:1], "POINT")]})
    found = _pair(tmp_path)
    (case,) = found.cases
    assert case.label is not None
    assert case.label.files == (tmp_path / "rt",)
    assert [item.name for item in case.label.drawings[0].declared] == ["GTV"]
    assert [(s.code, s.severity, s.files) for s in found.strays] == [
        ("segment-empty", "flagged", (tmp_path / "empty",))
    ]


def test_dose_and_plan_are_no_images(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored_values(3))

    def dose(dataset: FileDataset, number: int) -> None:
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"

    def plan(dataset: FileDataset, number: int) -> None:
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN"
        for name in ("Rows", "Columns", "PixelData"):
            delattr(dataset, name)

    write_series(tmp_path / "dose", stored_values(1), dose)
    write_series(tmp_path / "plan", stored_values(1), plan)
    found = _pair(tmp_path)
    assert len(found.cases) == 1
    assert [(s.code, s.severity) for s in found.strays] == [("not-an-image", "flagged")] * 2
