"""RT structure sets: every region on the pixels its contours enclose, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from medaug.core.errors import DataError
from medaug.core.geometry import Grid, lps_to_ras, to_ras
from medaug.io._dicom.contours import contours_of, regions
from medaug.io._dicom.polygons import fill
from medaug.io.annotations import Annotation, Target, open_dicom, target_of
from medaug.io.dicom import read_series
from medaug.io.headers import quiet_pydicom
from medaug.io.structures import read_structures
from tests.unit.io.series import reread, stored_values, write_series
from tests.unit.io.structure_sets import Drawn, write_structures

SQUARE = ((1.5, 0.5), (4.5, 0.5), (4.5, 3.5), (1.5, 3.5))
BIG = ((0.5, 0.5), (6.4, 0.5), (6.4, 4.6), (0.5, 4.6))
HOLE = ((1.5, 1.5), (5.5, 1.5), (5.5, 3.5), (1.5, 3.5))
ISLAND = ((2.5, 1.6), (3.5, 1.6), (3.5, 2.5), (2.5, 2.5))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = write_series(tmp_path / "ct", stored_values())
    return sorted(made, key=lambda path: -int(reread(path).InstanceNumber))


@pytest.fixture
def target(files: list[Path]) -> Target:
    return target_of(read_series(files))


def _layer(found: Annotation, files: list[Path], number: int, region: int = 0) -> list[list[int]]:
    """The (row, column) pairs of a region on a file."""
    series = read_series(files)
    stored = series.turn.invert(found.segments[region].mask).transpose(2, 1, 0)
    at = series.instance_uids.index(reread(files[number]).SOPInstanceUID)
    pairs: list[list[int]] = np.argwhere(stored[at]).tolist()
    return pairs


def _read(path: Path, files: list[Path], drawn: Sequence[Drawn], target: Target) -> Annotation:
    return read_structures(write_structures(path, files, {"lesion": drawn}), target)


def _box(rows: range, columns: range) -> list[list[int]]:
    return [[row, column] for row in rows for column in columns]


def _refusal(path: Path, target: Target) -> str:
    with pytest.raises(DataError) as refused:
        read_structures(path, target, where="case_1")
    assert refused.value.line().startswith("case_1: ")
    return refused.value.code


def _edit(path: Path, edit: Callable[[FileDataset], object]) -> Path:
    with quiet_pydicom():
        made = reread(path)
        edit(made)
        made.save_as(path)
    return path


def test_regions_lie_where_they_were_drawn_on_an_oblique_grid(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    drawn = {"GTV ": [Drawn(1, SQUARE), Drawn(3, BIG)], "Organ": [Drawn(0, HOLE)]}
    found = read_structures(write_structures(tmp_path / "rt", files, drawn), target)
    assert [(s.number, s.name) for s in found.segments] == [(1, "GTV"), (2, "Organ")]
    assert _layer(found, files, 1) == _box(range(1, 4), range(2, 5))
    assert _layer(found, files, 3) == _box(range(1, 5), range(1, 7))
    assert [s.voxels for s in found.segments] == [9 + 24, 8]
    assert found.findings == ()
    only = read_structures(tmp_path / "rt", target, numbers={2})
    assert [s.name for s in only.segments] == ["Organ"]


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_inner_contours_are_holes_and_islands_in_any_order(
    tmp_path: Path, files: list[Path], target: Target, kind: str
) -> None:
    drawn = [Drawn(2, ISLAND, kind), Drawn(2, BIG, kind), Drawn(2, HOLE, kind)]
    found = _read(tmp_path / "rt", files, drawn, target)
    expected = [p for p in _box(range(1, 5), range(1, 7)) if p not in _box(range(2, 4), range(2, 6))]
    assert _layer(found, files, 2) == sorted([*expected, [2, 3]])
    assert found.findings == ()


def test_several_contours_on_a_slice_and_a_keyhole(tmp_path: Path, files: list[Path], target: Target) -> None:
    near, far = (
        ((0.5, 0.5), (1.5, 0.5), (1.5, 1.5), (0.5, 1.5)),
        ((4.5, 2.5), (5.5, 2.5), (5.5, 3.5), (4.5, 3.5)),
    )
    found = _read(tmp_path / "rt", files, [Drawn(2, near), Drawn(2, far)], target)
    assert _layer(found, files, 2) == [[1, 1], [3, 5]]
    keyhole = (
        *BIG[:1],
        BIG[1],
        BIG[2],
        BIG[3],
        (0.5, 2.5),
        *HOLE[3:],
        *HOLE[2:3],
        *HOLE[1:2],
        *HOLE[:1],
        HOLE[3],
        (0.5, 2.5),
    )
    found = _read(tmp_path / "rt", files, [Drawn(2, keyhole)], target)
    assert _layer(found, files, 2)[:3] == [[1, 1], [1, 2], [1, 3]]
    assert [2, 3] not in _layer(found, files, 2)


def test_contours_on_pixel_centres_are_not_lost_in_rounding(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    found = _read(tmp_path / "rt", files, [Drawn(2, ((1, 1), (4, 1), (4, 3), (1, 3)))], target)
    assert _layer(found, files, 2) == _box(range(1, 3), range(1, 4))


def test_points_open_curves_and_empty_regions_are_said(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    marks = [
        Drawn(1, ((2, 2),), "POINT"),
        Drawn(1, SQUARE, "OPEN_PLANAR"),
        Drawn(1, SQUARE, "OPEN_NONPLANAR"),
        Drawn(1, SQUARE[:2]),
    ]
    drawn = {"lesion": [Drawn(1, SQUARE), *marks], "marks": marks[:1], "nothing": []}
    found = read_structures(write_structures(tmp_path / "rt", files, drawn), target)
    assert [s.name for s in found.segments] == ["lesion"]
    assert [(f.code, f.severity) for f in found.findings] == [
        ("contour-ignored", "flagged"),
        ("segment-empty", "flagged"),
    ]
    assert found.findings[0].message.startswith("5 points")
    assert found.findings[1].message.startswith("2 regions")
    tiny = [Drawn(1, ((2.2, 2.2), (2.4, 2.2), (2.4, 2.4)))]
    assert [f.code for f in _read(tmp_path / "rt", files, tiny, target).findings] == ["segment-empty"]


def test_a_contour_that_stands_twice_is_drawn_once(tmp_path: Path, files: list[Path], target: Target) -> None:
    again = (*SQUARE[2:], *SQUARE[:2])
    found = _read(tmp_path / "rt", files, [Drawn(1, SQUARE), Drawn(1, again)], target)
    assert found.segments[0].voxels == 9
    assert [f.code for f in found.findings] == ["contour-ignored"]
    wiped = [Drawn(1, SQUARE, "CLOSEDPLANAR_XOR")] * 2
    assert _read(tmp_path / "rt", files, wiped, target).segments[0].voxels == 0


def test_contours_on_every_other_slice_are_flagged(tmp_path: Path, files: list[Path], target: Target) -> None:
    found = _read(tmp_path / "rt", files, [Drawn(n, SQUARE) for n in (0, 2, 4)], target)
    assert [(f.code, f.severity) for f in found.findings] == [("contour-gaps", "flagged")]
    assert found.segments[0].voxels == 27
    for slices in ((0, 4), (0, 1, 4)):
        assert _read(tmp_path / "rt", files, [Drawn(n, SQUARE) for n in slices], target).findings == ()


def test_contours_that_cross_are_refused_or_flagged(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    beside = ((2.5, 1.5), (6.4, 1.5), (6.4, 4.5), (2.5, 4.5))
    path = write_structures(tmp_path / "rt", files, {"lesion": [Drawn(1, SQUARE), Drawn(1, beside)]})
    assert _refusal(path, target) == "contours-cross"
    barely = ((4.4, 2.5), (6.4, 2.5), (6.4, 4.5), (3.6, 4.5), (3.6, 2.5))
    found = _read(tmp_path / "rt", files, [Drawn(1, SQUARE), Drawn(1, barely)], target)
    assert [(f.code, f.severity) for f in found.findings] == [("contours-cross", "flagged")]
    assert [3, 4] not in _layer(found, files, 1)
    xor = [Drawn(1, SQUARE, "CLOSEDPLANAR_XOR"), Drawn(1, beside, "CLOSEDPLANAR_XOR")]
    assert _read(tmp_path / "rt", files, xor, target).findings == ()


def test_what_reaches_outside_the_image_is_cut_with_a_finding(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    wide = ((-3.0, 1.5), (30.0, 1.5), (30.0, 2.5), (-3.0, 2.5))
    found = _read(tmp_path / "rt", files, [Drawn(1, wide)], target)
    assert _layer(found, files, 1) == _box(range(2, 3), range(7))
    assert [(f.code, f.severity) for f in found.findings] == [("contour-cut", "flagged")]


@pytest.mark.parametrize("off", [0.3, -0.4, 40.0])
def test_a_contour_off_the_slices_is_refused(
    tmp_path: Path, files: list[Path], target: Target, off: float
) -> None:
    path = write_structures(tmp_path / "rt", files, {"lesion": [Drawn(1, SQUARE), Drawn(2, SQUARE, off=off)]})
    assert _refusal(path, target) == "contour-off-slice"


def test_rounding_and_tilted_contours(tmp_path: Path, files: list[Path], target: Target) -> None:
    assert _read(tmp_path / "rt", files, [Drawn(1, SQUARE, off=0.05)], target).segments[0].voxels == 9

    def tilted(made: FileDataset) -> None:
        contour = made.ROIContourSequence[0].ContourSequence[0]
        values = [float(v) for v in contour.ContourData]
        contour.ContourData = [f"{v + (n % 2 and n * 0.4):.6g}" for n, v in enumerate(values)]

    assert _refusal(_edit(tmp_path / "rt", tilted), target) == "contour-off-slice"


def test_images_that_are_not_there_are_counted(tmp_path: Path, files: list[Path], target: Target) -> None:
    write_structures(tmp_path / "rt", files, {"lesion": [Drawn(1, SQUARE), Drawn(4, SQUARE)]})
    fewer = target_of(read_series(files[:4]))
    with pytest.raises(DataError, match=r"1 of the 2 contours .* 1 image .* not there") as refused:
        read_structures(tmp_path / "rt", fewer)
    assert refused.value.code == "reference-missing"
    write_structures(tmp_path / "rt", files, {"lesion": [Drawn(1, SQUARE)]})
    found = read_structures(tmp_path / "rt", fewer)
    assert [(f.code, f.severity) for f in found.findings] == [("reference-missing", "flagged")]
    assert "1 of the 5 images" in found.findings[0].message


def test_another_image_or_space_is_refused(tmp_path: Path, files: list[Path], target: Target) -> None:
    path = write_structures(tmp_path / "rt", files, {"lesion": [Drawn(1, SQUARE)]})
    other = replace(target, frame_of_reference_uid="1.2.3")
    assert _refusal(path, other) == "reference-missing"
    swapped = replace(target, instance_uids=target.instance_uids[1:] + target.instance_uids[:1])
    assert _refusal(path, swapped) == "contour-off-slice"
    strangers = replace(target, frame_of_reference_uid="", instance_uids=("9",) * 5)
    assert _refusal(path, strangers) == "reference-missing"
    assert _refusal(files[0], target) == "unsupported-class"


def test_a_nifti_image_takes_structures_by_place_alone(
    tmp_path: Path, files: list[Path], target: Target
) -> None:
    path = write_structures(tmp_path / "rt", files, {"lesion": [Drawn(1, SQUARE), Drawn(2, HOLE)]})
    expected = read_structures(path, target).segments[0].mask
    assert np.array_equal(read_structures(path, Target(target.grid)).segments[0].mask, expected)


def _first(made: FileDataset) -> FileDataset:
    contour: FileDataset = made.ROIContourSequence[0].ContourSequence[0]
    return contour


BROKEN: dict[str, tuple[str, Callable[[FileDataset], object]]] = {
    "count": ("truncated-file", lambda made: setattr(_first(made), "NumberOfContourPoints", 5)),
    "triplet": ("truncated-file", lambda made: setattr(_first(made), "ContourData", ["1"] * 10)),
    "nan": ("truncated-file", lambda made: setattr(_first(made), "ContourData", ["nan"] * 12)),
    "far": ("contour-off-slice", lambda made: setattr(_first(made), "ContourData", ["1e30"] * 12)),
    "kind": ("unreadable", lambda made: setattr(_first(made), "ContourGeometricType", "SPLINE")),
    "kindless": ("unreadable", lambda made: delattr(_first(made), "ContourGeometricType")),
    "nameless": ("truncated-file", lambda made: delattr(made, "StructureSetROISequence")),
    "contourless": ("truncated-file", lambda made: delattr(made, "ROIContourSequence")),
    "unnamed": ("label-id-unknown", lambda made: setattr(made, "StructureSetROISequence", [])),
    "number": ("truncated-file", lambda made: delattr(made.ROIContourSequence[0], "ReferencedROINumber")),
}


@pytest.mark.parametrize("fault", sorted(BROKEN))
def test_broken_sets_are_refused_by_code(
    tmp_path: Path, files: list[Path], target: Target, fault: str
) -> None:
    path = write_structures(tmp_path / "rt", files, {"lesion": [Drawn(1, SQUARE)]})
    code, edit = BROKEN[fault]
    assert _refusal(_edit(path, edit), target) == code


def test_a_set_that_is_cut_anywhere_is_refused(tmp_path: Path, files: list[Path], target: Target) -> None:
    content = write_structures(tmp_path / "rt", files, {"lesion": [Drawn(1, SQUARE)]}).read_bytes()
    for length in range(400, len(content) - 1, 97):
        (tmp_path / "cut").write_bytes(content[:length])
        assert _refusal(tmp_path / "cut", target) in ("truncated-file", "unsupported-class", "unreadable")


def _mock_target(folder: Path) -> Target:
    """The two slices of the real series beside the structure sets, from their headers."""
    slices = sorted((reread(folder / f"ct_{n}.dcm") for n in (1, 2)), key=lambda s: s.ImagePositionPatient[2])
    affine = np.diag([0.488281, 0.488281, 5.0, 1.0])
    affine[:3, 3] = -125, -125, 60
    grid, _ = to_ras(Grid((512, 512, 2), lps_to_ras(affine)))
    uids = tuple(str(one.SOPInstanceUID) for one in slices)
    return Target(grid, str(slices[0].FrameOfReferenceUID), uids, affine_lps=affine)


def test_real_sets_with_broken_references_are_refused_for_the_staged_reason(medaug_data: Path) -> None:
    folder = medaug_data / "dicom" / "rtstruct" / "mock_data"
    target = _mock_target(folder)
    for name in ("rt", "invalid_reference_rt", "non_existent_reference_rt"):
        assert _refusal(folder / f"{name}.dcm", target) == "reference-missing"
    # in its own space the first one is whole: an outline and a hole in it
    found = read_structures(folder / "rt.dcm", replace(target, frame_of_reference_uid=""))
    assert [s.voxels for s in found.segments] == [1443]


def test_real_contours_hold_as_many_pixels_as_their_staged_area(medaug_data: Path) -> None:
    folder = medaug_data / "dicom" / "rtstruct"
    answers = json.loads((folder.parent / "answers.json").read_text())["rtstruct"]
    inverse = np.linalg.inv(np.diag([0.488281, 0.488281, 5.0]))
    checked = 0
    for name in ("rt", "invalid_reference_rt", "non_existent_reference_rt"):
        dataset, _ = open_dicom(folder / "mock_data" / f"{name}.dcm")
        staged = answers[f"mock_data/{name}.dcm"]["polygon_area_in_pixels"]
        for region in regions(dataset):
            pixels: dict[str, int] = {}
            for contour in contours_of(dataset, region.number):
                index = (contour.points_mm - (-125, -125, 60)) @ inverse.T
                where = {0: "0", 1: "1"}.get(round(index[0, 2]), "z=70 (no slice)")
                pixels[where] = pixels.get(where, 0) + fill(index[:, :2], (512, 512)).pixels
            assert pixels == {
                where: pytest.approx(size, abs=2) for where, size in staged[region.name].items()
            }
            checked += len(pixels)
    assert checked == 25


def test_real_oblique_slices_take_contours(tmp_path: Path, medaug_data: Path) -> None:
    folder = medaug_data / "dicom" / "rtstruct" / "oriented_data"
    files = sorted(folder.glob("*.dcm"))
    wide = ((10.5, 5.5), (60.5, 5.5), (60.5, 40.5), (10.5, 40.5))
    path = write_structures(tmp_path / "rt", files, {"mass": [Drawn(n, wide) for n in range(3)]})
    found = read_structures(path, target_of(read_series(files)))
    assert found.segments[0].voxels == 3 * 50 * 35
    for number in range(3):
        assert _layer(found, files, number) == _box(range(6, 41), range(11, 61))
