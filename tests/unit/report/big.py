"""A large made-up experiment: many arms, classes and sizes, with every figure that a report can show.

All numbers are drawn; pictures come from the phantom cohort.
"""

from __future__ import annotations

import numpy as np

from medaug.core.gallery import Tile, TileFacts, cut_tile
from medaug.core.results import (
    ArmCost,
    ArmScore,
    Comparison,
    CurvePoint,
    DiceRow,
    ExperimentResult,
    LesionCounts,
    Saving,
    SizeCount,
)
from medaug.core.volume import Mask
from tests.small_cases import chest

ARMS = (
    "real", "classical", "randaugment", "copy_paste", "carvemix", "procedural", "cgan",
    "classical_copy_paste", "classical_cgan",
)  # fmt: skip
CLASSES = ("solid", "part_solid", "ground_glass", "calcified")
SIZES = (4, 8, None)
_PATIENTS, _STUDIED = 24, "ground_glass"
_BINS = ((0.0, 6.0), (6.0, 10.0), (10.0, 20.0), (20.0, None))
_USED = {4: 4, 8: 8, None: 34}


def big_result() -> ExperimentResult:
    """Nine arms, four classes, three sizes; a gain, harm, and named comparisons."""
    rng = np.random.default_rng(7)
    dice = {
        (arm, n, name): _dice(rng, a, n, c)
        for a, arm in enumerate(ARMS)
        for n in SIZES
        for c, name in enumerate(CLASSES)
    }
    scores = tuple(_score(rng, *key, values) for key, values in dice.items())
    return ExperimentResult(
        dataset="phantom nodules",
        dataset_sha256="0" * 64,
        classes=CLASSES,
        baseline="classical",
        arms=ARMS,
        complete=True,
        rows=tuple(row for key, values in dice.items() for row in _rows(*key, values)),
        comparisons=(
            *(_compared(dice, arm, "classical", n, c) for n in SIZES for c in CLASSES for arm in ARMS if arm != "classical"),
            *(_compared(dice, "classical_cgan", "classical_copy_paste", n, c) for n in SIZES for c in CLASSES),
        ),
        costs=tuple(_cost(rng, arm, n) for arm in ARMS for n in SIZES),
        scores=scores,
        limit_class=_STUDIED,
        cells_done=405,
        cells_planned=405,
        notes=("Only 6 scored patients carry calcified.",),
        licences=("CC BY 4.0",),
        curves=tuple(
            CurvePoint(arm=s.arm, n_annotated=s.n_annotated, patients=_USED[s.n_annotated], class_name=s.class_name,
                       mean=s.mean_dice, ci_low=s.ci_low, ci_high=s.ci_high)
            for s in scores
        ),
        savings=tuple(_saving(arm, name) for arm in ("copy_paste", "classical_cgan") for name in CLASSES),
        equal_terms=(
            "Every training took 900 optimiser steps.",
            "Every patch was 64 x 64 voxels.",
            "Between 64% and 67% of the patches held a lesion.",
        ),
    )  # fmt: skip


def _dice(rng: np.random.Generator, arm: int, n: int | None, class_number: int) -> np.ndarray:
    """One Dice a patient; the last arms do best, and more so where little is annotated."""
    patients = np.random.default_rng(class_number).normal(0, 0.22, _PATIENTS)
    mean = (
        0.3
        + 0.05 * class_number
        + {4: 0.0, 8: 0.1, None: 0.22}[n]
        + 0.014 * arm * {4: 1.6, 8: 1.2, None: 0.4}[n]
    )
    harm = 0.12 if arm == 5 and class_number == 0 else 0.0
    return np.clip(mean - harm + patients + rng.normal(0, 0.07, _PATIENTS), 0, 0.97)


def _rows(arm: str, n: int | None, name: str, values: np.ndarray) -> tuple[DiceRow, ...]:
    lesions = LesionCounts(reference=2, predicted=3, matched=1, iou_sum=0.5)
    return tuple(
        DiceRow(arm=arm, n_annotated=n, fold=k % 5, seed=k % 3, case_id=f"c{k}", patient_id=f"p{k}", class_name=name,
                dice=float(value), surface_dice=0.5, surface_tolerance_mm=1.0, hd95_mm=4.0, lesions=lesions)
        for k, value in enumerate(values)
    )  # fmt: skip


def _interval(values: np.ndarray) -> tuple[float, float]:
    half = 2.02 * float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half


def _score(rng: np.random.Generator, arm: str, n: int | None, name: str, values: np.ndarray) -> ArmScore:
    low, high = _interval(values)
    mean = float(values.mean())
    counts = (60, 84, 41, 0 if name == "calcified" else 12)
    sizes = tuple(
        SizeCount(
            low_mm=a, high_mm=b, reference=m, found=int(m * min(mean + 0.12 * k + rng.normal(0, 0.03), 1))
        )
        for k, ((a, b), m) in enumerate(zip(_BINS, counts, strict=True))
    )
    return ArmScore(
        arm=arm, n_annotated=n, class_name=name, mean_dice=mean, ci_low=low, ci_high=high, coverage=0.94, n_patients=len(values),
        false_positive_voxels=int(rng.integers(0, 900)), n_empty=120, surface_dice=mean + 0.08, hd95_mm=12 - 10 * mean,
        volume_error=float(rng.normal(-0.1, 0.1)), lesion_f1=mean + 0.03, lesion_precision=mean + 0.06, lesion_recall=mean,
        panoptic_quality=mean - 0.1, calibration_error=0.2 - 0.15 * mean, sizes=sizes,
    )  # fmt: skip


def _compared(
    dice: dict[tuple[str, int | None, str], np.ndarray], arm: str, baseline: str, n: int | None, name: str
) -> Comparison:
    difference = dice[arm, n, name] - dice[baseline, n, name]
    low, high = _interval(difference)
    verdict = "gain" if low > 0.004 else "harm" if high < 0 else "no evidence"
    p = 0.0004 if verdict != "no evidence" else 0.31
    return Comparison.model_validate({
        "arm": arm, "baseline": baseline, "n_annotated": n, "class": name, "mean_difference": float(difference.mean()),
        "ci_low": low, "ci_high": high, "p": p, "p_holm": min(8 * p, 1.0), "n_patients": _PATIENTS,
        "mde": 2.9 * float(difference.std()) / _PATIENTS**0.5, "coverage": 0.93, "verdict": verdict,
    })  # fmt: skip


def _saving(arm: str, name: str) -> Saving:
    said = f"With 8 annotated patients {arm} reaches in {name} what classical reaches with 14: 6 saved (95% CI 2 to 11)."
    return Saving(
        arm=arm,
        baseline="classical",
        n_annotated=8,
        class_name=name,
        saved=6.0,
        low=2.0,
        high=11.0,
        said=said,
    )


def _cost(rng: np.random.Generator, arm: str, n: int | None) -> ArmCost:
    return ArmCost(
        arm=arm, n_annotated=n, fold=0, seed=0, optimiser_steps=900, patch_size=(64, 64),
        lesion_patch_share=float(rng.uniform(0.64, 0.67)), synthetic_patch_share=0.5 if ARMS.index(arm) > 2 else 0.0,
        training_cases=210, training_patients=80, seconds=float(rng.uniform(80, 95)),
    )  # fmt: skip


def big_tiles() -> tuple[Tile, ...]:
    """Phantom slices in the place of test cases, real and synthetic lesions."""
    case = chest(0)
    if case.label_map is None:
        raise RuntimeError("the phantom has a label map")
    mask: Mask = case.label_map.labels > 0
    moved: Mask = np.roll(mask, 2, axis=0)
    shown = [
        cut_tile(case, TileFacts("test", arm, f"c{k}", name, n, 0.2 + 0.3 * k), mask, moved)
        for arm in ARMS for n in SIZES for name in CLASSES[:3] for k in range(3)
    ]  # fmt: skip
    made = [
        cut_tile(case, TileFacts("real" if not kind else "synthetic", kind, "c1", name), mask)
        for kind in ("", "copy_paste", "cgan") for name in CLASSES[:2] for _ in range(6)
    ]  # fmt: skip
    return (*shown, *made)
