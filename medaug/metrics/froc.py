"""Free-response ROC: how many lesions are found at how many false positives a scan.

A candidate hits a lesion where its centre lies within the radius of the lesion (half the diameter of the ball of its
volume) around the lesion's centre, as in LUNA16 (Setio et al., Med Image Anal 2017), or on a voxel of the lesion, since
lesions are no balls; or, with boxes, where intersection over union reaches 0.1, as in nnDetection (Baumgartner et al.,
MICCAI 2021). Of several candidates on a lesion the surest counts and the others are no false positives.

The sensitivity at f false positives a scan is the largest that some threshold reaches with at most f of them; nothing
is interpolated. The mean over 1/8, 1/4, 1/2, 1, 2, 4 and 8 is the competition performance metric of LUNA16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Bool, Float

from medaug.core.candidates import FrocCurve, FrocPoint, ScoredLesion
from medaug.core.geometry import Grid
from medaug.core.seeding import SeedTree
from medaug.lesions.parts import LesionPart
from medaug.metrics.resampled import Chosen, estimates

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LEAST_IOU = 0.1
HitRule = Literal["centre", "iou"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What the candidates of one scan amount to.

    Attributes:
        patient_id: Whose scan it is.
        classes: Of each reference lesion.
        found: (L,) score of the surest candidate that hits it, minus infinity where none does.
        false: (F,) scores of the candidates that hit nothing.
    """

    patient_id: str
    classes: tuple[str, ...]
    found: Float[np.ndarray, "L"]
    false: Float[np.ndarray, "F"]


def match(
    patient_id: str,
    lesions: Sequence[LesionPart],
    candidates: Sequence[ScoredLesion],
    grid: Grid,
    rule: HitRule = "centre",
) -> Scan:
    """Lay the candidates of a scan over its reference lesions.

    Args:
        patient_id: Whose scan it is.
        lesions: The reference.
        candidates: With a box each, where the rule is ``iou``.
        grid: Of the reference.
        rule: When a candidate hits a lesion.
    """
    scores = np.array([one.score for one in candidates], dtype=np.float64)
    hits = np.zeros((len(lesions), len(candidates)), dtype=bool)
    for n, lesion in enumerate(lesions):
        if candidates:
            hits[n] = (
                _centre_hits(lesion, candidates, grid)
                if rule == "centre"
                else box_iou(lesion, candidates) >= LEAST_IOU
            )
    found = np.where(hits, scores, -np.inf).max(axis=1, initial=-np.inf)
    return Scan(patient_id, tuple(one.class_name for one in lesions), found, scores[~hits.any(axis=0)])


def _centre_hits(lesion: LesionPart, candidates: Sequence[ScoredLesion], grid: Grid) -> Bool[np.ndarray, "N"]:
    centre = grid.to_mm(lesion.centre)
    points = np.array([(one.x_mm, one.y_mm, one.z_mm) for one in candidates])
    near = np.linalg.norm(points - centre, axis=1) <= lesion.diameter_mm(grid) / 2
    voxels = np.rint([grid.to_index((x, y, z)) for x, y, z in points.tolist()]).astype(int)
    return np.asarray(near | [lesion.covers((i, j, k)) for i, j, k in voxels.tolist()])


def box_iou(lesion: LesionPart, candidates: Sequence[ScoredLesion]) -> Float[np.ndarray, "N"]:
    """Intersection over union of the lesion's box and those of candidates; 0 for one without a box."""
    boxes = np.array([one.box or (0,) * 6 for one in candidates], dtype=np.float64)
    start, stop = np.array(lesion.box.start), np.array(lesion.box.stop)
    sides = np.minimum(boxes[:, 3:], stop) - np.maximum(boxes[:, :3], start)
    both = np.clip(sides, 0, None).prod(axis=1)
    union = (boxes[:, 3:] - boxes[:, :3]).prod(axis=1) + (stop - start).prod() - both
    return np.asarray(both / union)


def sensitivities(
    found: Float[np.ndarray, "L"], false: Float[np.ndarray, "F"], n_scans: int
) -> Float[np.ndarray, "7"]:
    """Share of lesions that are found at each of :data:`RATES`; NaN where there is no lesion.

    Args:
        found: Score of each lesion.
        false: Score of each false positive.
        n_scans: Scans that both come from.
    """
    if not len(found):
        return np.full(len(RATES), np.nan)
    falling = np.append(-np.sort(-false), -np.inf)
    allowed = [min(int(rate * n_scans + 1e-9), len(false)) for rate in RATES]
    # the first false positive that is too many bounds the threshold from below
    return np.array([np.mean(found > falling[n]) for n in allowed])


def froc(scans: Sequence[Scan], classes: Sequence[str], seed: SeedTree) -> tuple[FrocCurve, ...]:
    """The curve of all lesions, then those of the classes there are, with intervals over patients.

    Raises:
        ValueError: If there is no scan.
    """
    names = (None, *(name for name in classes if any(name in scan.classes for scan in scans)))
    return tuple(_curve(scans, name, seed.child(name or "all").rng()) for name in names)


def _curve(scans: Sequence[Scan], class_name: str | None, rng: np.random.Generator) -> FrocCurve:
    wanted = [np.array([class_name in (None, name) for name in scan.classes], dtype=bool) for scan in scans]
    found = [scan.found[kept] for scan, kept in zip(scans, wanted, strict=True)]

    def figures(chosen: Chosen) -> Float[np.ndarray, "8"]:
        lesions = np.concatenate([found[n] for n in chosen])
        reached = sensitivities(lesions, np.concatenate([scans[n].false for n in chosen]), len(chosen))
        return np.append(reached, reached.mean())

    n_patients = len({scan.patient_id for scan, one in zip(scans, found, strict=True) if len(one)})
    bearing = [n_patients] * (len(RATES) + 1)
    *points, mean = estimates([scan.patient_id for scan in scans], figures, bearing, rng)
    return FrocCurve(
        class_name=class_name,
        n_lesions=sum(len(one) for one in found),
        n_patients=n_patients,
        points=tuple(
            FrocPoint(false_positives=rate, sensitivity=point)
            for rate, point in zip(RATES, points, strict=True)
        ),
        mean_sensitivity=mean,
    )
