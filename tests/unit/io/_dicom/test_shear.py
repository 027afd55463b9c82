"""A tilted gantry brought upright: linear patterns stay where they are in the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from medaug.core.findings import Code
from medaug.io.dicom import SeriesVolume, open_files, read_stack
from tests.unit.io.series import COLUMN, NORMAL, ORIGIN, ROW, SPACING, STEP_MM, write_series

ROWS, COLUMNS, SLICES = 12, 14, 5


def _place_mm(number: int, row: np.ndarray, column: np.ndarray, beside_mm: np.ndarray) -> np.ndarray:
    """LPS mm of pixels of a slice of the tilted series."""
    origin = ORIGIN + NORMAL * STEP_MM * number + beside_mm * number
    down, right = np.multiply.outer(row * SPACING[0], COLUMN), np.multiply.outer(column * SPACING[1], ROW)
    return np.asarray(origin + down + right)


def _linear(place_mm: np.ndarray) -> np.ndarray:
    """A pattern that linear interpolation keeps: it changes evenly through the patient."""
    return np.asarray(place_mm @ np.array([20.0, -30.0, 8.0]))


def _tilted(folder: Path, beside_mm: np.ndarray) -> SeriesVolume:
    row, column = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float64)
    stored = np.stack([np.rint(_linear(_place_mm(n, row, column, beside_mm))) for n in range(SLICES)])

    def edit(dataset: FileDataset, number: int) -> None:
        origin = ORIGIN + NORMAL * STEP_MM * number + beside_mm * number
        dataset.ImagePositionPatient = [round(float(v), 6) for v in origin]
        dataset.RescaleIntercept = "0"

    (stack,) = open_files(write_series(folder, stored.astype(np.int16), edit), tilt="resample")
    return read_stack(stack)


@pytest.mark.parametrize(
    "beside_mm",
    [ROW * 0.9, ROW * -0.45, COLUMN * 0.5, COLUMN * -0.8, ROW * 0.6, ROW * 0.3 + COLUMN * -0.4],
    ids=["right", "left", "down", "up", "one pixel", "both"],
)
def test_every_voxel_shows_what_lies_at_its_place(tmp_path: Path, beside_mm: np.ndarray) -> None:
    read = _tilted(tmp_path, beside_mm)
    assert [(f.code, f.severity) for f in read.findings] == [(Code.GANTRY_TILT, "fixed")]
    image, grid = read.volume.image[0], read.volume.grid
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    place_ras = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    expected = _linear(place_ras * [-1, -1, 1])
    inside = image > image.min()
    assert np.abs(image - expected)[inside].max() <= 1
    # no slice was cut: only its rim, where a neighbour for the interpolation is missing, is lost
    assert inside.sum() >= SLICES * (ROWS - 1) * (COLUMNS - 1) - 1


def test_the_upright_grid_is_orthogonal_and_holds_the_first_slice_exactly(tmp_path: Path) -> None:
    read = _tilted(tmp_path, ROW * 0.9)
    axes = read.affine_lps[:3, :3] / np.linalg.norm(read.affine_lps[:3, :3], axis=0)
    assert np.abs(axes.T @ axes - np.eye(3)).max() < 1e-6
    stored = read.turn.invert(read.volume.image[0])[:, :, 0].T
    row, column = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float64)
    first = np.rint(_linear(_place_mm(0, row, column, ROW * 0)))
    assert np.array_equal(stored[:ROWS, :COLUMNS], first)
