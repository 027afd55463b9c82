"""The empty rule, and figures that can be counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.errors import GeometryError, LabelError
from medaug.core.geometry import Grid
from medaug.core.results import DiceRow, LesionCounts, SizeCount
from medaug.core.volume import LabelMap, Prediction
from medaug.experiments.cell import score
from medaug.experiments.design import cells
from medaug.metrics.scoring import (
    Scored,
    Terms,
    dice,
    dice_by_class,
    lesion_f1,
    lesion_precision,
    lesion_recall,
    panoptic_quality,
    pooled,
    score_case,
)
from tests.unit.experiments.fakes import case, experiment, record, split_dataset

GRID = Grid((4, 4, 2), np.diag([2.0, 1.0, 3.0, 1.0]))
NAMES = ("solid", "ground_glass")
OF = Scored("real", 8, 1, 2, "c0", "p0")


def label_map(
    *voxels: tuple[int, int, int, int], grid: Grid = GRID, names: tuple[str, ...] = NAMES
) -> LabelMap:
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for i, j, k, label_id in voxels:
        labels[i, j, k] = label_id
    return LabelMap(labels, grid, names)


def rows(prediction: LabelMap, reference: LabelMap, terms: Terms | None = None) -> tuple[DiceRow, ...]:
    return score_case(OF, Prediction(prediction), reference, terms or Terms())


def test_dice_of_half_overlap() -> None:
    a, b = np.zeros((4, 1, 1), bool), np.zeros((4, 1, 1), bool)
    a[:2], b[1:3] = True, True
    assert dice(a, b) == pytest.approx(0.5)


def test_empty_reference_has_no_dice_even_when_the_prediction_is_empty_too() -> None:
    nothing = np.zeros((2, 2, 2), bool)
    assert dice(nothing, nothing) is None
    assert dice(~nothing, nothing) is None


def test_an_empty_prediction_is_wrong_everywhere_but_has_no_distance() -> None:
    solid, _ = rows(label_map(), label_map((0, 0, 0, 1), (3, 3, 1, 1)))
    assert (solid.dice, solid.surface_dice, solid.surface_tolerance_mm) == (0.0, 0.0, 1.0)
    assert solid.hd95_mm is None
    assert (solid.volume_error_mm3, solid.volume_error) == (-12.0, -1.0)
    assert solid.lesions is not None
    assert (solid.lesions.reference, solid.lesions.predicted, solid.lesions.matched) == (2, 0, 0)
    assert (solid.false_positive_voxels, solid.false_positive_lesions) == (None, None)


def test_an_empty_reference_has_false_positives_and_nothing_that_enters_a_mean() -> None:
    solid, _ = rows(label_map((0, 0, 0, 1)), label_map())
    assert {solid.dice, solid.surface_dice, solid.surface_tolerance_mm, solid.hd95_mm} == {None}
    assert (solid.volume_error_mm3, solid.volume_error) == (6.0, None)
    assert (solid.false_positive_voxels, solid.false_positive_lesions, solid.false_positive_mm3) == (
        1,
        1,
        6.0,
    )


def test_nothing_on_nothing_is_no_success() -> None:
    for row in rows(label_map(), label_map()):
        assert {row.dice, row.surface_dice, row.hd95_mm, row.volume_error, row.calibration_error} == {None}
        assert (row.false_positive_voxels, row.volume_error_mm3) == (0, 0.0)
        assert row.lesions == LesionCounts(reference=0, predicted=0, matched=0, iou_sum=0.0)


def test_classes_are_scored_apart_and_false_positives_are_counted_by_component() -> None:
    reference = label_map((0, 0, 0, 1), (0, 1, 0, 1))
    prediction = label_map((0, 0, 0, 1), (3, 3, 1, 2), (2, 2, 0, 2), (0, 3, 1, 2))
    solid, glass = rows(prediction, reference)
    assert solid.dice == pytest.approx(2 / 3)
    assert solid.volume_error == pytest.approx(-0.5)
    assert glass.dice is None
    # (3,3,1) and (2,2,0) touch by a corner: one lesion of 26-connected voxels; (0,3,1) is the other
    assert (glass.false_positive_voxels, glass.false_positive_lesions) == (3, 2)
    assert glass.false_positive_mm3 == pytest.approx(18.0)
    assert dice_by_class(prediction, reference) == (solid.dice, glass.dice)


def test_a_row_says_whose_it_is() -> None:
    solid = rows(label_map((0, 0, 0, 1)), label_map((0, 0, 0, 1)))[0]
    assert (solid.arm, solid.n_annotated, solid.fold, solid.seed) == ("real", 8, 1, 2)
    assert (solid.case_id, solid.patient_id, solid.class_name) == ("c0", "p0", "solid")


def test_nominal_spacing_gives_no_mm() -> None:
    terms = Terms(spacing_known=False)
    solid, glass = rows(label_map((0, 0, 0, 1), (0, 0, 0, 2)), label_map((0, 1, 0, 1)), terms)
    assert glass.false_positive_voxels == 1
    mm = (glass.false_positive_mm3, solid.surface_dice, solid.hd95_mm, solid.volume_error_mm3)
    assert set(mm) == {None}
    assert (solid.dice, solid.volume_error) == (0.0, -1.0)
    assert solid.lesions is not None
    assert (solid.lesions.reference, solid.lesions.sizes) == (1, ())


def test_confidence_is_judged_where_the_class_was_given_or_outlined() -> None:
    prediction = label_map((0, 0, 0, 1), (0, 1, 0, 1), (3, 3, 1, 2))
    confidence = np.full(GRID.shape, 0.99, np.float32)
    confidence[0, 0, 0], confidence[0, 1, 0], confidence[3, 3, 1] = 0.9, 0.9, 0.6
    reference = label_map((0, 0, 0, 1))
    solid, glass = score_case(OF, Prediction(prediction, confidence), reference, Terms())
    # half of two voxels were right at 0.9; none of one at 0.6; sure background elsewhere does not dilute it
    assert solid.calibration_error == pytest.approx(0.4)
    assert glass.calibration_error == pytest.approx(0.6)
    assert score_case(OF, Prediction(prediction), reference, Terms())[0].calibration_error is None


def test_another_grid_is_refused() -> None:
    moved = Grid(GRID.shape, np.array([[2.0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]))
    with pytest.raises(GeometryError, match="another grid"):
        rows(label_map(grid=moved), label_map())


def test_another_class_table_or_an_unknown_id_is_refused() -> None:
    with pytest.raises(LabelError, match="knows the classes"):
        rows(label_map(names=("solid", "other")), label_map())
    with pytest.raises(LabelError, match="prediction holds label id 7"):
        rows(label_map((0, 0, 0, 7)), label_map())
    with pytest.raises(LabelError, match="reference holds label id -1"):
        rows(label_map(), replace(label_map(), labels=np.full(GRID.shape, -1, np.int16)))


def test_lesion_figures_come_from_counts() -> None:
    # 6 outlined, 4 predicted, 3 pairs: TP 3, FP 1, FN 3
    counts = LesionCounts(reference=6, predicted=4, matched=3, iou_sum=2.1)
    assert lesion_precision(counts) == pytest.approx(3 / 4)
    assert lesion_recall(counts) == pytest.approx(3 / 6)
    assert lesion_f1(counts) == pytest.approx(3 / (3 + 0.5 + 1.5))
    assert panoptic_quality(counts) == pytest.approx(2.1 / (3 + 0.5 + 1.5))
    nothing = LesionCounts(reference=0, predicted=0, matched=0, iou_sum=0.0)
    figures = (lesion_precision, lesion_recall, lesion_f1, panoptic_quality)
    assert {figure(nothing) for figure in figures} == {None}
    assert lesion_precision(nothing.model_copy(update={"reference": 2})) is None
    assert lesion_recall(nothing.model_copy(update={"predicted": 2})) is None
    assert lesion_f1(nothing.model_copy(update={"reference": 2})) == 0.0


def test_counts_are_pooled_size_by_size() -> None:
    small = SizeCount(low_mm=0, high_mm=6, reference=2, found=1)
    large = SizeCount(low_mm=20, high_mm=None, reference=1, found=1)
    one = LesionCounts(reference=3, predicted=4, matched=2, iou_sum=1.5, sizes=(small, large))
    other = LesionCounts(reference=2, predicted=0, matched=0, iou_sum=0.0, sizes=(small,))
    both = pooled([other, one])
    assert (both.reference, both.predicted, both.matched, both.iou_sum) == (5, 4, 2, 1.5)
    assert both.sizes == (SizeCount(low_mm=0, high_mm=6, reference=4, found=2), large)


def test_the_tolerance_of_an_experiment_reaches_its_rows() -> None:
    cell = cells(experiment(surface_tolerance_mm=2.5), split_dataset())[0]
    of = case(record("p00_a", "p00", "solid"))
    assert of.label_map is not None
    solid, glass = score(cell, of, Prediction(of.label_map))
    assert (solid.dice, solid.surface_dice, solid.hd95_mm) == (1.0, 1.0, 0.0)
    assert (solid.surface_tolerance_mm, glass.surface_tolerance_mm) == (2.5, None)
    assert (solid.arm, solid.fold, solid.patient_id) == (cell.arm.name, cell.fold.index, "p00")
