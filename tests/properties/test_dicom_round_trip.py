"""Whatever grid an image has, its DICOM series puts every voxel back where it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medaug.core.geometry import Grid, to_ras
from medaug.core.volume import Unit, Volume
from medaug.io.dicom import read_series
from medaug.layouts.dicom import SeriesIdentity, Uids, write_series

SIZES = st.integers(2, 5)
SPACINGS = st.floats(0.3, 6.0)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(SIZES, SIZES, SIZES),
    spacing_mm=st.tuples(SPACINGS, SPACINGS, SPACINGS),
    turn=st.integers(0, 2**32 - 1),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
)
def test_series_gives_back_voxels_and_places(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    turn: int,
    origin: tuple[float, float, float],
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=turn).as_matrix() @ np.diag(spacing_mm)
    affine[:3, 3] = origin
    grid, _ = to_ras(Grid(shape, affine))
    image = np.random.default_rng(turn).integers(-1000, 2000, (1, *grid.shape)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        volume = Volume(image, grid, Unit.HU, ("CT",))
        write_series(volume, SeriesIdentity(Uids(b"k", ("p",)), "p", "p^"), Path(folder))
        found = read_series(sorted(Path(folder).iterdir())).volume
    assert np.array_equal(found.image, image)
    assert found.grid.agrees_with(grid, tolerance_mm=1e-4)
