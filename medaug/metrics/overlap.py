"""A prediction beside its reference: checked, cut down to what is not background, and compared voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Int

from medaug.core.errors import GeometryError, LabelError
from medaug.core.volume import Confidence, LabelMap, Labels, Mask, Prediction
from medaug.metrics.surfaces import Frame

Planes = tuple[Int[np.ndarray, "P"], Int[np.ndarray, "Q"], Int[np.ndarray, "R"]]
_BINS = 15


@final
@dataclass(frozen=True, slots=True, eq=False)
class ClassPair:
    """One class on both sides, not background on at least one of them unless both are empty.

    Attributes:
        prediction: (I, J, K) True where the class was given.
        reference: (I, J, K) True where experts outlined it.
        frame: Where these voxels lie.
        right: (I, J, K) True where the given label is the reference's, whatever the class.
        confidence: (I, J, K) probability of the given label; None where unknown.
    """

    prediction: Mask
    reference: Mask
    frame: Frame
    right: Bool[np.ndarray, "I J K"]
    confidence: Confidence | None

    def calibration_error(self) -> float | None:
        """Expected calibration error (Guo et al., ICML 2017), 15 bins of equal width.

        Over the voxels where the class was given or outlined: elsewhere a segmenter is nearly always sure and right,
        and would look calibrated on any image with enough background. None without confidence, or without such voxels.
        """
        inside = self.prediction | self.reference
        if self.confidence is None or not inside.any():
            return None
        sure = self.confidence[inside].astype(np.float64)
        bins = np.clip(np.ceil(sure * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
        gaps = np.bincount(bins, self.right[inside] - sure, minlength=_BINS)
        return float(np.abs(gaps).sum() / len(sure))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Both label maps without the planes that are background on either side and border on none that is not.

    Attributes:
        prediction: Label ids.
        reference: Label ids.
        frame: Where their voxels lie.
        class_names: Names of ids 1, 2, ... in order.
        confidence: Probability of the predicted label; None where unknown.
    """

    prediction: Labels
    reference: Labels
    frame: Frame
    class_names: tuple[str, ...]
    confidence: Confidence | None

    @staticmethod
    def of(prediction: Prediction, reference: LabelMap) -> Pair:
        """Check and cut.

        Raises:
            GeometryError: If the grids differ.
            LabelError: If the class tables differ, or a label id is in no table.
        """
        answer = prediction.label_map
        if not answer.grid.agrees_with(reference.grid):
            raise GeometryError(
                f"prediction lies on another grid: {answer.grid.shape}",
                expected=f"{reference.grid.shape} at the reference's place",
                hint="resample the prediction to the image's grid",
            )
        if answer.class_names != reference.class_names:
            raise LabelError(
                f"prediction knows the classes {', '.join(answer.class_names)}",
                expected=", ".join(reference.class_names),
            )
        kept = _near((answer.labels != 0) | (reference.labels != 0))
        ours, theirs = _cut(answer.labels, kept), _cut(reference.labels, kept)
        _check_ids(ours, len(reference.class_names), "prediction")
        _check_ids(theirs, len(reference.class_names), "reference")
        sure = None if prediction.confidence is None else _cut(prediction.confidence, kept)
        return Pair(ours, theirs, Frame.of(reference.grid).planes(kept), reference.class_names, sure)

    def dice(self) -> tuple[float | None, ...]:
        """Dice 2|A and B| / (|A| + |B|) of every class (Dice, Ecology 1945); None where the reference has none of it."""
        n = len(self.class_names) + 1
        inside = (self.prediction != 0) | (self.reference != 0)
        ours, theirs = self.prediction[inside], self.reference[inside]
        counts = np.bincount(theirs.astype(np.int64) * n + ours, minlength=n * n).reshape(n, n)
        outlined, given = counts.sum(axis=1), counts.sum(axis=0)
        return tuple(
            2.0 * int(counts[c, c]) / int(outlined[c] + given[c]) if outlined[c] else None
            for c in range(1, n)
        )

    def of_class(self, class_name: str) -> ClassPair:
        """The masks of one class, cut down further."""
        number = self.class_names.index(class_name) + 1
        ours, theirs = self.prediction == number, self.reference == number
        kept = _near(ours | theirs)
        right = self.prediction == self.reference
        ours, theirs, right = (_cut(array, kept) for array in (ours, theirs, right))
        sure = None if self.confidence is None else _cut(self.confidence, kept)
        return ClassPair(ours, theirs, self.frame.planes(kept), right, sure)


def _near(occupied: Mask) -> Planes:
    """Planes that hold something, and those beside them; the first ones where nothing does."""
    columns = np.any(occupied, axis=2)
    sides = np.any(columns, axis=1), np.any(columns, axis=0), np.any(occupied, axis=(0, 1))
    i, j, k = (_beside(np.asarray(side)) for side in sides)
    return i, j, k


def _cut(array: np.ndarray, kept: Planes) -> np.ndarray:
    """The planes that are kept; no copy where all are."""
    return array if array.shape == tuple(map(len, kept)) else array[np.ix_(*kept)]


def _beside(line: Bool[np.ndarray, "N"]) -> Int[np.ndarray, "M"]:
    wide = line.copy()
    wide[1:] |= line[:-1]
    wide[:-1] |= line[1:]
    wide[0] |= not line.any()
    return np.flatnonzero(wide)


def _check_ids(labels: Labels, n_classes: int, which: str) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > n_classes:
        raise LabelError(f"{which} holds label id {high if low >= 0 else low}", expected=f"0 to {n_classes}")
