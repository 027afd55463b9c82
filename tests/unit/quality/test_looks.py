"""Lesions are cut around their middle, whole, and keep their figures."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.quality.features import feature_names
from medaug.quality.looks import look_at
from medaug.quality.samples import LesionSample
from tests.unit.quality.seen import KINDS, disc, discs


def test_a_small_lesion_is_cut_at_native_resolution():
    sample = disc(1, 1)
    looks = look_at([sample], (24, 24), KINDS)
    assert looks.images.shape == (1, 1, 24, 24)
    assert looks.masks.sum() == sample.mask.sum()
    inside = looks.images[0, 0][looks.masks[0]]
    assert np.array_equal(np.sort(inside), np.sort(sample.image[0][sample.mask]))
    assert looks.levels[0, 0] == pytest.approx(inside.mean())


def test_a_large_lesion_is_shrunk_to_fit():
    looks = look_at([disc(1, 1)], (8, 8), KINDS)
    rows, columns = np.nonzero(looks.masks[0])
    assert 0 < rows.min() <= rows.max() < 7
    assert 0 < columns.min() <= columns.max() < 7


def test_two_axes_show_the_largest_slice_and_three_all():
    image = np.zeros((1, 20, 20, 3), dtype=np.float32)
    image[..., 1] = 5.0
    mask = np.zeros((20, 20, 3), dtype=bool)
    mask[8:10, 8:10, 0] = True
    mask[6:12, 6:12, 1] = True
    sample = LesionSample("c", "p", "dark", image, mask, (1.0, 1.0, 2.0))
    flat, deep = (look_at([sample], size, KINDS) for size in ((16, 16), (16, 16, 4)))
    assert flat.masks.sum() == 36
    assert flat.levels[0, 0] == 5.0
    assert deep.images.shape == (1, 1, 16, 16, 4)
    assert deep.masks.sum() == 40
    assert deep.levels[0, 0] == pytest.approx(4.5)


def test_rows_are_chosen_by_number_and_class():
    looks = discs(0, 6)
    assert looks.at(np.array([4, 1])).patients == ("p4", "p1")
    assert looks.of_class(1).patients == ("p1", "p3", "p5")
    assert looks.features.shape == (6, len(feature_names(("x",))))
    assert len(looks) == 6


def test_no_lesion_is_an_error():
    with pytest.raises(DataError):
        look_at([], (16, 16), KINDS)
