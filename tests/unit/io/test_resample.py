"""Label maps onto another grid: the nearest voxel, and nothing lost in silence."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import GeometryError
from medaug.core.geometry import Grid
from medaug.io.resample import Resampled, require_kept, resample_labels

GRID = Grid((6, 5, 4), np.diag([1.0, 1, 2, 1]))


def _labels() -> np.ndarray:
    labels = np.zeros(GRID.shape, np.int32)
    labels[1:3, 1:4, 1:3], labels[5, 4, 3] = 1, 7
    return labels


def _moved(scale: float, shift: float, shape: tuple[int, int, int]) -> Grid:
    affine = np.array(GRID.affine) @ np.diag([scale, scale, scale, 1])
    affine[:3, 3] += shift
    return Grid(shape, affine)


def test_the_same_grid_gives_the_same_labels() -> None:
    same = resample_labels(_labels(), GRID, GRID)
    assert np.array_equal(same.labels, _labels())
    assert (same.lost, same.outside) == (0, 0.0)
    require_kept(same)


def test_every_voxel_takes_the_label_its_centre_lies_in() -> None:
    # an oblique grid, asked voxel by voxel
    turn = np.array([[0.8, -0.6, 0, 1.1], [0.6, 0.8, 0, -0.7], [0, 0, 1.3, 0.4], [0, 0, 0, 1]])
    onto = Grid((5, 6, 4), turn)
    found = resample_labels(_labels(), GRID, onto).labels
    for index in np.ndindex(onto.shape):
        at = np.floor(GRID.to_index(tuple(onto.to_mm(index))) + 0.5).astype(int)
        inside = all(0 <= n < size for n, size in zip(at, GRID.shape, strict=True))
        assert found[index] == (_labels()[tuple(at)] if inside else 0)
    assert found.any()


def test_a_finer_grid_keeps_shares_and_another_order_of_axes_is_followed() -> None:
    fine = resample_labels(_labels(), GRID, _moved(0.5, -0.25, (12, 10, 8)))
    assert np.array_equal(np.unique(fine.labels, return_counts=True)[1][1:], [12 * 8, 8])
    turned = Grid((4, 6, 5), np.array(GRID.affine)[:, [2, 0, 1, 3]])
    assert np.array_equal(resample_labels(_labels(), GRID, turned).labels, _labels().transpose(2, 0, 1))


def test_lost_lesions_are_counted_and_refused() -> None:
    coarse = resample_labels(_labels(), GRID, _moved(2.0, 0.0, (3, 3, 2)))
    assert coarse.lost == 1
    assert coarse.outside == pytest.approx(1 / 13)
    with pytest.raises(GeometryError, match="loses 1 lesion") as refused:
        require_kept(coarse)
    assert refused.value.code == "label-grid"


def test_what_lies_outside_is_measured_and_refused_if_it_is_most() -> None:
    labels = _labels()
    labels[5, 4, 3] = 0
    half = resample_labels(labels, GRID, Grid((6, 5, 2), GRID.affine))
    assert (half.lost, half.outside) == (0, 0.5)
    require_kept(half)
    with pytest.raises(GeometryError, match="67% of the label lie outside") as refused:
        require_kept(Resampled(half.labels, 0, 2 / 3))
    assert refused.value.code == "label-grid"
    assert resample_labels(labels * 0, GRID, GRID).outside == 0
