"""Other spacings: everything stays at its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.case import Case
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.tasks._segmentation.resizing import (
    resample_case,
    resize_image,
    resize_labels,
    resize_shares,
    resized_shape,
)

TURNED = np.array([[0, -0.8, 0, 5], [0.8, 0, 0, -7], [0, 0, 2.5, 11], [0, 0, 0, 1.0]])
GRID = Grid((40, 30, 12), TURNED)


def case_of(grid):
    """Grey values and a ball that follow from the place in mm alone."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    place = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    centre = TURNED[:3, :3] @ (20, 14, 6) + TURNED[:3, 3]
    labels = (np.linalg.norm(place - centre, axis=-1) < 8).astype(np.uint8)
    image = (0.1 * place[..., 0] + 0.05 * place[..., 1] - 0.2 * place[..., 2])[None].astype(np.float32)
    volume = Volume(image, grid, Unit.HU, ("CT",))
    return Case("a", "a", volume, LabelMap(labels, grid, ("ball",)), site=(20, 14, 6))


CASE = case_of(GRID)


@pytest.mark.parametrize("target", [(0.4, 0.4, 1.25), (1.1, 1.0, 2.5), (0.5, 0.9), (1.6, 1.6, 5.0)])
def test_a_resampled_case_is_what_would_have_been_scanned(target):
    found = resample_case(CASE, target)
    onto = found.volume.grid
    assert onto.spacing_mm[: len(target)] == pytest.approx(target, rel=0.06)
    assert found.label_map is not None
    assert found.label_map.grid is onto
    expected = case_of(onto)
    i, j, k = (slice(4, -4) if n > 10 else slice(2, -2) for n in onto.shape)
    assert np.allclose(found.volume.image[0, i, j, k], expected.volume.image[0, i, j, k], atol=0.02)
    assert expected.label_map is not None
    ours, theirs = found.label_map.labels > 0, expected.label_map.labels > 0
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.9
    assert found.site is not None
    away = onto.to_mm(found.site) - GRID.to_mm((20, 14, 6))
    assert np.linalg.norm(away) <= np.linalg.norm(np.maximum(onto.spacing_mm, GRID.spacing_mm))


def test_the_outer_edges_stay():
    found = resample_case(CASE, (0.37, 1.3, 4.1)).volume.grid
    for corner in ((0, 0, 0), (1, 0, 1), (1, 1, 1)):
        edge = [np.array(corner) * n - 0.5 for n in (GRID.shape, found.shape)]
        assert GRID.to_mm(tuple(edge[0])) == pytest.approx(found.to_mm(tuple(edge[1])))


def test_the_same_spacing_changes_nothing():
    assert resample_case(CASE, GRID.spacing_mm) is CASE
    assert resample_case(CASE, None) is CASE
    assert resized_shape(GRID, (0.8,)) == GRID.shape


def test_an_unlabelled_case_stays_unlabelled():
    assert resample_case(replace(CASE, label_map=None, site=None), (1, 1, 1)).label_map is None


def test_values_between_voxels_are_those_of_a_cubic():
    line = (np.arange(16.0) ** 2 / 20).astype(np.float32).reshape(1, 16, 1, 1)
    finer = resize_image(line, (32, 1, 1))[0, :, 0, 0]
    places = (np.arange(32) + 0.5) / 2 - 0.5
    assert np.allclose(finer[6:-6], places[6:-6] ** 2 / 20, atol=5e-3)


def test_fine_texture_becomes_grey_not_another_texture():
    stripes = np.tile(np.array([0, 1], np.float32), 32).reshape(1, 64, 1, 1)
    coarse = resize_image(np.broadcast_to(stripes, (1, 64, 8, 3)), (24, 8, 3))
    assert np.abs(coarse[:, 3:-3] - 0.5).max() < 0.1


def test_labels_keep_their_ids_and_their_share():
    labels = np.zeros((20, 20, 10), dtype=np.uint8)
    labels[:10, :, 5:], labels[10:, 4:12] = 3, 7
    for shape in ((30, 26, 10), (14, 20, 7)):
        found = resize_labels(labels, shape)
        assert found.dtype == np.uint8
        assert found.shape == shape
        for number in (0, 3, 7):
            assert (found == number).mean() == pytest.approx((labels == number).mean(), abs=0.05)


def test_shares_go_on_to_sum_to_one():
    shares = np.random.default_rng(0).dirichlet((1, 1, 1), size=(6, 5, 4)).astype(np.float32)
    found = resize_shares(np.moveaxis(shares, -1, 0), (9, 4, 8))
    assert found.shape == (3, 9, 4, 8)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)
    assert found.min() >= 0
