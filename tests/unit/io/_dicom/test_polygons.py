"""Polygons to pixels: the even-odd rule, exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from skimage.draw import polygon2mask

from medaug.io._dicom.polygons import area, fill

SHAPE = (14, 17)
# off the pixel centres, where other tools choose otherwise or not at all
_OFF_CENTRE = st.integers(-40, 200).map(lambda n: n / 10 + 0.0371)
_WHOLE = st.integers(-2, 18).map(float)


def _corners(number: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    pairs = st.lists(st.tuples(number, number), min_size=3, max_size=9)
    return pairs.map(lambda corners: np.array(corners, dtype=float))


def _mask(points: np.ndarray) -> np.ndarray:
    filled = fill(points, SHAPE)
    mask = np.zeros(SHAPE, bool)
    mask[filled.window] = filled.inside
    assert filled.pixels == mask.sum()
    return mask


def _by_definition(points: np.ndarray) -> np.ndarray:
    """Every pixel centre asks how many edges lie to its left, or on it."""
    mask = np.zeros(SHAPE, bool)
    for row, column in np.ndindex(SHAPE):
        for one, other in zip(points, np.roll(points, -1, axis=0), strict=True):
            (x0, y0), (x1, y1) = sorted((tuple(one), tuple(other)), key=lambda p: p[1])
            if y0 <= row < y1 and x0 + (row - y0) * ((x1 - x0) / (y1 - y0)) <= column:
                mask[row, column] ^= True
    return mask


@given(_corners(_OFF_CENTRE))
def test_random_polygons_are_as_defined(points: np.ndarray) -> None:
    assert np.array_equal(_mask(points), _by_definition(points))


@given(_corners(_WHOLE))
def test_corners_on_pixel_centres_are_no_exception(points: np.ndarray) -> None:
    mask = _mask(points)
    assert np.array_equal(mask, _by_definition(points))
    assert np.array_equal(mask, _mask(points[::-1]))
    assert np.array_equal(mask, _mask(np.roll(points, 2, axis=0)))
    assert np.array_equal(mask, _mask(np.vstack([points, points[:1]])))


def _convex(rng: np.random.Generator) -> np.ndarray:
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    return np.stack([8.1 + 6.03 * np.cos(angles), 6.2 + 5.07 * np.sin(angles)], axis=1)


def test_other_tools_agree_on_polygons_off_the_pixel_centres() -> None:
    rng = np.random.default_rng(4)
    rows, columns = np.indices(SHAPE)
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    for _ in range(40):
        points = _convex(rng)
        mask = _mask(points)
        assert mask.any()
        assert np.array_equal(mask.ravel(), Outline(points).contains_points(centres))
        assert np.array_equal(mask, polygon2mask(SHAPE, points[:, ::-1]))


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out() -> None:
    left = np.array([[0.0, 0], [5, 0], [8, 9], [0, 9]])
    right = np.array([[5.0, 0], [12, 0], [12, 9], [8, 9]])
    both = np.array([[0.0, 0], [12, 0], [12, 9], [0, 9]])
    assert not (_mask(left) & _mask(right)).any()
    assert np.array_equal(_mask(left) | _mask(right), _mask(both))
    assert _mask(both).sum() == area(both) == 108


def test_a_keyhole_cuts_a_hole() -> None:
    keyhole = np.array(
        [[1.0, 1], [11, 1], [11, 11], [1, 11], [1, 6], [4, 6], [4, 8], [8, 8], [8, 4], [4, 4], [4, 6], [1, 6]]
    )
    hole = np.array([[4.0, 4], [8, 4], [8, 8], [4, 8]])
    outer = np.array([[1.0, 1], [11, 1], [11, 11], [1, 11]])
    assert np.array_equal(_mask(keyhole), _mask(outer) & ~_mask(hole))
    assert area(keyhole) == _mask(keyhole).sum() == 84


def test_what_lies_outside_the_image_is_left_out() -> None:
    assert _mask(np.array([[-9.0, -9], [99, -9], [99, 99], [-9, 99]])).all()
    assert not _mask(np.array([[-9.0, -9], [-3, -9], [-3, 99], [-9, 99]])).any()
    assert not _mask(np.array([[3.2, 3.2], [3.8, 3.2], [3.8, 3.8]])).any()


def test_many_crossings_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(1).uniform(-3, 20, (60, 2))
    whole = _mask(points)
    monkeypatch.setattr("medaug.io._dicom.polygons._CROSSINGS", 7)
    assert np.array_equal(_mask(points), whole)
