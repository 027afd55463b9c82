"""Header scans: files become series by what stands in them, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from medaug.core.errors import UnreadableError
from medaug.io.headers import looks_like_dicom, patient_key, read_dataset, read_header, scan
from tests.unit.io.series import MR, reread, stored_values, write_series


def test_series_are_told_apart_by_uid_and_junk_is_left_out(tmp_path: Path) -> None:
    a = write_series(tmp_path / "x", stored_values(3))
    b = write_series(tmp_path / "y", stored_values(4), sop_class=MR)
    for number, path in enumerate(b):
        path.rename(tmp_path / "x" / f"b{number}")
    (tmp_path / "x" / "Thumbs.db").write_bytes(b"junk")
    (tmp_path / "x" / "empty").write_bytes(b"")
    ticks: list[int] = []
    found = scan(sorted(p for p in tmp_path.rglob("*") if p.is_file()), tick=lambda: ticks.append(1))
    assert sorted(len(series.files) for series in found.images) == [3, 4]
    assert set(a) in [set(series.files) for series in found.images]
    assert sorted(p.name for p in found.not_dicom) == ["Thumbs.db", "empty"]
    assert len(ticks) == 9


def test_header_holds_what_grouping_needs(tmp_path: Path) -> None:
    path = write_series(tmp_path, stored_values(1))[0]
    header = read_header(path)
    assert header is not None
    assert (header.modality, header.patient_key, header.is_image, header.is_segmentation) == (
        "CT",
        "PAT-4711",
        True,
        False,
    )


def test_a_file_without_preamble_is_still_read(tmp_path: Path) -> None:
    path = write_series(tmp_path, stored_values(1))[0]
    path.write_bytes(path.read_bytes()[132:])
    assert looks_like_dicom(path)
    assert read_header(path) is not None


def test_patients_without_id_are_told_apart_by_name(tmp_path: Path) -> None:
    dataset = reread(write_series(tmp_path, stored_values(1))[0])
    dataset.PatientID = ""
    one = patient_key(dataset)
    dataset.PatientName = "Schulz^Karl"
    assert one != patient_key(dataset)
    dataset.PatientName = dataset.PatientBirthDate = ""
    assert patient_key(dataset) == ""


def test_damaged_files_raise_one_clear_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "Meier.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 60)
    with pytest.raises(UnreadableError) as caught:
        read_header(path)
    assert "Meier" not in caught.value.line()
    assert scan([path]).damaged == (path,)
    with pytest.raises(UnreadableError) as caught:
        read_dataset(tmp_path / "missing.dcm", where="case_1")
    assert caught.value.line() == "case_1: DICOM file is cut short or damaged"
    # pydicom would log the path, which may hold a name
    assert caplog.records == []


def test_a_dicomdir_is_no_image_and_no_damage(tmp_path: Path) -> None:
    dataset = reread(write_series(tmp_path, stored_values(1))[0])
    dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    del dataset.SOPClassUID, dataset.SeriesInstanceUID
    dataset.save_as(tmp_path / "DICOMDIR")
    assert read_header(tmp_path / "DICOMDIR") is None


def test_an_image_without_series_or_class_is_a_series_of_its_own(tmp_path: Path) -> None:
    def strip(dataset: FileDataset, number: int) -> None:
        del dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID

    files = write_series(tmp_path, stored_values(2), strip, sop_class=MR)
    found = scan(files)
    assert [series.files for series in found.images] in (
        [(files[0],), (files[1],)],
        [(files[1],), (files[0],)],
    )
    assert {series.first.sop_class_uid for series in found.images} == {MR}
    assert found.images[0].first.frames[0].instance_uid == found.images[0].first.series_uid
