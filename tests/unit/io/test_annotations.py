"""Segments on a grid, and one label map out of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.geometry import Grid
from medaug.io.annotations import Segment, Target, combine, open_dicom, reference_note, target_of
from medaug.io.dicom import read_series
from tests.unit.io.series import stored_values, write_series


def _segment(name: str, *voxels: tuple[int, int, int]) -> Segment:
    mask = np.zeros((2, 3, 4), bool)
    for voxel in voxels:
        mask[voxel] = True
    return Segment.of(1, name, mask)


def test_a_segment_keeps_its_box_and_gives_its_mask_back() -> None:
    segment = _segment("x", (0, 1, 2), (1, 1, 3))
    assert segment.inside.shape == (2, 1, 2)
    assert np.argwhere(segment.mask).tolist() == [[0, 1, 2], [1, 1, 3]]
    assert segment.voxels == 2
    empty = _segment("x")
    assert empty.voxels == np.count_nonzero(empty.mask) == 0
    assert empty.mask.shape == (2, 3, 4)


def test_segments_of_one_name_are_joined() -> None:
    whole = combine(
        [_segment("x", (0, 0, 0)), _segment("y", (1, 0, 0)), _segment("x", (0, 0, 1))], ("y", "x")
    )
    assert whole.labels[:, 0, :2].tolist() == [[2, 2], [1, 0]]
    assert whole.labels.dtype == np.uint8
    assert whole.findings == ()


def test_overlap_is_refused_unless_a_priority_orders_it() -> None:
    segments = [_segment("x", (0, 0, 0), (0, 0, 1)), _segment("y", (0, 0, 1)), _segment("z", (0, 0, 1))]
    with pytest.raises(LabelError, match="overlap in 1 voxel") as refused:
        combine(segments, ("x", "y", "z"), where="case_1")
    assert refused.value.code == "overlapping-segments"
    with pytest.raises(LabelError):
        combine(segments, ("x", "y", "z"), priority=("x",))
    first = combine(segments[:2], ("x", "y"), priority=("x",))
    assert first.labels[0, 0, :2].tolist() == [1, 1]
    last = combine(segments, ("x", "y", "z"), priority=("y", "z"))
    assert last.labels[0, 0, :2].tolist() == [1, 2]
    assert [(f.code, f.severity) for f in last.findings] == [("overlapping-segments", "fixed")]
    assert "2 voxels" in last.findings[0].message


def test_a_name_without_class_is_refused_and_many_classes_fit() -> None:
    with pytest.raises(LabelError) as refused:
        combine([_segment("z", (0, 0, 0))], ("x", "y"))
    assert refused.value.code == "label-name-unknown"
    names = [f"c{n}" for n in range(300)]
    assert combine([_segment("c299", (0, 0, 0))], names).labels.max() == 300


def test_references_are_counted_and_never_named() -> None:
    target = Target(Grid((1, 1, 1), np.eye(4)), "1.2", ("1.2.3", "1.2.4"))
    assert reference_note({"1.2.3"}, target, same_space=False) is None
    assert reference_note({"9"}, Target(target.grid), same_space=False) is None
    note = reference_note({"1.2.3", "8"}, target, same_space=False)
    assert note is not None
    assert (note.code, note.severity) == ("reference-missing", "flagged")
    assert "1 of the 2 images" in note.message
    assert (
        reference_note({"1.2.3", "8"}, replace(target, other_uids=frozenset({"8"})), same_space=False) is None
    )
    assert reference_note({"8"}, target, same_space=True) is not None
    for referred in ({"8"}, set()):
        with pytest.raises(GeometryError) as refused:
            reference_note(referred, target, same_space=False)
        assert refused.value.code == "reference-missing"


def test_a_series_is_a_target(tmp_path: Path) -> None:
    series = read_series(write_series(tmp_path / "ct", stored_values()))
    target = target_of(series)
    assert target.grid is series.volume.grid
    assert len(set(target.instance_uids)) == 5


def test_what_is_no_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no DICOM")

    for name in ("text", "missing"):
        with pytest.raises(UnreadableError) as refused:
            open_dicom(tmp_path / name)
        assert refused.value.code == "unreadable"
