from __future__ import annotations

import numpy as np
import pytest

from medaug.core.geometry import Axis, Grid
from medaug.translators._super_resolution.slices import (
    Profile,
    along_last,
    between_weights,
    finer_grid,
    slice_axis,
    thick_weights,
)

OBLIQUE = np.array(
    [[0.8, -0.6, 0.0, 11.0], [0.6, 0.8, 0.0, -7.0], [0.0, 0.0, 1.25, 3.0], [0.0, 0.0, 0.0, 1.0]]
)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [((1, 1, 1), 2), ((1, 1, 5), 2), ((5, 1, 1), 0), ((1, 5, 1), 1), ((3, 3, 1), 1), ((1, 1, 0.9999), 2)],
)
def test_slices_lie_along_the_largest_spacing(spacing: tuple[float, float, float], axis: int) -> None:
    assert slice_axis(spacing) == axis


@pytest.mark.parametrize("profile", ["box", "gaussian"])
@pytest.mark.parametrize("factor", [2, 3, 4, 2.5])
def test_thick_slices_are_means(profile: Profile, factor: float) -> None:
    weights = thick_weights(21, factor, profile)
    assert weights.shape == (int(21 / factor), 21)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert (weights >= 0).all()
    inner = weights[1:-1] @ np.arange(21)  # the ends of a Gaussian are cut off
    np.testing.assert_allclose(inner, (np.arange(len(weights)) + 0.5)[1:-1] * factor - 0.5, atol=0.05)


def test_a_box_is_the_mean_of_its_slices() -> None:
    fine = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
    thick = along_last(fine, thick_weights(12, 4, "box"))
    np.testing.assert_allclose(thick, fine.reshape(3, 3, 4).mean(axis=2), rtol=1e-5)


def test_a_gaussian_has_the_asked_width() -> None:
    weights = thick_weights(40, 8, "gaussian")[2]
    high = weights.max()
    assert (weights > 0.5 * high).sum() == 8


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_thin_slices_lie_where_the_thick_ones_were_made_from(axis: Axis, factor: int) -> None:
    fine = Grid((12, 12, 12), OBLIQUE)
    # the centre of a thick slice is the mean of the centres of its thin ones
    first = np.mean([fine.to_mm(tuple(np.eye(3)[axis] * n)) for n in range(factor)], axis=0)
    affine = OBLIQUE.copy()
    affine[:3, axis] *= factor
    affine[:3, 3] = first
    shape = [12, 12, 12]
    shape[axis] = 12 // factor
    made, positions = finer_grid(Grid((shape[0], shape[1], shape[2]), affine), axis, fine.spacing_mm[axis])
    assert made.shape == fine.shape
    np.testing.assert_allclose(made.affine, fine.affine, atol=1e-12)
    assert positions[0] == pytest.approx(-(factor - 1) / (2 * factor))


def test_a_spacing_that_does_not_divide_shares_the_middle() -> None:
    thick = Grid((4, 4, 5), np.diag([1.0, 1.0, 5.0, 1.0]))
    made, positions = finer_grid(thick, 2, 2.0)
    assert made.shape == (4, 4, 12)
    assert made.spacing_mm[2] == pytest.approx(2.0)
    np.testing.assert_allclose(made.to_mm((0, 0, 5.5)), thick.to_mm((0, 0, 2)))
    np.testing.assert_allclose(np.diff(positions), 0.4)


def test_interpolation_reads_straight_lines_and_slices_themselves() -> None:
    values = np.array([[1.0, 3.0, 5.0, 7.0]], np.float32)
    np.testing.assert_allclose(along_last(values, between_weights(4, np.array([0.5, 1.25]), 1)), [[2.0, 3.5]])
    for order in (1, 3):
        same = between_weights(4, np.arange(4.0), order)
        np.testing.assert_allclose(along_last(values, same), values, atol=1e-5)
        beyond = between_weights(4, np.array([-0.4, 3.4]), order)
        np.testing.assert_allclose(beyond.sum(axis=1), 1.0, atol=1e-6)


def test_cubic_splines_follow_curves_closer_than_lines() -> None:
    wave = np.sin(np.linspace(0, 6, 13)).astype(np.float32)[None]
    at = np.arange(2.5, 10)
    truth = np.sin(at / 2)
    errors = [np.abs(along_last(wave, between_weights(13, at, order)) - truth).max() for order in (1, 3)]
    assert errors[1] < 0.2 * errors[0]
