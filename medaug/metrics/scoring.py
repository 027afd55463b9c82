"""All metrics of one class in one case, with one rule for empty masks.

| figure | reference empty | prediction empty | both empty |
|---|---|---|---|
| Dice, surface Dice | null | 0 | null |
| HD95 | null | null | null |
| volume error in mm3 | the predicted volume | minus the reference's volume | 0 |
| volume error as a share | null | -1 | null |
| lesions | all predicted ones are false | all outlined ones are missed | counts of 0 |
| calibration error | over the predicted voxels | over the outlined voxels | null |

Nothing on nothing is never 1 in a mean: null is left out of every mean, and a row with an empty reference tells its
false-positive voxels, lesions and volume apart. Where the spacing is nominal every figure in mm, the surface Dice and
the lesions by size are null or empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

from medaug.core.case import Case
from medaug.core.errors import LabelError
from medaug.core.results import DiceRow, LesionCounts, SizeCount
from medaug.core.volume import LabelMap, Mask, Prediction
from medaug.metrics.matching import count_lesions
from medaug.metrics.overlap import ClassPair, Pair
from medaug.metrics.surfaces import Frame, Outline, hd95_mm, surface_dice

SURFACE_TOLERANCE_MM = 1.0


@final
@dataclass(frozen=True, slots=True)
class Scored:
    """Whose prediction of which case is scored.

    Attributes:
        arm: What predicted it.
        n_annotated: Patients whose annotations were trained on; None = all.
        fold: Outer fold.
        seed: Of the training.
        case_id: The case.
        patient_id: Its patient.
    """

    arm: str
    n_annotated: int | None
    fold: int
    seed: int
    case_id: str
    patient_id: str


@final
@dataclass(frozen=True, slots=True)
class Terms:
    """What mm figures rest on.

    Attributes:
        spacing_known: False leaves them out.
        surface_tolerance_mm: Of the surface Dice. The default of 1 mm keeps figures of several datasets comparable;
            where the distance between two experts is known, that is the one to use (Nikolov et al., 2021).
    """

    spacing_known: bool = True
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM


def reference_of(case: Case) -> LabelMap:
    """The label map that a case is scored by.

    Raises:
        LabelError: If it has none.
    """
    if case.label_map is None:
        raise LabelError("case to be scored has no label", where=case.case_id)
    return case.label_map


def dice(prediction: Mask, reference: Mask) -> float | None:
    """Dice overlap 2|A and B| / (|A| + |B|) (Dice, Ecology 1945); None where the reference is empty."""
    if not reference.any():
        return None
    both = int(np.count_nonzero(prediction & reference))
    return 2.0 * both / (int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference)))


def dice_by_class(prediction: LabelMap, reference: LabelMap) -> tuple[float | None, ...]:
    """The Dice of every class of the table, in its order, and nothing else.

    Raises:
        GeometryError: If the grids differ.
        LabelError: If the class tables differ, or a label id is in no table.
    """
    return Pair.of(Prediction(prediction), reference).dice()


def score_case(of: Scored, prediction: Prediction, reference: LabelMap, terms: Terms) -> tuple[DiceRow, ...]:
    """A row for every class of the table, in its order.

    Args:
        of: Whose rows they are.
        prediction: On the reference's grid, with the same class table.
        reference: What experts outlined.
        terms: Whether and how figures in mm are taken.

    Raises:
        GeometryError: If the grids differ.
        LabelError: If the class tables differ, or a label id is in no table.
    """
    pair = Pair.of(prediction, reference)
    return tuple(
        _row(of, name, value, pair.of_class(name), terms)
        for name, value in zip(reference.class_names, pair.dice(), strict=True)
    )


def _row(of: Scored, class_name: str, value: float | None, pair: ClassPair, terms: Terms) -> DiceRow:
    frame = pair.frame if terms.spacing_known else None
    given, outlined = (int(np.count_nonzero(mask)) for mask in (pair.prediction, pair.reference))
    lesions = count_lesions(pair.prediction, pair.reference, frame)
    surface, distance = _outlines(pair, frame, terms.surface_tolerance_mm)
    empty = outlined == 0
    return DiceRow(
        arm=of.arm,
        n_annotated=of.n_annotated,
        fold=of.fold,
        seed=of.seed,
        case_id=of.case_id,
        patient_id=of.patient_id,
        class_name=class_name,
        dice=value,
        false_positive_voxels=given if empty else None,
        false_positive_lesions=lesions.predicted if empty else None,
        false_positive_mm3=_mm3(given, frame) if empty else None,
        surface_dice=surface,
        surface_tolerance_mm=None if surface is None else terms.surface_tolerance_mm,
        hd95_mm=distance,
        volume_error_mm3=_mm3(given - outlined, frame),
        volume_error=None if empty else (given - outlined) / outlined,
        lesions=lesions,
        calibration_error=pair.calibration_error(),
    )


def _outlines(pair: ClassPair, frame: Frame | None, tolerance_mm: float) -> tuple[float | None, float | None]:
    """Surface Dice and HD95."""
    if frame is None or not pair.reference.any():
        return None, None
    if not pair.prediction.any():
        return 0.0, None
    ours, theirs = Outline.of(pair.prediction, frame), Outline.of(pair.reference, frame)
    return surface_dice(ours, theirs, tolerance_mm), round(hd95_mm(ours, theirs), 3)


def _mm3(voxels: int, frame: Frame | None) -> float | None:
    return None if frame is None else round(voxels * frame.voxel_mm3, 3)


def lesion_precision(counts: LesionCounts) -> float | None:
    """Share of the predicted lesions that match one of the reference; None where none was predicted."""
    return counts.matched / counts.predicted if counts.predicted else None


def lesion_recall(counts: LesionCounts) -> float | None:
    """Share of the reference lesions that were found (sensitivity); None where there is none."""
    return counts.matched / counts.reference if counts.reference else None


def lesion_f1(counts: LesionCounts) -> float | None:
    """2 TP / (2 TP + FP + FN); None where neither side has a lesion."""
    both = counts.reference + counts.predicted
    return 2.0 * counts.matched / both if both else None


def panoptic_quality(counts: LesionCounts) -> float | None:
    """Sum of IoU / (TP + FP/2 + FN/2) (Kirillov et al., CVPR 2019); None where neither side has a lesion."""
    both = counts.reference + counts.predicted
    return 2.0 * counts.iou_sum / both if both else None


def pooled(counts: Iterable[LesionCounts]) -> LesionCounts:
    """The counts of several cases added up, size by size."""
    found = tuple(counts)
    sizes: dict[tuple[float, float | None], tuple[int, int]] = {}
    for size in (size for one in found for size in one.sizes):
        reference, hits = sizes.get((size.low_mm, size.high_mm), (0, 0))
        sizes[size.low_mm, size.high_mm] = (reference + size.reference, hits + size.found)
    return LesionCounts(
        reference=sum(one.reference for one in found),
        predicted=sum(one.predicted for one in found),
        matched=sum(one.matched for one in found),
        iou_sum=sum(one.iou_sum for one in found),
        sizes=tuple(
            SizeCount(low_mm=low, high_mm=high, reference=reference, found=hits)
            for (low, high), (reference, hits) in sorted(sizes.items(), key=lambda item: item[0][0])
        ),
    )
