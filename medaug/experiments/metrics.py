"""Dice per class with an explicit empty rule.

An empty reference has no Dice: its row says null, is left out of every mean, and tells the false-positive
volume and count apart. An empty prediction on a lesion is 0. Nothing on nothing is never 1 in a mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import ndimage

from medaug.core.errors import GeometryError, LabelError
from medaug.core.results import LesionCounts, SizeCount
from medaug.core.volume import LabelMap, Mask

_TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26-connected


@final
@dataclass(frozen=True, slots=True)
class ClassDice:
    """One class of one case.

    Attributes:
        class_name: The class.
        dice: 0..1; None where the reference is empty.
        false_positive_voxels: Where the reference is empty; None elsewhere.
        false_positive_lesions: 26-connected components of these voxels.
        false_positive_mm3: Their volume; None where the spacing is nominal too.
    """

    class_name: str
    dice: float | None
    false_positive_voxels: int | None = None
    false_positive_lesions: int | None = None
    false_positive_mm3: float | None = None


def dice(prediction: Mask, reference: Mask) -> float | None:
    """Dice overlap 2|A and B| / (|A| + |B|) (Dice, Ecology 1945); None where the reference is empty."""
    if not reference.any():
        return None
    both = int(np.count_nonzero(prediction & reference))
    return 2.0 * both / (int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference)))


def score_case(
    prediction: LabelMap, reference: LabelMap, *, spacing_known: bool = True
) -> tuple[ClassDice, ...]:
    """Every class of the table, in its order.

    Args:
        prediction: On the reference's grid, with the same class table.
        reference: What experts outlined.
        spacing_known: False keeps mm figures out.

    Raises:
        GeometryError: If the grids differ.
        LabelError: If the class tables differ, or a label id is in no table.
    """
    if not prediction.grid.agrees_with(reference.grid):
        raise GeometryError(
            f"prediction lies on another grid: {prediction.grid.shape}",
            expected=f"{reference.grid.shape} at the reference's place",
            hint="resample the prediction to the image's grid",
        )
    if prediction.class_names != reference.class_names:
        raise LabelError(
            f"prediction knows the classes {', '.join(prediction.class_names)}",
            expected=", ".join(reference.class_names),
        )
    n = len(reference.class_names) + 1
    _check_ids(prediction, n, "prediction")
    _check_ids(reference, n, "reference")
    pairs = reference.labels.astype(np.int64) * n + prediction.labels
    counts = np.bincount(pairs.ravel(), minlength=n * n).reshape(n, n)
    return tuple(
        _class_dice(label_id, counts, prediction, spacing_known=spacing_known) for label_id in range(1, n)
    )


def _check_ids(label_map: LabelMap, n: int, which: str) -> None:
    low, high = int(label_map.labels.min()), int(label_map.labels.max())
    if low < 0 or high >= n:
        raise LabelError(f"{which} holds label id {high if high >= n else low}", expected=f"0 to {n - 1}")


def _class_dice(label_id: int, counts: np.ndarray, prediction: LabelMap, *, spacing_known: bool) -> ClassDice:
    """One class from the table of joint counts (reference x prediction)."""
    name = prediction.class_names[label_id - 1]
    in_reference, in_prediction = int(counts[label_id].sum()), int(counts[:, label_id].sum())
    if in_reference:
        return ClassDice(name, 2.0 * int(counts[label_id, label_id]) / (in_reference + in_prediction))
    _, lesions = (
        ndimage.label(prediction.labels == label_id, structure=_TOUCHING) if in_prediction else (None, 0)
    )
    volume_mm3 = round(in_prediction * prediction.grid.voxel_mm3, 3) if spacing_known else None
    return ClassDice(name, None, in_prediction, int(lesions), volume_mm3)


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
