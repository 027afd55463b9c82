"""DICOM that is written: read back voxel by voxel, and no byte of it from the clock."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from medaug.core.case import Case
from medaug.core.errors import DependencyError, GeometryError, LabelError, UnreadableError
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.annotations import combine, target_of
from medaug.io.dicom import read_series
from medaug.io.segmentation import read_seg
from medaug.layouts._dicom.readback import require_same_image, require_same_labels
from medaug.layouts._dicom.segmentation import SegmentationType
from medaug.layouts._dicom.terms import parse_terms
from medaug.layouts.dicom import SegSettings, SeriesIdentity, Uids, write_seg, write_series

CLASSES = ("solid", "odd class", "ground_glass")


def oblique_grid() -> Grid:
    """Turned by some degrees around two axes, 0.7 x 0.9 x 3 mm."""
    a, b = 0.2, -0.15
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.7, 0.9, 3.0])
    affine[:3, 3] = (-31.25, 12.5, 100.75)
    return Grid((9, 7, 5), affine)


def volume(grid: Grid, unit: Unit = Unit.HU, *, scale: float = 300.0, whole: bool = True) -> Volume:
    image = np.random.default_rng(1).normal(0, scale, (1, *grid.shape)).astype(np.float32)
    return Volume(np.rint(image) if whole else image, grid, unit, ("x",))


def identity(**more: object) -> SeriesIdentity:
    return SeriesIdentity(Uids(b"key", ("p1", "c1")), "p1", "p1^", **more)  # type: ignore[arg-type]


def read_back(folder: Path) -> Volume:
    return read_series(sorted(folder.glob("*.dcm"))).volume


@pytest.mark.parametrize("grid", [Grid((9, 7, 5), np.diag([0.7, 0.9, 3, 1.0])), oblique_grid()])
def test_ct_round_trip_is_exact(tmp_path: Path, grid: Grid) -> None:
    written = volume(grid)
    write_series(written, identity(), tmp_path)
    found = read_back(tmp_path)
    assert np.array_equal(found.image, written.image)
    assert found.grid.agrees_with(grid, tolerance_mm=1e-6)
    assert found.unit is Unit.HU


def test_corner_lies_where_lps_says(tmp_path: Path) -> None:
    """The first stored pixel is the rightmost, foremost one: its LPS position is minus its RAS one in x and y."""
    grid = Grid((9, 7, 5), np.array([[0.7, 0, 0, 10], [0, 0.9, 0, 20], [0, 0, 3.0, 30], [0, 0, 0, 1]]))
    written = volume(grid)
    slices = write_series(written, identity(), tmp_path)
    right, front, low = 10 + 0.7 * 8, 20 + 0.9 * 6, 30.0
    assert np.allclose([float(v) for v in slices[0].ImagePositionPatient], [-right, -front, low])
    assert [float(v) for v in slices[0].ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
    assert [float(v) for v in slices[0].PixelSpacing] == [0.9, 0.7]
    stored = pydicom.dcmread(tmp_path / "0001.dcm")
    hu = stored.pixel_array[0, 0] * stored.RescaleSlope + stored.RescaleIntercept
    assert hu == written.image[0, -1, -1, 0]


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "slices", "cosines"),
    [
        ((9, 7, 5), (0.7, 0.9, 3.0), 5, [1, 0, 0, 0, 1, 0]),
        ((5, 9, 7), (3.0, 0.9, 0.7), 5, [0, 1, 0, 0, 0, -1]),
        ((9, 5, 7), (0.7, 3.0, 0.9), 5, [1, 0, 0, 0, 0, -1]),
        ((1, 9, 7), (1.0, 1.0, 1.0), 1, [0, 1, 0, 0, 0, -1]),
        ((9, 7, 5), (0.97, 0.97, 0.6), 5, [1, 0, 0, 0, 1, 0]),
    ],
)
def test_slices_are_cut_as_they_were_scanned(
    tmp_path: Path,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    slices: int,
    cosines: list[float],
) -> None:
    grid = Grid(shape, np.diag([*spacing_mm, 1.0]))
    written = write_series(volume(grid), identity(), tmp_path)
    assert len(written) == slices
    assert [float(value) for value in written[0].ImageOrientationPatient] == cosines
    found = read_back(tmp_path)
    assert np.array_equal(found.image, volume(grid).image)
    assert found.grid.agrees_with(grid, tolerance_mm=1e-6)


def test_hu_below_air_are_kept(tmp_path: Path) -> None:
    written = volume(oblique_grid(), scale=1000)
    assert written.image.min() < -1024
    write_series(written, identity(), tmp_path)
    assert np.array_equal(read_back(tmp_path).image, written.image)


def test_fractions_of_hu_lose_at_most_half_a_step_and_say_so(tmp_path: Path) -> None:
    written = volume(oblique_grid(), whole=False)
    written.image[0, :5] = np.rint(written.image[0, :5])
    slices = write_series(written, identity(), tmp_path)
    found, step = read_back(tmp_path).image, float(slices[0].RescaleSlope)
    assert step <= 1 / 16
    assert 0 < np.abs(found - written.image).max() <= step / 2
    assert np.array_equal(found[0, :5], written.image[0, :5])
    assert f"in steps of {step:g}" in slices[0].DerivationDescription


@pytest.mark.parametrize(
    ("scale", "whole", "step"), [(300, True, 0), (90000, True, 9.0), (0.01, False, 1e-6), (300, False, 0.03)]
)
def test_mr_round_trip_loses_at_most_half_a_step(
    tmp_path: Path, scale: float, whole: bool, step: float
) -> None:
    written = volume(oblique_grid(), Unit.ARBITRARY, scale=scale, whole=whole)
    write_series(written, identity(modality="MR"), tmp_path)
    found = read_back(tmp_path)
    assert np.abs(found.image - written.image).max() <= step
    assert found.unit is Unit.ARBITRARY


def test_flat_image(tmp_path: Path) -> None:
    grid = oblique_grid()
    flat = Volume(np.full((1, *grid.shape), 0.5, np.float32), grid, Unit.ARBITRARY, ("x",))
    write_series(flat, identity(modality="MR"), tmp_path)
    assert np.array_equal(read_back(tmp_path).image, flat.image)


def test_sheared_grid_is_refused(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1, 3, 1])
    affine[0, 2] = 0.3
    with pytest.raises(GeometryError, match="sheared"):
        write_series(volume(Grid((9, 7, 5), affine)), identity(), tmp_path)


def label_map(grid: Grid) -> LabelMap:
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:4, 2:5, 1:3] = 1
    labels[6, 6, 4] = 3
    return LabelMap(labels, grid, CLASSES)


def test_segmentation_round_trip(tmp_path: Path) -> None:
    grid = oblique_grid()
    slices = write_series(volume(grid), identity(), tmp_path / "ct")
    write_seg(label_map(grid), slices, identity(), tmp_path / "seg.dcm")
    series = read_series(sorted((tmp_path / "ct").iterdir()))
    seg = read_seg(tmp_path / "seg.dcm", target_of(series))
    assert [segment.name for segment in seg.segments] == ["solid", "ground_glass"]
    assert np.array_equal(combine(seg.segments, CLASSES).labels, label_map(grid).labels)


def test_segments_are_coded(tmp_path: Path) -> None:
    grid = oblique_grid()
    labels = label_map(grid).labels.copy()
    labels[0, 0, 0] = 2
    slices = write_series(volume(grid), identity(), tmp_path / "ct")
    write_seg(LabelMap(labels, grid, CLASSES), slices, identity(), tmp_path / "seg.dcm")
    segments = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    types = [item.SegmentedPropertyTypeCodeSequence[0] for item in segments]
    solid, odd, opaque = ((code.CodeValue, code.CodingSchemeDesignator) for code in types)
    assert (solid, opaque) == (("27925004", "SCT"), ("112120", "DCM"))
    assert odd[1] == "99MEDAUG"
    assert types[1].CodeMeaning == "odd class"
    assert [item.SegmentLabel for item in segments] == list(CLASSES)


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "OT"])
def test_captures_where_geometry_or_modality_is_missing(tmp_path: Path, modality: str) -> None:
    grid = oblique_grid()
    image = np.random.default_rng(0).normal(0, 9, (1, *grid.shape)).astype(np.float32)
    for known in (True, False):
        nominal = Volume(image, grid, Unit.ARBITRARY, ("x",), spacing_known=known)
        slices = write_series(nominal, identity(modality=modality), tmp_path / f"{known}")
        is_capture = not known or modality in ("PT", "OT")
        assert (slices[0].SOPClassUID == SecondaryCaptureImageStorage) is is_capture
        assert slices[0].Modality == modality
        places = {"ImagePositionPatient", "PixelSpacing", "FrameOfReferenceUID", "SliceThickness"}
        assert {word for word in places if word in slices[0]} == (places if known else set())


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segmentation_of_slices_that_lie_nowhere(tmp_path: Path, kind: SegmentationType) -> None:
    grid = oblique_grid()
    image = np.random.default_rng(0).normal(0, 9, (1, *grid.shape)).astype(np.float32)
    nominal = Volume(image, grid, Unit.ARBITRARY, ("x",), spacing_known=False)
    slices = write_series(nominal, identity(modality="MR"), tmp_path / "sc")
    write_seg(label_map(grid), slices, identity(modality="MR"), tmp_path / "seg.dcm", SegSettings(kind))
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert "FrameOfReferenceUID" not in seg
    assert "PlanePositionSequence" not in seg.PerFrameFunctionalGroupsSequence[0]
    case = Case("c1", "p1", nominal, label_map(grid))
    target = require_same_image(case, 0, sorted((tmp_path / "sc").iterdir()))
    require_same_labels(case, target, tmp_path / "seg.dcm", CLASSES)
    moved = LabelMap(np.roll(label_map(grid).labels, 1, axis=2), grid, CLASSES)
    with pytest.raises(LabelError, match="differs"):
        require_same_labels(replace(case, label_map=moved), target, tmp_path / "seg.dcm", CLASSES)


@pytest.mark.parametrize("modality", ["CT", "OT"])
def test_what_is_not_in_ras_order_is_read_back_too(tmp_path: Path, modality: str) -> None:
    affine = np.array([[0, 3.0, 0, 5], [0, 0, -0.7, 6], [-0.9, 0, 0, 7], [0, 0, 0, 1.0]])
    grid = Grid((9, 7, 5), affine)
    case = Case("c1", "p1", volume(grid), label_map(grid))
    slices = write_series(volume(grid), identity(modality=modality), tmp_path / "images")
    write_seg(label_map(grid), slices, identity(), tmp_path / "seg.dcm")
    target = require_same_image(case, 0, sorted((tmp_path / "images").iterdir()))
    require_same_labels(case, target, tmp_path / "seg.dcm", CLASSES)


def test_a_series_that_differs_is_told(tmp_path: Path) -> None:
    written = volume(oblique_grid())
    write_series(written, identity(), tmp_path)
    files = sorted(tmp_path.iterdir())
    case = Case("c1", "p1", written, None)
    require_same_image(case, 0, files)
    brighter = replace(written, image=written.image + 1)
    with pytest.raises(UnreadableError, match="other values"):
        require_same_image(replace(case, volume=brighter), 0, files)
    affine = np.array(written.grid.affine)
    affine[0, 3] += 0.01
    moved = replace(written, grid=Grid(written.grid.shape, affine))
    with pytest.raises(GeometryError, match="elsewhere"):
        require_same_image(replace(case, volume=moved), 0, files)


def test_label_map_object_holds_classes_and_codes(tmp_path: Path) -> None:
    grid = oblique_grid()
    slices = write_series(volume(grid), identity(), tmp_path / "ct")
    settings = SegSettings("LABELMAP", parse_terms("solid=99ACME:17:Solid part"))
    write_seg(label_map(grid), slices, identity(), tmp_path / "seg.dcm", settings)
    series = read_series(sorted((tmp_path / "ct").iterdir()))
    seg = read_seg(tmp_path / "seg.dcm", target_of(series))
    assert np.array_equal(combine(seg.segments, CLASSES).labels, label_map(grid).labels)
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    types = {
        item.SegmentLabel: item.SegmentedPropertyTypeCodeSequence[0].CodeValue
        for item in header.SegmentSequence
        if item.SegmentNumber
    }
    assert types == {"solid": "17", "ground_glass": "112120"}
    assert [item.CodingSchemeDesignator for item in header.CodingSchemeIdentificationSequence] == ["99ACME"]


def test_another_content_is_another_object(tmp_path: Path) -> None:
    grid = oblique_grid()
    slices = write_series(volume(grid), identity(), tmp_path / "ct")
    other = label_map(grid).labels[::-1].copy()
    coded = SegSettings(terms=parse_terms("solid=99ACME:17"))
    maps = [(label_map(grid), SegSettings()), (LabelMap(other, grid, CLASSES), SegSettings())]
    maps += [(label_map(grid), SegSettings("LABELMAP")), (label_map(grid), coded)]
    uids = set()
    for labels, settings in maps:
        write_seg(labels, slices, identity(), tmp_path / "seg.dcm", settings)
        header = pydicom.dcmread(tmp_path / "seg.dcm")
        uids |= {header.SOPInstanceUID, header.SeriesInstanceUID}
    assert len(uids) == 8


def test_empty_label_map_is_refused(tmp_path: Path) -> None:
    grid = oblique_grid()
    slices = write_series(volume(grid), identity(), tmp_path / "ct")
    empty = LabelMap(np.zeros(grid.shape, np.uint8), grid, CLASSES)
    with pytest.raises(LabelError, match="empty"):
        write_seg(empty, slices, identity(), tmp_path / "seg.dcm")


@pytest.mark.parametrize("is_synthetic", [True, False])
def test_same_call_gives_the_same_bytes(tmp_path: Path, is_synthetic: bool) -> None:
    grid, mine = oblique_grid(), identity(is_synthetic=is_synthetic, description="Größe")
    for name in ("a", "b"):
        slices = write_series(volume(grid), mine, tmp_path / name)
        write_seg(label_map(grid), slices, mine, tmp_path / name / "seg.dcm")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_synthetic_mark_on_images_and_segmentation(tmp_path: Path) -> None:
    grid = oblique_grid()
    for is_synthetic in (True, False):
        mine = identity(is_synthetic=is_synthetic)
        slices = write_series(volume(grid), mine, tmp_path)
        write_seg(label_map(grid), slices, mine, tmp_path / "seg.dcm")
        for path in (tmp_path / "0001.dcm", tmp_path / "seg.dcm"):
            dataset = pydicom.dcmread(path)
            assert dataset[0x0008, 0x001C].value == ("YES" if is_synthetic else "NO")
            assert ("ContributingEquipmentSequence" in dataset) is is_synthetic
            assert dataset.ImageType[1] == (
                "SECONDARY" if is_synthetic and path.name[0] == "0" else "PRIMARY"
            )
            if is_synthetic:
                (equipment,) = dataset.ContributingEquipmentSequence
                (purpose,) = equipment.PurposeOfReferenceCodeSequence
                assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")


def test_uids_are_valid_keyed_and_apart() -> None:
    uids = [Uids(key, (scope,)).uid(name) for key in (b"a", b"b") for scope in "pq" for name in ("x", "y")]
    assert len(set(uids)) == 8
    assert all(pydicom.uid.UID(one).is_valid and len(one) <= 64 for one in uids)
    assert Uids(b"a", ("p",)).uid("x") == uids[0]


def test_without_highdicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = oblique_grid()
    slices = write_series(volume(grid), identity(), tmp_path / "ct")
    for name in [name for name in sys.modules if name.partition(".")[0] == "highdicom"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(DependencyError, match=r"medaug\[dicom\]"):
        write_seg(label_map(grid), slices, identity(), tmp_path / "seg.dcm")
