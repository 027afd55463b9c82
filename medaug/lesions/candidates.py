"""Lesion candidates from a segmentation: connected regions where a lesion is probable, each with a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from medaug.core.candidates import ScoredLesion
from medaug.core.case import Case
from medaug.core.geometry import NEIGHBOURS_26, Box
from medaug.core.volume import LabelMap, Prediction
from medaug.lesions.parts import LesionPart, moved_box

Scoring = Literal["max", "mean"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A place where a lesion may be.

    Attributes:
        part: Its voxels; the class is the one that most of them were given, empty where none was given any.
        score: The chance of a lesion there, 0..1.
    """

    part: LesionPart
    score: float

    def scored(self, case: Case) -> ScoredLesion:
        """The candidate as a line of a list."""
        grid = case.volume.grid
        x, y, z = (round(float(mm), 4) for mm in grid.to_mm(self.part.centre))
        return ScoredLesion(
            lesion_id=f"{case.case_id}_{self.part.name}",
            case_id=case.case_id,
            patient_id=case.patient_id,
            x_mm=x,
            y_mm=y,
            z_mm=z,
            score=round(self.score, 6),
            box=(*self.part.box.start, *self.part.box.stop),
            diameter_mm=round(self.part.diameter_mm(grid), 3) if case.volume.spacing_known else None,
            class_name=self.part.class_name or None,
        )


def lesion_chance(prediction: Prediction) -> Float32[np.ndarray, "I J K"]:
    """Probability of a lesion of any class, 0..1; where a lesion was labelled, of its own class alone.

    Without a confidence it is 1 where a lesion was labelled and 0 elsewhere.
    """
    labelled = prediction.label_map.labels > 0
    if prediction.confidence is None:
        return labelled.astype(np.float32)
    return np.where(labelled, prediction.confidence, 1.0 - prediction.confidence).astype(np.float32)


def find_candidates(
    prediction: Prediction, *, threshold: float, scoring: Scoring, fewest_voxels: int = 1
) -> tuple[Candidate, ...]:
    """26-connected components of where the chance of a lesion is at least the threshold, the surest first.

    Args:
        prediction: Of a whole scan.
        threshold: Of the chance; low, so that the score decides what is kept.
        scoring: Largest or mean chance over the voxels of a candidate.
        fewest_voxels: Smaller candidates are left out.
    """
    chance = lesion_chance(prediction)
    above = chance >= threshold
    if not above.any():
        return ()
    near = Box.around(above)
    numbered, _ = ndimage.label(above[near.slices], NEIGHBOURS_26)
    chance, found = chance[near.slices], []
    for number, inner in enumerate(ndimage.find_objects(numbered), start=1):
        mask = numbered[inner] == number
        if np.count_nonzero(mask) < fewest_voxels:
            continue
        box = moved_box(inner, near)
        inside = chance[inner][mask]
        score = float(inside.max() if scoring == "max" else inside.mean())
        part = LesionPart(f"{number:04d}", _class(prediction.label_map, box, mask), box, mask)
        found.append(Candidate(part, min(score, 1.0)))
    return tuple(sorted(found, key=lambda one: -one.score))


def _class(label_map: LabelMap, box: Box, mask: np.ndarray) -> str:
    """The class that most of the voxels were given, or empty."""
    counts = np.bincount(label_map.labels[box.slices][mask], minlength=2)[1:]
    return label_map.class_names[int(counts.argmax())] if counts.any() else ""
