"""What each arm reaches, class by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from medaug.core.results import ArmScore, DiceRow
from medaug.core.seeding import SeedTree
from medaug.experiments.means import achieved_coverage, mean_interval
from medaug.experiments.statistics import in_order, patient_scores
from medaug.metrics.scoring import lesion_f1, lesion_precision, lesion_recall, panoptic_quality, pooled


def summarise(rows: Sequence[DiceRow], classes: Sequence[str], seed: SeedTree) -> tuple[ArmScore, ...]:
    """All figures of every arm and class; classes that no patient carries are left out."""
    groups: dict[tuple[int | None, str, str], list[DiceRow]] = {}
    for row in rows:
        groups.setdefault((row.n_annotated, row.arm, row.class_name), []).append(row)
    scores: list[ArmScore] = []
    for n_annotated, arm in in_order((row.n_annotated, row.arm) for row in rows):
        for name in classes:
            scores += _summarise_one(groups.get((n_annotated, arm, name), []), seed)
    return tuple(scores)


def _summarise_one(rows: Sequence[DiceRow], seed: SeedTree) -> list[ArmScore]:
    patients = patient_scores(rows)
    if not patients.patient_ids:
        return []
    interval = mean_interval(patients.values, seed, low=0.0, high=1.0)
    empty = [row for row in rows if row.dice is None]
    lesions = pooled(row.lesions for row in rows if row.lesions is not None)
    return [
        ArmScore(
            arm=rows[0].arm,
            n_annotated=rows[0].n_annotated,
            class_name=rows[0].class_name,
            mean_dice=float(patients.values.mean()),
            ci_low=interval.low,
            ci_high=interval.high,
            coverage=achieved_coverage(patients.values, seed),
            n_patients=len(patients.patient_ids),
            false_positive_voxels=sum(row.false_positive_voxels or 0 for row in empty),
            n_empty=len(empty),
            surface_dice=_mean(rows, lambda row: row.surface_dice),
            hd95_mm=_median(rows, lambda row: row.hd95_mm),
            volume_error=_mean(rows, lambda row: row.volume_error),
            lesion_f1=lesion_f1(lesions),
            lesion_precision=lesion_precision(lesions),
            lesion_recall=lesion_recall(lesions),
            panoptic_quality=panoptic_quality(lesions),
            calibration_error=_mean(rows, lambda row: row.calibration_error),
            sizes=lesions.sizes,
        )
    ]


def _mean(rows: Sequence[DiceRow], value: Callable[[DiceRow], float | None]) -> float | None:
    found = patient_scores(rows, value).values
    return float(found.mean()) if len(found) else None


def _median(rows: Sequence[DiceRow], value: Callable[[DiceRow], float | None]) -> float | None:
    found = patient_scores(rows, value).values
    return float(np.median(found)) if len(found) else None
