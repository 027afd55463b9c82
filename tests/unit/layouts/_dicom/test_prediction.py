"""A prediction as DICOM SEG: on the slices it was made from, for the patient they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from medaug.core.errors import DataError
from medaug.core.volume import LabelMap
from medaug.io.annotations import target_of
from medaug.io.dicom import read_series
from medaug.io.segmentation import read_seg
from medaug.layouts.dicom import write_prediction
from tests.unit.io.series import stored_values, write_series

NAMES = ("solid", "absent", "ground_glass")


def labelled(folder: Path) -> tuple[list[Path], LabelMap]:
    files = write_series(folder / "scan", stored_values())
    volume = read_series(files).volume
    labels = np.zeros(volume.grid.shape, np.uint8)
    labels[1:3, 2:5, 1:4], labels[4, 0, 0] = 1, 3
    return files, LabelMap(labels, volume.grid, NAMES)


def test_every_class_lies_where_it_was_predicted(tmp_path: Path) -> None:
    files, label_map = labelled(tmp_path)
    series = read_series(files)
    assert write_prediction(label_map, series, files[::-1], tmp_path / "seg.dcm")
    found = {
        segment.name: segment.mask for segment in read_seg(tmp_path / "seg.dcm", target_of(series)).segments
    }
    assert set(found) == {"solid", "ground_glass"}
    assert all(np.array_equal(mask, label_map.mask(name)) for name, mask in found.items())


def test_it_belongs_to_the_patient_and_study_of_its_source(tmp_path: Path) -> None:
    files, label_map = labelled(tmp_path)
    write_prediction(label_map, read_series(files), files, tmp_path / "seg.dcm")
    seg, source = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(files[0])
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "AccessionNumber"):
        assert seg[keyword].value == source[keyword].value
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_the_same_prediction_has_the_same_uid(tmp_path: Path) -> None:
    files, label_map = labelled(tmp_path)
    uids = []
    for labels in (label_map.labels, label_map.labels, label_map.labels[::-1].copy()):
        same = LabelMap(labels, label_map.grid, NAMES)
        write_prediction(same, read_series(files), files, tmp_path / "seg.dcm")
        uids.append(pydicom.dcmread(tmp_path / "seg.dcm").SOPInstanceUID)
    assert uids[0] == uids[1] != uids[2]


def test_an_empty_prediction_writes_nothing(tmp_path: Path) -> None:
    files, label_map = labelled(tmp_path)
    empty = LabelMap(np.zeros_like(label_map.labels), label_map.grid, NAMES)
    assert not write_prediction(empty, read_series(files), files, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_a_source_without_a_study_is_a_data_error(tmp_path: Path) -> None:
    def forget(dataset: FileDataset, number: int) -> None:
        del dataset.StudyInstanceUID

    files = write_series(tmp_path / "scan", stored_values(), forget)
    series = read_series(files)
    label_map = LabelMap(np.ones(series.volume.grid.shape, np.uint8), series.volume.grid, ("solid",))
    with pytest.raises(DataError, match="lacks what DICOM SEG must repeat"):
        write_prediction(label_map, series, files, tmp_path / "seg.dcm")
