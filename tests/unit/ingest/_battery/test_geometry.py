"""Checks of grids: silent on what scanners make, loud on what they do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaug.core.findings import Finding
from medaug.core.geometry import Grid
from medaug.ingest._battery import geometry


def _grid(spacing: tuple[float, float, float], shape: tuple[int, int, int] = (64, 64, 20)) -> Grid:
    return Grid(shape, np.diag([*spacing, 1.0]))


def _all(grid: Grid) -> list[Finding]:
    found = [
        check(grid, "c")
        for check in (
            geometry.check_anisotropy,
            geometry.check_voxel_size,
            geometry.check_field_of_view,
            geometry.check_shear,
        )
    ]
    return [one for one in found if one is not None]


@given(st.floats(0.3, 1.5), st.floats(0.5, 3.0))
def test_usual_grids_are_fine(in_plane: float, between: float) -> None:
    assert _all(_grid((in_plane, in_plane, between))) == []


def test_a_turned_grid_is_fine() -> None:
    cosine, sine = np.cos(0.4), np.sin(0.4)
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    affine[:2, :2] = 0.8 * np.array([[cosine, -sine], [sine, cosine]])
    assert _all(Grid((64, 64, 20), affine)) == []


@pytest.mark.parametrize(
    ("grid", "code", "severity"),
    [
        (_grid((0.4, 0.4, 8.0)), "anisotropic", "flagged"),
        (_grid((0.02, 0.02, 0.02), (900, 900, 20)), "voxel-size", "flagged"),
        (_grid((20.0, 20.0, 20.0)), "voxel-size", "flagged"),
        (_grid((0.1, 0.1, 0.1)), "field-of-view", "flagged"),
        (_grid((10.0, 10.0, 10.0), (300, 64, 20)), "field-of-view", "flagged"),
        (Grid((64, 64, 20), np.eye(4) + 0.1 * np.eye(4, k=1) * [0, 1, 1, 0]), "sheared-grid", "refused"),
    ],
)
def test_each_fault_has_its_code(grid: Grid, code: str, severity: str) -> None:
    (found,) = _all(grid)
    assert (found.code, found.severity, found.case_id) == (code, severity, "c")


def test_one_slice_has_no_spacing_to_the_next() -> None:
    assert _all(_grid((0.2, 0.2, 100.0), (256, 256, 1))) == []
