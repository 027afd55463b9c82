"""Copies as a leaking generator might make them, drawn at random: what the search is tuned on and measured with."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.copying.balls import turn_about

Change = Literal[
    "exact", "noise", "gamma", "affine", "flip", "quarter_turn", "rotation", "shift", "zoom", "inversion",
    "splice", "patch", "blend",
]  # fmt: skip
CHANGES: tuple[Change, ...] = get_args(Change)
MOVES = frozenset({"flip", "quarter_turn", "rotation", "shift", "zoom"})
_GRADES = frozenset({"noise", "gamma", "affine", "inversion"})
MIXES = frozenset({"splice", "patch", "blend"})

Tile = Float[np.ndarray, "C *S"]


def plant(tile: Tile, other: Tile, change: Change, rng: np.random.Generator) -> Tile:
    """A copy of ``tile``.

    Gamma 0.5 to 2, noise up to 10% of the range, rotation within 30 degrees, zoom 0.8 to 1.25, shift up to a quarter;
    a splice keeps one half, a patch a quarter (of the area or volume), a blend 50%, of ``other`` the rest.
    """
    if change in _GRADES:
        return np.stack([_regraded(channel, change, rng) for channel in tile]).astype(np.float32)
    if change in MIXES:
        return _mixed(tile, other, change, rng)
    return _moved(tile, change, rng)


def _regraded(channel: Float[np.ndarray, "*S"], change: Change, rng: np.random.Generator) -> np.ndarray:
    low, high = float(channel.min()), float(channel.max())
    span = max(high - low, 1e-6)
    if change == "noise":
        return np.asarray(channel + rng.uniform(0.02, 0.1) * span * rng.standard_normal(channel.shape))
    if change == "gamma":
        return np.asarray(low + span * ((channel - low) / span) ** (2.0 ** rng.uniform(-1.0, 1.0)))
    if change == "affine":
        return np.asarray(channel * rng.uniform(0.5, 2.0) + rng.uniform(-0.5, 0.5))
    return np.asarray(low + high - channel)


def _moved(tile: Tile, change: Change, rng: np.random.Generator) -> Tile:
    dims = tile.ndim - 1
    if change == "flip":
        axes = [axis for axis in range(1, dims + 1) if rng.random() < 0.5] or [int(rng.integers(1, dims + 1))]
        return np.asarray(np.flip(tile, tuple(axes)).copy(), dtype=np.float32)
    if change == "quarter_turn":
        first, second = rng.permutation(dims)[:2] + 1
        return np.rot90(tile, int(rng.integers(1, 4)), (int(first), int(second))).copy()
    matrix, shift = np.eye(dims), np.zeros(dims)
    if change == "rotation":
        matrix = random_turn(dims, math.radians(30.0), rng)
    if change == "zoom":
        matrix = np.eye(dims) / math.exp(rng.uniform(math.log(0.8), math.log(1.25)))
    if change == "shift":
        shift = rng.uniform(-0.25, 0.25, dims) * tile.shape[1:]
    return moved(tile, matrix, shift)


def random_turn(dims: int, largest_rad: float, rng: np.random.Generator) -> Float[np.ndarray, "d d"]:
    """A rotation by at most an angle, about any axis in space."""
    angle = rng.uniform(-largest_rad, largest_rad)
    if dims == 3:
        return turn_about(rng.standard_normal(3), angle)
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def moved(tile: Tile, matrix: Float[np.ndarray, "d d"], shift: Float[np.ndarray, " d"]) -> Tile:
    """The tile read at matrix @ x + shift, x from its middle; what lies beyond its edge repeats the edge."""
    middle = (np.array(tile.shape[1:]) - 1) / 2
    offset = middle + shift - matrix @ middle
    return np.stack(
        [ndimage.affine_transform(channel, matrix, offset, order=1, mode="nearest") for channel in tile]
    ).astype(np.float32)


def _mixed(tile: Tile, other: Tile, change: Change, rng: np.random.Generator) -> Tile:
    dims, shape = tile.ndim - 1, tile.shape[1:]
    if change == "blend":
        return np.asarray(0.5 * tile + 0.5 * other, dtype=np.float32)
    mixed = other.copy()
    if change == "splice":
        axis, low = int(rng.integers(dims)), bool(rng.integers(2))
        half = shape[axis] // 2
        place = [slice(None)] * (dims + 1)
        place[axis + 1] = slice(0, half) if low else slice(half, None)
        mixed[tuple(place)] = tile[tuple(place)]
        return mixed
    sides = [round(n / 4.0 ** (1.0 / dims)) for n in shape]
    there = [int(rng.integers(n - side + 1)) for n, side in zip(shape, sides, strict=True)]
    here = (
        there
        if rng.random() < 0.5
        else [int(rng.integers(n - s + 1)) for n, s in zip(shape, sides, strict=True)]
    )
    to = tuple(slice(a, a + s) for a, s in zip(here, sides, strict=True))
    from_ = tuple(slice(a, a + s) for a, s in zip(there, sides, strict=True))
    mixed[(slice(None), *to)] = tile[(slice(None), *from_)]
    return mixed
