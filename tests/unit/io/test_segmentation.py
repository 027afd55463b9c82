"""DICOM SEG: every segment on the voxels it was drawn on, or a refusal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.pixels.utils import compress
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from medaug.core.errors import DataError, DependencyError
from medaug.core.geometry import Grid, lps_to_ras
from medaug.io.annotations import Annotation, Target, target_of
from medaug.io.dicom import read_series
from medaug.io.headers import quiet_pydicom, scan
from medaug.io.segmentation import read_seg
from tests.unit.io.series import reread, stored_values, write_seg, write_series

SHAPE = (5, 6, 7)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path / "ct", stored_values())


@pytest.fixture
def target(files: list[Path]) -> Target:
    return target_of(read_series(files))


def _masks(names: int = 1) -> np.ndarray:
    masks = np.zeros((*SHAPE, names), np.uint8)
    masks[1:3, 2:4, 1:3, 0] = 1
    if names > 1:
        masks[3, 4, 5, 1] = masks[1, 2, 2, 1] = 1
    return masks


def _stored(mask: np.ndarray, files: list[Path], target: Target) -> np.ndarray:
    """A mask of the grid in (slice, row, column) order, the order in which the SEG was made."""
    turn = read_series(files).turn
    assert target.grid.shape == mask.shape
    return turn.invert(mask).transpose(2, 1, 0)


def _edit(path: Path, edit: Callable[[FileDataset], object]) -> Path:
    seg = reread(path)
    edit(seg)
    seg.save_as(path)
    return path


def _refusal(path: Path, target: Target) -> str:
    with pytest.raises((DataError, DependencyError)) as refused:
        read_seg(path, target, where="case_1")
    assert refused.value.line().startswith("case_1: ")
    assert "Meier" not in refused.value.line()
    return refused.value.code


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_land_on_the_voxels_they_were_drawn_on(
    tmp_path: Path, files: list[Path], target: Target, kind: str
) -> None:
    masks = _masks(2)
    if kind == "LABELMAP":
        masks[..., 0][masks[..., 1] > 0] = 0
    stored = masks.astype(float) if kind == "FRACTIONAL" else masks
    write_seg(tmp_path / "seg", files, stored, ["solid", "gg "], kind)
    found = read_seg(tmp_path / "seg", target)
    assert [(s.number, s.name) for s in found.segments] == [(1, "solid"), (2, "gg")]
    for number, segment in enumerate(found.segments):
        assert np.array_equal(_stored(segment.mask, files, target), masks[..., number] > 0)
    codes = [(f.code, f.severity) for f in found.findings]
    assert codes == ([("fractions-thresholded", "fixed")] if kind == "FRACTIONAL" else [])
    only = read_seg(tmp_path / "seg", target, numbers={2})
    assert [s.name for s in only.segments] == ["gg"]


def test_voxels_are_those_that_highdicom_gives(tmp_path: Path, files: list[Path], target: Target) -> None:
    masks = (np.random.default_rng(3).random((*SHAPE, 3)) < 0.3).astype(np.uint8)
    write_seg(tmp_path / "seg", files, masks, ["a", "b", "c"])
    found = read_seg(tmp_path / "seg", target)
    with quiet_pydicom():
        seg = hd.seg.segread(tmp_path / "seg")
        uids = [reread(path).SOPInstanceUID for path in files]
        theirs = seg.get_pixels_by_source_instance(uids)
    assert theirs.sum() == masks.sum()
    for number, segment in enumerate(found.segments):
        assert np.array_equal(_stored(segment.mask, files, target), theirs[..., number] > 0)


@pytest.mark.parametrize("meaning", ["PROBABILITY", "OCCUPANCY"])
def test_fractions_are_cut_at_the_threshold(
    tmp_path: Path, files: list[Path], target: Target, meaning: str
) -> None:
    fractions = _masks().astype(float)
    fractions[1, 2, 1, 0], fractions[1, 2, 2, 0] = 0.45, 0.58
    write_seg(tmp_path / "seg", files, fractions, ["solid"], "FRACTIONAL")
    _edit(tmp_path / "seg", lambda seg: setattr(seg, "SegmentationFractionalType", meaning))

    def count(threshold: float) -> int:
        return read_seg(tmp_path / "seg", target, fraction_threshold=threshold).segments[0].voxels

    assert [count(t) for t in (0.4, 0.5, 0.6, 1.0)] == [8, 7, 6, 6]


def test_a_threshold_is_met_by_its_own_fraction(tmp_path: Path, files: list[Path], target: Target) -> None:
    write_seg(tmp_path / "seg", files, _masks().astype(float), ["solid"], "FRACTIONAL")

    def hundredths(seg: FileDataset) -> None:
        seg.MaximumFractionalValue = 100
        seg.PixelData = bytes(7 if value else 0 for value in seg.PixelData)

    _edit(tmp_path / "seg", hundredths)
    # 0.07 * 100 is a little more than 7 in floating point
    for threshold, voxels in ((0.07, 8), (0.08, 0)):
        found = read_seg(tmp_path / "seg", target, fraction_threshold=threshold)
        assert found.segments[0].voxels == voxels
        assert ("segment-empty" in [f.code for f in found.findings]) is (voxels == 0)


@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
def test_compressed_objects_read_as_plain_ones(
    tmp_path: Path, files: list[Path], target: Target, syntax: str
) -> None:
    write_seg(tmp_path / "seg", files, _masks(2).astype(float), ["a", "b"], "FRACTIONAL")
    plain = read_seg(tmp_path / "seg", target)
    if syntax == RLELossless:
        _edit(tmp_path / "seg", lambda seg: compress(seg, syntax, generate_instance_uid=False))
    else:
        _edit(tmp_path / "seg", lambda seg: setattr(seg.file_meta, "TransferSyntaxUID", syntax))
    packed = read_seg(tmp_path / "seg", target)
    assert packed.sha256 != plain.sha256
    for one, other in zip(plain.segments, packed.segments, strict=True):
        assert np.array_equal(one.mask, other.mask)


def test_a_deflated_object_that_would_fill_the_memory_is_refused(
    tmp_path: Path, files: list[Path], target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["a"])
    _edit(
        tmp_path / "seg",
        lambda seg: setattr(seg.file_meta, "TransferSyntaxUID", DeflatedExplicitVRLittleEndian),
    )
    assert read_seg(tmp_path / "seg", target).segments[0].voxels == 8
    monkeypatch.setattr("medaug.io.annotations._MOST_INFLATED", 1000)
    assert _refusal(tmp_path / "seg", target) == "absurd-size"


def test_padding_of_a_label_map_is_background(tmp_path: Path, files: list[Path], target: Target) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"], "LABELMAP")

    def padded(seg: FileDataset) -> None:
        seg.PixelData = bytes(value or 5 for value in seg.PixelData)

    _edit(tmp_path / "seg", padded)
    assert _refusal(tmp_path / "seg", target) == "label-id-unknown"
    _edit(tmp_path / "seg", lambda seg: seg.add_new("PixelPaddingValue", "US", 5))
    assert read_seg(tmp_path / "seg", target).segments[0].voxels == 8


def test_a_grid_in_another_order_of_axes_gets_the_same_voxels(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    write_seg(tmp_path / "seg", files, _masks(2), ["a", "b"])
    expected = read_seg(tmp_path / "seg", target).segments
    # axes (i, j, k) of the new grid are (k, -i, j) of the old one
    order = np.zeros((4, 4))
    order[2, 0], order[0, 1], order[1, 2], order[3, 3] = 1, -1, 1, 1
    order[0, 3] = target.grid.shape[0] - 1
    shape = (target.grid.shape[2], target.grid.shape[0], target.grid.shape[1])
    turned = Target(Grid(shape, target.grid.affine @ order))
    for one, other in zip(expected, read_seg(tmp_path / "seg", turned).segments, strict=True):
        assert np.array_equal(one.mask[::-1].transpose(2, 0, 1), other.mask)


def test_other_places_are_refused_by_code(tmp_path: Path, files: list[Path], target: Target) -> None:
    seg = tmp_path / "seg"
    write_seg(seg, files, _masks(), ["solid"])
    other = target_of(read_series(write_series(tmp_path / "other", stored_values())))
    assert _refusal(seg, other) == "reference-missing"
    fewer = target_of(read_series(sorted(files, key=lambda p: float(reread(p).ImagePositionPatient[2]))[2:]))
    assert _refusal(seg, fewer) == "label-grid"
    shifted = np.array(target.grid.affine)
    shifted[:3, 3] += 0.3
    assert _refusal(seg, replace(target, grid=Grid(target.grid.shape, shifted))) == "label-grid"
    assert _refusal(seg, Target(Grid((5, 5, 5), np.diag([1.0, 1, 1, 1])))) == "label-grid"


def test_missing_images_are_counted_where_nothing_is_lost(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    gone = replace(target, instance_uids=("x", *target.instance_uids[1:]))
    found = read_seg(tmp_path / "seg", gone)
    assert found.segments[0].voxels == 8
    drawn = {uid for n, uid in enumerate(target.instance_uids) if _masks()[n].any()}
    codes = [f.code for f in found.findings]
    assert codes == (["reference-missing"] if target.instance_uids[0] in drawn else [])
    strangers = replace(target, instance_uids=tuple(f"9.{n}" for n in range(5)))
    (note,) = read_seg(tmp_path / "seg", strangers).findings
    assert (note.code, note.severity) == ("reference-missing", "flagged")
    assert _refusal(tmp_path / "seg", replace(strangers, frame_of_reference_uid="")) == "reference-missing"


def test_a_frame_lies_on_the_image_it_names(tmp_path: Path, files: list[Path], target: Target) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    swapped = replace(target, instance_uids=target.instance_uids[::-1])
    assert _refusal(tmp_path / "seg", swapped) == "label-grid"


def test_two_frames_of_a_segment_at_one_place_must_agree(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    masks = _masks()
    masks[2, 0, 0, 0] = 1
    write_seg(tmp_path / "seg", files, masks, ["solid"])

    def moved(seg: FileDataset) -> None:
        first, second = seg.PerFrameFunctionalGroupsSequence
        second.PlanePositionSequence = first.PlanePositionSequence
        second.DerivationImageSequence = first.DerivationImageSequence

    _edit(tmp_path / "seg", moved)
    assert _refusal(tmp_path / "seg", target) == "conflicting-position"


def _unnamed(seg: FileDataset) -> None:
    del seg.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence


def _undeclared(seg: FileDataset) -> None:
    seg.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7


def _huge(seg: FileDataset) -> None:
    seg.Rows = seg.Columns = 65535


def _nowhere(seg: FileDataset) -> None:
    with quiet_pydicom():
        place = seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
        place.ImagePositionPatient = ["1", "inf", "2"]


BROKEN: dict[str, tuple[str, Callable[[FileDataset], object]]] = {
    "tiled": ("unsupported-class", lambda seg: setattr(seg, "DimensionOrganizationType", "TILED_FULL")),
    "slide": ("unsupported-class", lambda seg: setattr(seg, "TotalPixelMatrixRows", 900)),
    "type": ("unsupported-class", lambda seg: setattr(seg, "SegmentationType", "SURFACE")),
    "bits": ("bad-pixel-format", lambda seg: setattr(seg, "BitsAllocated", 16)),
    "none": ("bad-pixel-format", lambda seg: setattr(seg, "Rows", 0)),
    "huge": ("absurd-size", _huge),
    "rows": ("truncated-file", lambda seg: setattr(seg, "Rows", 600)),
    "frames": ("truncated-file", lambda seg: setattr(seg, "NumberOfFrames", 99)),
    "pixels": ("no-pixel-data", lambda seg: delattr(seg, "PixelData")),
    "segments": ("truncated-file", lambda seg: delattr(seg, "SegmentSequence")),
    "unnamed": ("unreadable", _unnamed),
    "undeclared": ("label-id-unknown", _undeclared),
    "nowhere": ("missing-position", _nowhere),
}


@pytest.mark.parametrize("fault", sorted(BROKEN))
def test_broken_objects_are_refused_by_code(
    tmp_path: Path, files: list[Path], target: Target, fault: str
) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    code, edit = BROKEN[fault]
    _edit(tmp_path / "seg", edit)
    assert _refusal(tmp_path / "seg", target) == code


def test_an_unknown_transfer_syntax_is_refused(tmp_path: Path, files: list[Path], target: Target) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    content = (tmp_path / "seg").read_bytes()
    (tmp_path / "seg").write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    assert _refusal(tmp_path / "seg", target) == "unsupported-transfer-syntax"


def test_a_missing_plugin_is_named(
    tmp_path: Path, files: list[Path], target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_seg(tmp_path / "seg", files, _masks().astype(float), ["solid"], "FRACTIONAL")
    _edit(tmp_path / "seg", lambda seg: compress(seg, RLELossless, generate_instance_uid=False))

    class Absent:
        is_available = False

    monkeypatch.setattr("medaug.io._dicom.segframes.get_decoder", lambda _: Absent())
    with pytest.raises(DependencyError, match=r"medaug\[dicom\]"):
        read_seg(tmp_path / "seg", target)


def test_what_is_cut_short_is_refused(tmp_path: Path, files: list[Path], target: Target) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    content = (tmp_path / "seg").read_bytes()
    for length in (1500, len(content) - 3):
        (tmp_path / "cut").write_bytes(content[:length])
        assert _refusal(tmp_path / "cut", target) in ("truncated-file", "unsupported-class", "no-pixel-data")
    assert _refusal(files[0], target) == "unsupported-class"


def test_a_planar_segmentation_lies_on_the_image_it_names(tmp_path: Path, files: list[Path]) -> None:
    mask = np.zeros((1, 6, 7, 1), np.uint8)
    mask[0, 1, 2:5] = 1
    write_seg(tmp_path / "seg", files[:1], mask, ["mass"])

    def planar(seg: FileDataset) -> None:
        del seg.FrameOfReferenceUID
        del seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            delattr(seg.SharedFunctionalGroupsSequence[0], name)

    _edit(tmp_path / "seg", planar)
    affine = np.diag([0.2, 0.1, 1.0, 1.0])
    uid = str(reread(files[0]).SOPInstanceUID)
    target = Target(Grid((7, 6, 1), lps_to_ras(affine)), "", (uid,), affine_lps=affine)
    (segment,) = read_seg(tmp_path / "seg", target).segments
    assert np.argwhere(segment.mask[..., 0]).tolist() == [[2, 1], [3, 1], [4, 1]]
    assert _refusal(tmp_path / "seg", replace(target, instance_uids=("1.2.3",))) == "reference-missing"
    larger = replace(target, grid=Grid((7, 9, 1), target.grid.affine))
    assert _refusal(tmp_path / "seg", larger) == "label-grid"
    assert _refusal(tmp_path / "seg", Target(target.grid)) == "reference-missing"


def test_frames_follow_the_slices_of_a_tilted_gantry(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    assert target.affine_lps is not None
    moved = np.array(target.grid.affine)
    moved[:3, 3] += 0.3 * moved[:3, 0] / np.linalg.norm(moved[:3, 0]) * 0.6
    upright = replace(target, grid=Grid(target.grid.shape, moved), is_upright=True)
    found = read_seg(tmp_path / "seg", upright)
    assert np.array_equal(found.segments[0].mask, read_seg(tmp_path / "seg", target).segments[0].mask)
    assert [(f.code, f.severity) for f in found.findings] == [("label-resampled", "fixed")]
    assert _refusal(tmp_path / "seg", replace(upright, is_upright=False)) == "label-grid"


def _real(folder: Path) -> tuple[dict[str, Annotation], dict[str, dict[str, int]]]:
    """Every real SEG on its source, and the staged voxel counts."""
    answers = json.loads((folder.parent / "answers.json").read_text())["seg"]
    found = scan(sorted(p for p in folder.rglob("*") if p.is_file()))
    series = {s.first.series_uid: s for s in found.images}
    read, counts = {}, {}
    for header in found.segmentations:
        home = series[header.referenced_series[0]]
        below = "dcmqi" if (folder / "dcmqi") in header.path.parents else ""
        name = header.path.relative_to(folder / below).as_posix()
        # one series lacks slices and one is planar: their grids are made from what the headers say
        if home.first.modality == "CR":
            affine = np.eye(4)
            target = Target(
                Grid((16, 16, 1), lps_to_ras(affine)), "", (home.first.sop_instance_uid,), affine_lps=affine
            )
        elif "CT2" in home.first.path.parts:
            affine = np.diag([0.488281, 0.488281, 1.25, 1.0])
            affine[:3, 3] = -125, -128.100006, -99.480003
            target = Target(Grid((16, 16, 165), lps_to_ras(affine)))
        else:
            target = target_of(read_series(home.files))
        read[name] = read_seg(header.path, target, fraction_threshold=1e-6)
        counts[name] = answers[name]["voxels_per_segment"]
    return read, counts


def test_real_segmentations_have_the_staged_voxel_counts(medaug_data: Path) -> None:
    read, counts = _real(medaug_data / "dicom" / "seg")
    assert {name: {str(s.number): s.voxels for s in found.segments} for name, found in read.items()} == counts
    assert len(read) == 12


def test_reading_needs_no_extra(
    tmp_path: Path, files: list[Path], target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_seg(tmp_path / "seg", files, _masks(), ["solid"])
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert read_seg(tmp_path / "seg", target).segments[0].voxels == 8
