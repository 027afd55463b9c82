"""Slices and their neighbours."""

from __future__ import annotations

import numpy as np

from medaug.tasks._segmentation.slabs import stack_slices, stacked_channels

SLICES = (
    np.arange(5, dtype=np.float32)[:, None, None, None] * 10 + np.arange(2, dtype=np.float32)[:, None, None]
)


def channels(places: list[int], context: int) -> list[list[float]]:
    found = stack_slices(np.broadcast_to(SLICES, (5, 2, 3, 4)), places, context)
    assert found.dtype == np.float32
    assert found.shape == (len(places), stacked_channels(2, context), 3, 4)
    return [[float(value) for value in slab[:, 0, 0]] for slab in found]


def test_neighbours_stand_below_and_above_with_all_their_channels():
    assert channels([2], 1) == [[10, 11, 20, 21, 30, 31]]
    assert channels([3, 1], 0) == [[30, 31], [10, 11]]


def test_the_first_and_last_slice_repeat():
    assert channels([0, 4], 2) == [
        [0, 1, 0, 1, 0, 1, 10, 11, 20, 21],
        [20, 21, 30, 31, 40, 41, 40, 41, 40, 41],
    ]
