"""Figures of an arm in a class, from rows."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.results import DiceRow, LesionCounts, SizeCount
from medaug.core.seeding import SeedTree
from medaug.experiments.means import achieved_coverage
from medaug.experiments.scores import summarise

SEED = SeedTree(3)


def row(patient: str, dice: float | None, **further: object) -> DiceRow:
    return DiceRow.model_validate(
        {
            "arm": "a",
            "n_annotated": None,
            "fold": 0,
            "seed": 0,
            "case_id": patient,
            "patient_id": patient,
            "class": "x",
            "dice": dice,
            "false_positive_voxels": None if dice is not None else 4,
        }
        | further
    )


def lesions(reference: int, predicted: int, matched: int, found: int) -> LesionCounts:
    sizes = (SizeCount(low_mm=0, high_mm=10, reference=reference, found=found),)
    return LesionCounts(
        reference=reference, predicted=predicted, matched=matched, iou_sum=0.8 * matched, sizes=sizes
    )


def test_empty_references_are_left_out_of_the_mean_and_counted() -> None:
    rows = [row("p1", 1.0), row("p2", 0.5), row("p3", None)]
    (score,) = summarise(rows, ("x", "absent"), SEED)
    assert (score.mean_dice, score.n_patients, score.n_empty, score.false_positive_voxels) == (0.75, 2, 1, 4)
    assert (score.surface_dice, score.hd95_mm, score.lesion_f1, score.sizes) == (None, None, None, ())


def test_beside_an_interval_stands_how_often_one_like_it_holds_the_mean() -> None:
    few = [0.0] * 17 + [0.6, 0.7, 0.9]
    (score,) = summarise([row(f"p{n}", dice) for n, dice in enumerate(few)], ("x",), SEED)
    assert score.coverage == achieved_coverage(np.array(few), SEED)
    assert score.coverage is not None
    assert score.coverage < 0.93
    (score,) = summarise([row("p1", 1.0), row("p2", 0.5)], ("x",), SEED)
    assert score.coverage is None


def test_other_figures_are_means_over_patients_and_distances_medians() -> None:
    rows = [
        row("p1", 1.0, surface_dice=1.0, hd95_mm=1.0, volume_error=0.1, calibration_error=0.2),
        row("p1", 1.0, seed=1, surface_dice=0.8, hd95_mm=3.0, volume_error=0.3, calibration_error=0.2),
        row("p2", 0.5, surface_dice=0.5, hd95_mm=40.0, volume_error=-0.2, calibration_error=0.4),
        row("p3", 0.0, surface_dice=0.0, volume_error=-1.0),
    ]
    (score,) = summarise(rows, ("x",), SEED)
    assert score.surface_dice == pytest.approx((0.9 + 0.5 + 0.0) / 3)
    assert score.hd95_mm == pytest.approx(21.0)
    assert score.volume_error == pytest.approx((0.2 - 0.2 - 1.0) / 3)
    assert score.calibration_error == pytest.approx(0.3)


def test_lesions_are_pooled_with_those_of_cases_that_should_have_none() -> None:
    rows = [row("p1", 0.7, lesions=lesions(3, 2, 2, 2)), row("p2", None, lesions=lesions(0, 2, 0, 0))]
    (score,) = summarise(rows, ("x",), SEED)
    assert score.lesion_recall == pytest.approx(2 / 3)
    assert score.lesion_precision == pytest.approx(2 / 4)
    assert score.lesion_f1 == pytest.approx(4 / 7)
    assert score.panoptic_quality == pytest.approx(2 * 1.6 / 7)
    assert [(size.reference, size.found) for size in score.sizes] == [(3, 2)]
