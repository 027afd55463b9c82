"""Single lesions of a label map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label as skimage_label

from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap
from medaug.lesions.parts import lesion_parts

NAMES = ("a", "b")


def label_map(labels):
    return LabelMap(labels, Grid(labels.shape, np.diag([2.0, 2.0, 3.0, 1.0])), NAMES)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.02, 0.1, 0.3]))
def test_parts_are_the_components_of_each_class_and_make_up_the_label_map(seed, density):
    rng = np.random.default_rng(seed)
    labels = (rng.random((7, 6, 5)) < density) * rng.integers(1, 3, (7, 6, 5))
    parts = list(lesion_parts(label_map(labels.astype(np.uint8))))
    again = np.zeros_like(labels)
    for part in parts:
        again[part.box.slices][part.mask] = NAMES.index(part.class_name) + 1
    assert np.array_equal(again, labels)
    assert len({part.name for part in parts}) == len(parts)
    expected = sum(int(skimage_label(labels == n, connectivity=3).max()) for n in (1, 2))
    assert len(parts) == expected


def test_a_part_knows_its_middle_its_voxels_and_its_size():
    labels = np.zeros((8, 8, 4), np.uint8)
    labels[2:5, 3:6, 1:3] = 2
    (part,) = lesion_parts(label_map(labels))
    assert (part.class_name, part.voxels, part.centre) == ("b", 18, (3.0, 4.0, 1.5))
    assert part.covers((4, 5, 2))
    assert not part.covers((5, 5, 2))
    assert not part.covers((0, 0, 0))
    grid = Grid((8, 8, 4), np.diag([2.0, 2.0, 3.0, 1.0]))
    assert part.diameter_mm(grid) == pytest.approx(np.cbrt(6 / np.pi * 18 * 12))
