"""Candidates from a prediction."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Prediction
from medaug.lesions.candidates import find_candidates, lesion_chance


def prediction(chance, labels):
    """A binary model: the confidence is that of the label that was given."""
    grid = Grid(chance.shape, np.eye(4))
    confidence = np.where(labels > 0, chance, 1 - chance).astype(np.float32)
    return Prediction(LabelMap(labels, grid, ("a", "b")), confidence)


def made():
    chance = np.full((10, 10, 4), 0.01)
    chance[1:3, 1:3, 1] = 0.9
    chance[3, 3, 2] = 0.4  # touches by a corner only
    chance[7, 7:9, 0] = 0.2
    labels = (chance > 0.5).astype(np.uint8) * 2
    return prediction(chance, labels), chance


def test_chance_is_that_of_a_lesion_whatever_the_label():
    found, chance = made()
    assert np.allclose(lesion_chance(found), chance)
    assert lesion_chance(Prediction(found.label_map)).max() == 1


def test_candidates_are_components_above_the_threshold_the_surest_first():
    found, _ = made()
    sure, faint = find_candidates(found, threshold=0.1, scoring="max")
    assert [sure.score, faint.score] == pytest.approx([0.9, 0.2])
    assert (sure.part.class_name, sure.part.voxels) == ("b", 5)
    assert (faint.part.class_name, faint.part.centre) == ("", (7.0, 7.5, 0.0))
    mean = find_candidates(found, threshold=0.1, scoring="mean")[0].score
    assert mean == pytest.approx((4 * 0.9 + 0.4) / 5)


def test_threshold_and_size_leave_candidates_out():
    found, _ = made()
    assert len(find_candidates(found, threshold=0.5, scoring="max")) == 1
    assert len(find_candidates(found, threshold=0.1, scoring="max", fewest_voxels=3)) == 1
    assert find_candidates(found, threshold=0.95, scoring="max") == ()
