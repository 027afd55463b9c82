"""Coefficients of balls, in the plane and in space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medaug.copying.balls import Balls, angular_functions, turn_about, turns_of


def smooth(dims: int, seed: int, side: int = 21) -> np.ndarray:
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((side,) * dims), 2.0)
    return np.asarray(rough / rough.std())


def in_the_middle(balls: Balls, image: np.ndarray) -> torch.Tensor:
    tile = torch.as_tensor(np.ascontiguousarray(image), dtype=torch.float32)[None, None]
    return balls.coefficients(tile, image.shape[0] // 2, image.shape[0])[0, 0, 0]


@pytest.mark.parametrize("dims", [2, 3])
def test_angular_functions_are_orthonormal_and_as_many_as_there_are_harmonics(dims: int) -> None:
    points = np.random.default_rng(0).standard_normal((20000, dims))
    blocks = angular_functions(points / np.linalg.norm(points, axis=1, keepdims=True), 4)
    assert [block.shape[1] for block in blocks] == ([1, 2, 2, 2, 2] if dims == 2 else [1, 3, 5, 7, 9])
    everything = np.concatenate(blocks, axis=1)
    gram = everything.T @ everything / len(points)
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=0.08)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("change", ["turn", "mirror", "inverse"])
def test_invariants_see_no_turn_mirror_or_inversion(dims: int, change: str) -> None:
    balls, image = Balls.of(dims, 8.0, 3, 4), smooth(dims, 1)
    changed = {"turn": np.rot90(image), "mirror": np.flip(image, 0), "inverse": -image}[change]
    here, there = (balls.invariants(in_the_middle(balls, one)) for one in (image, changed))
    other = balls.invariants(in_the_middle(balls, smooth(dims, 2)))
    assert float((here - there).norm() / here.norm()) < 1e-3
    assert float((here - other).norm() / here.norm()) > 0.1


@pytest.mark.parametrize(("dims", "number"), [(2, 50), (2, 7), (3, 700)])
def test_the_turn_of_a_source_is_recovered(dims: int, number: int) -> None:
    balls, turns, image = Balls.of(dims, 8.0, 3, 5), turns_of(dims), smooth(dims, 3)
    middle = np.full(dims, (image.shape[0] - 1) / 2)
    turned = ndimage.affine_transform(image, turns[number], middle - turns[number] @ middle, order=3)
    products = balls.products(in_the_middle(balls, turned)[None], in_the_middle(balls, image)[None])
    assert int((products @ balls.turn_rows(turns).T)[0].argmax()) == number


def test_a_window_without_contrast_says_nothing() -> None:
    balls = Balls.of(2, 6.0, 3, 4)
    assert float(in_the_middle(balls, np.full((21, 21), 7.0)).abs().max()) < 1e-3


def test_turns_are_rotations_and_mirror_images() -> None:
    for dims, count in ((2, 72), (3, 48 * 27)):
        turns = turns_of(dims)
        assert len(turns) == count
        np.testing.assert_allclose(
            turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(dims), turns.shape), atol=1e-9
        )
        assert sorted(set(np.round(np.linalg.det(turns)))) == [-1.0, 1.0]
    np.testing.assert_allclose(
        turn_about(np.array([0.0, 0.0, 1.0]), np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-9
    )
