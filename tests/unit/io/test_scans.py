"""Scans outside a dataset folder: found, read, and answered on their own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import DataError, GeometryError
from medaug.core.geometry import Grid
from medaug.core.volume import Unit
from medaug.io.nifti import write_volume
from medaug.io.scans import find_scans, read_scan
from tests.unit.io.series import stored_values, write_series

# i runs to the patient's back, j to the feet, k to the left
ODD = Grid((4, 5, 6), np.array([[0.0, 0, -3, 9], [-1, 0, 0, 4], [0, -2, 0, 8], [0, 0, 0, 1]]))


def write(path: Path, seed: int = 0, grid: Grid = ODD) -> np.ndarray:
    array = np.random.default_rng(seed).normal(size=grid.shape).astype(np.float32)
    write_volume(path, array, grid)
    return array


def test_labels_go_back_under_the_voxels_of_the_file(tmp_path: Path) -> None:
    array = write(tmp_path / "a.nii.gz")
    (files,) = find_scans(tmp_path, 1)
    scan = read_scan(files, ("T1",), Unit.ARBITRARY)
    assert scan.volume.grid.axcodes == "RAS"
    assert scan.stored_grid.agrees_with(ODD)
    labels = (scan.volume.image[0] > 0).astype(np.uint8)
    back = scan.stored(labels)
    assert np.array_equal(back, array > 0)


def test_channels_are_stacked_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (1, 0):
        write(tmp_path / f"case_{number:04d}.nii.gz", seed=number)
    (files,) = find_scans(tmp_path, 2)
    assert files.case_id == "case"
    scan = read_scan(files, ("A", "B"), Unit.ARBITRARY)
    one = read_scan(find_scans(tmp_path / "case_0001.nii.gz", 1)[0], ("B",), Unit.ARBITRARY)
    assert np.array_equal(scan.volume.image[1], one.volume.image[0])
    assert not np.array_equal(scan.volume.image[0], scan.volume.image[1])


def test_channels_on_different_grids_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "case_0000.nii.gz")
    write(tmp_path / "case_0001.nii.gz", grid=Grid(ODD.shape, np.eye(4)))
    (files,) = find_scans(tmp_path, 2)
    with pytest.raises(GeometryError, match="case: channels lie on different grids"):
        read_scan(files, ("A", "B"), Unit.ARBITRARY)


def test_a_tree_of_dicom_series_is_numbered_without_identifiers(tmp_path: Path) -> None:
    for name in ("Meier", "Schulze"):
        write_series(tmp_path / "in" / name, stored_values())
    found = find_scans(tmp_path / "in", 1)
    assert [files.case_id for files in found] == ["series_001", "series_002"]
    assert all(len(files.files) == 5 and files.is_dicom for files in found)
    assert read_scan(found[0], ("CT",), Unit.HU).series is not None
    assert found[0].sha256 != found[1].sha256


@pytest.mark.parametrize("source", ["missing", "empty", "other"])
def test_nothing_to_read(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").write_text("text")
    with pytest.raises(DataError):
        find_scans(tmp_path / source, 1)
