"""What is written, judged by others: dciodvfy and dcentvfy, highdicom and SimpleITK."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from medaug.core.geometry import lps_to_ras
from medaug.layouts._dicom.placing import frames_of
from medaug.layouts._dicom.segmentation import SegmentationType
from scripts.check_dicom_out import ALLOWED, contradictions, errors_of, missing
from tests.unit.layouts._dicom.studies import CLASSES, KINDS, Study, write_study

PLACED = [kind for kind in KINDS if "nominal" not in kind]
needs_tools = pytest.mark.skipif(
    bool(missing()), reason="dciodvfy and dcentvfy are not installed (Debian: dicom3tools)"
)


@needs_tools
def test_every_kind_is_valid_and_all_agree(tmp_path: Path) -> None:
    for number, kind in enumerate(KINDS):
        for is_synthetic in (True, False):
            study = write_study(tmp_path / f"{number}_{is_synthetic}", kind, is_synthetic=is_synthetic)
            files = [study.seg, max(study.images.iterdir())]
            assert {path.name: errors_of(path) for path in files} == {path.name: () for path in files}, kind
    assert contradictions(sorted(tmp_path.rglob("*.dcm"))) == ()


@needs_tools
def test_the_tools_see_what_is_wrong(tmp_path: Path) -> None:
    study = write_study(tmp_path, "CT")
    header = pydicom.dcmread(study.images / "0001.dcm")
    del header.KVP
    header.StudyID = "9"
    header.save_as(study.images / "0001.dcm")
    (error,) = errors_of(study.images / "0001.dcm")
    assert "KVP" in error
    assert error not in ALLOWED
    assert "StudyID" in contradictions(sorted(tmp_path.rglob("*.dcm")))[0]


def wanted(study: Study) -> np.ndarray:
    """(slice, row, column) values, rounded to the steps that the headers state."""
    frames = frames_of(study.volume.image[0], study.volume.grid)
    header = pydicom.dcmread(study.images / "0001.dcm")
    step = float(header.get("RescaleSlope", 1))
    found = np.stack([_values(path) for path in sorted(study.images.iterdir())])
    assert np.abs(found - frames).max() <= step / 2
    return found


def _values(path: Path) -> np.ndarray:
    one = pydicom.dcmread(path)
    values = one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
    return np.asarray(values, np.float32)


@pytest.mark.parametrize("kind", ["CT", "MR", "MR fine", "PT"])
def test_highdicom_reads_the_same_volume(tmp_path: Path, kind: str) -> None:
    study = write_study(tmp_path, kind)
    series = [pydicom.dcmread(path) for path in sorted(study.images.iterdir())]
    volume = highdicom.get_volume_from_series(series, apply_voi_transform=False)
    # highdicom counts slices against their normal
    assert np.array_equal(volume.array[::-1].astype(np.float32), wanted(study))
    slices, rows, columns = volume.spatial_shape
    corners = np.array([[slices - 1, 0, 0], [0, rows - 1, columns - 1]])
    lps = corners @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    grid = study.volume.grid
    i, j, k = grid.shape
    ras = [grid.to_mm((i - 1, j - 1, 0)), grid.to_mm((0, 0, k - 1))]
    assert np.abs(lps * [-1, -1, 1] - ras).max() < 1e-3


@pytest.mark.parametrize("segmentation", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("kind", PLACED)
def test_highdicom_reads_the_same_classes(tmp_path: Path, kind: str, segmentation: SegmentationType) -> None:
    study = write_study(tmp_path, kind, segmentation=segmentation)
    seg = highdicom.seg.segread(study.seg)
    names = {seg.get_segment_description(n).segment_label: n for n in seg.segment_numbers if n}
    assert set(names) == set(CLASSES)
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in sorted(study.images.iterdir())]
    labels = frames_of(study.label_map.labels, study.volume.grid)
    for number, name in enumerate(CLASSES, start=1):
        found = seg.get_pixels_by_source_instance(
            uids, segment_numbers=[names[name]], combine_segments=True, ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )  # fmt: skip
        assert np.array_equal(found > 0, labels == number), name


@pytest.mark.parametrize("kind", KINDS)
def test_simpleitk_reads_the_same_volume(tmp_path: Path, kind: str) -> None:
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (pip install medaug[itk])")
    study = write_study(tmp_path, kind)
    reader = itk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in sorted(study.images.iterdir())])
    image = reader.Execute()
    assert np.array_equal(itk.GetArrayFromImage(image).astype(np.float32), wanted(study))
    if "nominal" in kind:
        return
    i, j, k = study.volume.grid.shape
    for index, voxel in (((0, 0, 0), (i - 1, j - 1, 0)), ((i - 1, j - 1, k - 1), (0, 0, k - 1))):
        lps = np.array([*image.TransformIndexToPhysicalPoint(index), 1.0])
        ras = lps_to_ras(np.eye(4)) @ lps
        assert np.abs(ras[:3] - study.volume.grid.to_mm(voxel)).max() < 1e-3
