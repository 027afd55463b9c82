"""The empty rule, and figures that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import GeometryError, LabelError
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap
from medaug.experiments.metrics import dice, score_case

GRID = Grid((4, 4, 2), np.diag([2.0, 1.0, 3.0, 1.0]))
NAMES = ("solid", "ground_glass")


def label_map(
    *voxels: tuple[int, int, int, int], grid: Grid = GRID, names: tuple[str, ...] = NAMES
) -> LabelMap:
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for i, j, k, label_id in voxels:
        labels[i, j, k] = label_id
    return LabelMap(labels, grid, names)


def test_dice_of_half_overlap() -> None:
    a, b = np.zeros((4, 1, 1), bool), np.zeros((4, 1, 1), bool)
    a[:2], b[1:3] = True, True
    assert dice(a, b) == pytest.approx(0.5)


def test_empty_reference_has_no_dice_even_when_the_prediction_is_empty_too() -> None:
    nothing = np.zeros((2, 2, 2), bool)
    assert dice(nothing, nothing) is None
    assert dice(~nothing, nothing) is None


def test_empty_prediction_on_a_lesion_is_zero() -> None:
    scores = score_case(label_map(), label_map((0, 0, 0, 1)))
    assert scores[0].dice == 0.0
    assert scores[0].false_positive_voxels is None


def test_classes_are_scored_apart_and_false_positives_are_counted_by_component() -> None:
    reference = label_map((0, 0, 0, 1), (0, 1, 0, 1))
    prediction = label_map((0, 0, 0, 1), (3, 3, 1, 2), (2, 2, 0, 2), (0, 3, 1, 2))
    solid, glass = score_case(prediction, reference)
    assert solid.dice == pytest.approx(2 / 3)
    assert glass.dice is None
    # (3,3,1) and (2,2,0) touch by a corner: one lesion of 26-connected voxels; (0,3,1) is the other
    assert (glass.false_positive_voxels, glass.false_positive_lesions) == (3, 2)
    assert glass.false_positive_mm3 == pytest.approx(18.0)


def test_nominal_spacing_gives_no_mm() -> None:
    glass = score_case(label_map((0, 0, 0, 2)), label_map(), spacing_known=False)[1]
    assert glass.false_positive_voxels == 1
    assert glass.false_positive_mm3 is None


def test_another_grid_is_refused() -> None:
    moved = Grid(GRID.shape, np.array([[2.0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]))
    with pytest.raises(GeometryError, match="another grid"):
        score_case(label_map(grid=moved), label_map())


def test_another_class_table_or_an_unknown_id_is_refused() -> None:
    with pytest.raises(LabelError, match="knows the classes"):
        score_case(label_map(names=("solid", "other")), label_map())
    with pytest.raises(LabelError, match="label id 7"):
        score_case(label_map((0, 0, 0, 7)), label_map())
