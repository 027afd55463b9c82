"""Which lesions were found."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.geometry import Grid
from medaug.core.results import LesionCounts
from medaug.metrics.matching import count_lesions
from medaug.metrics.surfaces import Frame

SHAPE = (20, 6, 1)
FRAME = Frame.of(Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0])))


def mask(*columns: tuple[int, int]) -> np.ndarray:
    """Bars that are one voxel wide, from .. to along the first axis."""
    found = np.zeros(SHAPE, dtype=bool)
    for start, stop in columns:
        found[start:stop, 2, 0] = True
    return found


def counts(prediction: np.ndarray, reference: np.ndarray) -> LesionCounts:
    return count_lesions(prediction, reference, FRAME)


def test_found_missed_and_made_up() -> None:
    found = counts(mask((0, 3), (16, 19)), mask((0, 4), (8, 11)))
    assert (found.reference, found.predicted, found.matched) == (2, 2, 1)
    assert found.iou_sum == pytest.approx(3 / 4)


def test_one_prediction_over_two_lesions_finds_the_better_one_only() -> None:
    found = counts(mask((0, 9)), mask((0, 5), (6, 9)))
    assert (found.reference, found.predicted, found.matched) == (2, 1, 1)
    assert found.iou_sum == pytest.approx(5 / 9)


def test_a_lesion_in_pieces_is_found_once_and_the_other_piece_is_false() -> None:
    found = counts(mask((0, 3), (4, 9)), mask((0, 9)))
    assert (found.reference, found.predicted, found.matched) == (1, 2, 1)
    assert found.iou_sum == pytest.approx(5 / 9)


def test_pairs_are_best_as_a_whole_rather_than_one_after_the_other() -> None:
    # the long one overlaps the first lesion best (6 of 16), but then nothing is left for the second
    found = counts(mask((0, 3), (4, 16)), mask((0, 10), (11, 20)))
    assert found.matched == 2
    assert found.iou_sum == pytest.approx(3 / 10 + 5 / 16)


@pytest.mark.parametrize(("stop", "matched"), [(10, 1), (11, 0)])
def test_a_pair_counts_from_a_tenth_of_overlap_on(stop: int, matched: int) -> None:
    assert counts(mask((0, 1)), mask((0, stop))).matched == matched


def test_sizes_are_those_of_the_reference_and_bins_begin_at_their_lower_edge() -> None:
    sides = {5.31: 0.0, 5.32: 6.0, 8.86: 6.0, 8.87: 10.0, 17.72: 10.0, 17.73: 20.0}
    for side, low in sides.items():
        frame = Frame.of(Grid(SHAPE, np.diag([side, side, 1.0, 1.0])))
        found = count_lesions(mask((0, 2)), mask((0, 1), (4, 5)), frame)
        (size,) = found.sizes
        assert (size.low_mm, size.reference, size.found) == (low, 2, 1)
        assert (size.high_mm is None) == (low == 20.0)


def test_without_a_known_spacing_there_are_no_sizes() -> None:
    found = count_lesions(mask((0, 2)), mask((0, 2)), None)
    assert (found.matched, found.sizes) == (1, ())
