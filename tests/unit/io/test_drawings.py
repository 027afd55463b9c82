"""What annotation files declare before any voxel is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence

from medaug.core.errors import UnreadableError
from medaug.io.drawings import drawing_of, is_structure_set, read_drawing
from medaug.io.headers import read_header
from tests.unit.io.series import reread, stored_values, write_seg, write_series
from tests.unit.io.structure_sets import Drawn, item, write_structures

SQUARE = ((1.5, 0.5), (4.5, 0.5), (4.5, 3.5), (1.5, 3.5))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path / "ct", stored_values(3))


def _seg(path: Path, files: list[Path], kind: str = "BINARY") -> FileDataset:
    masks = np.zeros((3, 6, 7, 2), np.uint8)
    masks[1, 2, 3, 0] = masks[2, 2, 3, 1] = 1
    write_seg(path, files, masks, ["solid", "gg"], kind)
    return reread(path)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_are_declared_with_their_codes(tmp_path: Path, files: list[Path], kind: str) -> None:
    seg = _seg(tmp_path / "seg", files, kind)
    found = read_drawing(tmp_path / "seg")
    assert [(d.number, d.name, d.codes) for d in found.declared] == [
        (1, "solid", ("SCT:85756007",)),
        (2, "gg", ("SCT:85756007",)),
    ]
    assert found.series_uids == {reread(files[0]).SeriesInstanceUID}
    assert {reread(path).SOPInstanceUID for path in files[1:]} <= found.instance_uids
    assert found.frame_of_reference_uids == {seg.FrameOfReferenceUID}
    assert (found.patient_key, found.is_structure_set, found.fault) == ("PAT-4711", False, None)
    assert [d.number for d in found.only(frozenset({2})).declared] == [2]


def test_a_segment_without_label_is_called_by_its_code(tmp_path: Path, files: list[Path]) -> None:
    seg = _seg(tmp_path / "seg", files)
    del seg.SegmentSequence[0].SegmentLabel
    del seg.SegmentSequence[1].SegmentLabel
    del seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence
    seg.save_as(tmp_path / "seg")
    assert [d.name for d in read_drawing(tmp_path / "seg").declared] == ["Tissue", ""]


def test_frames_name_the_images_where_the_object_does_not(tmp_path: Path, files: list[Path]) -> None:
    seg = _seg(tmp_path / "seg", files)
    del seg.ReferencedSeriesSequence
    seg.save_as(tmp_path / "seg")
    found = read_drawing(tmp_path / "seg")
    assert found.series_uids == frozenset()
    assert found.instance_uids == {reread(path).SOPInstanceUID for path in files[1:]}


def test_regions_are_declared_where_something_is_drawn(tmp_path: Path, files: list[Path]) -> None:
    regions = {"GTV": [Drawn(1, SQUARE)], "point": [Drawn(1, SQUARE[:1], "POINT")], "none": []}
    path = write_structures(tmp_path / "rt", files, regions)
    made = reread(path)
    code = item(CodeValue="4147007", CodingSchemeDesignator="SCT", CodeMeaning="Mass")
    made.RTROIObservationsSequence = Sequence(
        [item(ReferencedROINumber=1, RTROIIdentificationCodeSequence=Sequence([code]))]
    )
    made.save_as(path)
    found = read_drawing(path)
    (declared,) = found.declared
    assert (declared.number, declared.name, declared.codes) == (1, "GTV", ("SCT:4147007",))
    assert declared.instance_uids == {reread(files[1]).SOPInstanceUID}
    assert found.instance_uids == {reread(one).SOPInstanceUID for one in files}
    assert found.series_uids == {reread(files[0]).SeriesInstanceUID}
    assert found.is_structure_set
    header = read_header(path)
    assert header is not None
    assert is_structure_set(header)


def test_what_declares_nothing_is_refused_or_comes_back_with_its_fault(
    tmp_path: Path, files: list[Path]
) -> None:
    seg = _seg(tmp_path / "seg", files)
    del seg.SegmentSequence
    seg.save_as(tmp_path / "seg")
    for path, code in ((tmp_path / "seg", "truncated-file"), (files[0], "unsupported-class")):
        with pytest.raises(UnreadableError) as refused:
            read_drawing(path)
        assert refused.value.code == code
    header = read_header(tmp_path / "seg")
    assert header is not None
    found = drawing_of(header)
    assert found.fault is not None
    assert (found.declared, found.patient_key) == ((), "PAT-4711")
    assert found.series_uids == {reread(files[0]).SeriesInstanceUID}
