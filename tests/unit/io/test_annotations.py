"""DICOM SEG: every segment on the voxels it was drawn on, or a refusal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import DependencyError, GeometryError, LabelError, UnreadableError
from medaug.io.annotations import Segment, combine, read_seg
from medaug.io.dicom import SeriesVolume, read_series
from medaug.io.headers import scan
from tests.unit.io.series import stored_values, write_seg, write_series


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path / "ct", stored_values())


@pytest.fixture
def source(files: list[Path]) -> SeriesVolume:
    return read_series(files)


def _masks(names: int = 1) -> np.ndarray:
    masks = np.zeros((5, 6, 7, names), np.uint8)
    masks[1:3, 2:4, 1:3, 0] = 1
    if names > 1:
        masks[3, 4, 5, 1] = 1
    return masks


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_segments_land_on_the_voxels_they_were_drawn_on(
    tmp_path: Path, files: list[Path], source: SeriesVolume, kind: str
) -> None:
    write_seg(
        tmp_path / "seg",
        files,
        _masks(2).astype(float) if kind == "FRACTIONAL" else _masks(2),
        ["solid", "gg "],
        kind,
    )
    found = read_seg(tmp_path / "seg", source)
    assert [s.name for s in found.segments] == ["solid", "gg"]
    for number, segment in enumerate(found.segments):
        back = source.turn.invert(segment.mask).transpose(2, 1, 0)
        assert np.array_equal(back, _masks(2)[..., number] > 0)


def test_fractions_are_cut_at_one_half(tmp_path: Path, files: list[Path], source: SeriesVolume) -> None:
    fractions = _masks().astype(float)
    fractions[1, 2, 1, 0], fractions[1, 2, 2, 0] = 0.45, 0.55
    write_seg(tmp_path / "seg", files, fractions, ["solid"], "FRACTIONAL")
    (segment,) = read_seg(tmp_path / "seg", source).segments
    back = source.turn.invert(segment.mask).transpose(2, 1, 0)
    assert not back[1, 2, 1]
    assert back[1, 2, 2]


def test_another_frame_of_reference_or_grid_is_refused(
    tmp_path: Path, files: list[Path], source: SeriesVolume
) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    other = read_series(write_series(tmp_path / "other", stored_values()))
    with pytest.raises(GeometryError, match="frame of reference"):
        read_seg(tmp_path / "seg", other, where="case_1")
    fewer = read_series(files[3:])
    with pytest.raises(GeometryError, match="another grid"):
        read_seg(tmp_path / "seg", fewer, where="case_1")
    assert read_seg(tmp_path / "seg", source).segments[0].mask.sum() == 8


def test_what_is_no_seg_is_refused(tmp_path: Path, files: list[Path], source: SeriesVolume) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    (tmp_path / "cut").write_bytes((tmp_path / "seg").read_bytes()[:1500])
    for path in (files[0], tmp_path / "cut", tmp_path / "missing"):
        with pytest.raises(UnreadableError):
            read_seg(path, source)


def test_missing_highdicom_names_the_extra(
    tmp_path: Path, source: SeriesVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(DependencyError, match=r"medaug\[dicom\]"):
        read_seg(tmp_path / "seg", source)


def test_combine_joins_names_and_refuses_overlap() -> None:
    a, b = np.zeros((2, 2, 1), bool), np.zeros((2, 2, 1), bool)
    a[0], b[1, 0] = True, True
    labels = combine([Segment("x", a), Segment("y", b), Segment("x", a)], ("y", "x"))
    assert labels[..., 0].tolist() == [[2, 2], [1, 0]]
    with pytest.raises(LabelError, match="overlap"):
        combine([Segment("x", a), Segment("y", a)], ("x", "y"))
    with pytest.raises(LabelError, match="no name"):
        combine([Segment("z", a)], ("x", "y"))


def test_real_segmentations_have_the_staged_voxel_counts(medaug_data: Path) -> None:
    folder = medaug_data / "dicom" / "seg" / "dcmqi"
    answers = json.loads((medaug_data / "dicom" / "answers.json").read_text())["seg"]
    found = scan(sorted(p for p in folder.rglob("*") if p.is_file()))
    series = {s.first.series_uid: s for s in found.images}
    checked = 0
    for header in found.segmentations:
        answer = answers[header.path.relative_to(folder).as_posix()]
        image = read_series(series[header.referenced_series[0]].files)
        counts = [int(s.mask.sum()) for s in read_seg(header.path, image).segments]
        assert counts == list(answer["voxels_per_segment"].values())
        checked += 1
    assert checked == 6
