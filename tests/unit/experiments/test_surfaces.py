"""Where a mask ends does not depend on how it lies in memory."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.experiments.surfaces import Frame, Outline


@pytest.mark.parametrize("flat", [False, True])
def test_a_mask_held_column_by_column_has_the_same_outline(*, flat: bool) -> None:
    mask = np.random.default_rng(0).random((7, 5, 1 if flat else 4)) > 0.6
    i, j, k = (np.arange(n) for n in mask.shape)
    frame = Frame((i, j, k), np.diag([1.0, 2.0, 3.0]), flat)
    by_row, by_column = Outline.of(mask, frame), Outline.of(np.asfortranarray(mask), frame)
    assert np.array_equal(by_row.boundary, by_column.boundary)
    assert np.array_equal(by_row.elements, by_column.elements)
    assert np.array_equal(by_row.areas, by_column.areas)
