"""Copying audit of lesions: is a synthetic lesion nearer to one training lesion than real ones ever are?

A smooth lesion fits many others, a copy fits one. So correlations are normalised from both sides, as speaker
verification does (symmetric score normalisation, Auckenthaler et al., Digital Signal Processing 2000): against what
the query reaches with all training lesions, and against what the training lesion reaches with those of other
patients. Then the nearest is set against the runners-up of other patients. What lead held-out real lesions have over
the same training lesions, given their size, says what is chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage, stats

from medaug.core.assessment import CopyFlag, Verdict
from medaug.core.runs import Progress
from medaug.quality.samples import LesionSample
from medaug.quality.spectra import SpectrumLibrary

FALSE_POSITIVE_SHARE = 0.01
FEWEST_HELD_OUT = 20
_FEWEST_TO_CALIBRATE = 5
_RUNNERS_UP = 5
_SMALLEST_AREA, _SMALLEST_VOXELS = 12, 16
_PLANTED = 60
_COHORT, _FEWEST_TO_NORMALISE = 200, 8
_WEAKEST_RECALL = 0.5
_EULER = 0.5772


@final
@dataclass(frozen=True, slots=True)
class Nearest:
    """The training lesion a query is most like.

    Attributes:
        number: Its place among the training lesions.
        lead: How far its normalised correlation is ahead of the runners-up of other patients.
        log_area: Of the query's largest slice, in pixels.
    """

    number: int
    lead: float
    log_area: float


@final
@dataclass(frozen=True, slots=True)
class Calibration:
    """What lead chance gives, by size, from held-out lesions: a Gumbel law, since a lead is a largest value.

    The threshold is the upper 95% confidence limit of the law's 99th percentile (large-sample variance of the
    quantile, Tiago de Oliveira 1983), so that few held-out lesions make it stricter, not looser.
    """

    intercept: float
    slope: float
    smallest: float
    largest: float
    threshold: float

    @staticmethod
    def fitted_on(found: Sequence[Nearest]) -> Calibration | None:
        """The law for held-out lesions; None for fewer than five."""
        n = len(found)
        if n < _FEWEST_TO_CALIBRATE:
            return None
        leads, sizes = np.array([f.lead for f in found]), np.array([f.log_area for f in found])
        slope, intercept = 0.0, float(leads.mean())
        if n >= FEWEST_HELD_OUT and float(np.ptp(sizes)) > 0.5:
            slope, intercept = (float(v) for v in np.polyfit(sizes, leads, 1))
        scale = max(float((leads - intercept - slope * sizes).std(ddof=1)) * math.sqrt(6.0) / math.pi, 1e-3)
        y = -math.log(-math.log(1.0 - FALSE_POSITIVE_SHARE))
        margin = 1.645 * math.sqrt((1.109 + 0.514 * y + 0.608 * y * y) / n)
        return Calibration(
            intercept, slope, float(sizes.min()), float(sizes.max()), scale * (y - _EULER + margin)
        )

    def score(self, nearest: Nearest) -> float:
        """The lead over what is usual for the size, in units of the threshold: 1 and more is flagged."""
        size = min(max(nearest.log_area, self.smallest), self.largest)
        return (nearest.lead - self.intercept - self.slope * size) / self.threshold


@final
@dataclass(frozen=True, slots=True, eq=False)
class LesionAudit:
    """The audit of the lesions of a set.

    Attributes:
        verdict: The verdict.
        reasons: Why, in words.
        flagged: The copies found, worst first.
        closest: (synthetic, training, score) of every judged lesion, worst first.
        n_judged: Lesions large enough to be judged.
        n_held_out: Held-out lesions the calibration rests on.
        recall: Share of planted copies of training lesions that the search finds; None without a threshold.
        detection_limit: Largest share of copies that could have gone unseen, 95%.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    flagged: tuple[CopyFlag, ...]
    closest: tuple[tuple[LesionSample, LesionSample, float], ...]
    n_judged: int
    n_held_out: int
    recall: float | None
    detection_limit: float


@final
class CopySearch:
    """Training lesions to search and held-out ones to judge the result by.

    Args:
        training: Lesions of the fold's training patients; at least one.
        held_out: Lesions of its held-out patients.
        flat: Whether the queries lie on one slice each.
        progress: Told of every held-out lesion.
    """

    def __init__(
        self,
        training: Sequence[LesionSample],
        held_out: Sequence[LesionSample],
        progress: Progress,
        *,
        flat: bool,
    ) -> None:
        self._training = tuple(training)
        self._patients = np.array([sample.patient_id for sample in training])
        self._library = SpectrumLibrary(training, flat=flat)
        self._usual, self._own = _queries(held_out, flat=flat), _queries(training, flat=flat)
        self._mean, self._deviation = self._norms(progress)
        progress.start("held-out lesions", len(self._usual))
        found = []
        for sample in self._usual:
            found.append(self.nearest(sample))
            progress.advance()
        self.calibration = Calibration.fitted_on(found)

    @property
    def n_held_out(self) -> int:
        """Held-out lesions the calibration rests on."""
        return len(self._usual)

    def nearest(self, query: LesionSample) -> Nearest:
        """The training lesion a query is most like."""
        fisher = self._fisher(query)
        if self._is_normalised:
            own = (fisher - fisher.mean()) / max(float(fisher.std()), 1e-6)
            fisher = own + (fisher - self._mean) / self._deviation
        best = int(np.argmax(fisher))
        others = np.sort(fisher[self._patients != self._patients[best]])[::-1][:_RUNNERS_UP]
        lead = float(fisher[best] - (others.mean() if others.size else 0.0))
        return Nearest(best, lead, math.log(int(query.mask.sum(axis=(0, 1)).max())))

    def _fisher(self, query: LesionSample) -> Float[np.ndarray, " T"]:
        return np.arctanh(np.minimum(self._library.correlations(query).astype(np.float64), 0.9999))

    @property
    def _is_normalised(self) -> bool:
        """Fewer lesions than this have no mean and deviation worth the name."""
        return min(len(self._training), len(self._own)) >= _FEWEST_TO_NORMALISE

    def _norms(self, progress: Progress) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
        """What each training lesion usually reaches with those of other patients: mean and deviation."""
        mean, deviation = np.zeros(len(self._training)), np.ones(len(self._training))
        if not self._is_normalised:
            return mean, deviation
        cohort = [self._own[n * len(self._own) // _COHORT] for n in range(_COHORT)]
        cohort = cohort if len(self._own) > _COHORT else self._own
        progress.start("training lesions", len(cohort))
        rows = []
        for sample in cohort:
            rows.append(np.where(self._patients == sample.patient_id, np.nan, self._fisher(sample)))
            progress.advance()
        table = np.stack(rows)
        known = np.isfinite(table).sum(axis=0) >= _FEWEST_TO_NORMALISE
        mean[known] = np.nanmean(table[:, known], axis=0)
        deviation[known] = np.maximum(np.nanstd(table[:, known], axis=0), 1e-6)
        return mean, deviation

    def flag(self, query: LesionSample, nearest: Nearest, score: float) -> CopyFlag:
        """The line of the report for a copy."""
        match = self._library.match(query, nearest.number)
        source = self._training[nearest.number].case_id
        return CopyFlag(
            case_id=query.case_id, source_case_id=source, part="lesion", score=round(score, 4), transform=match.transform
        )  # fmt: skip

    def source(self, nearest: Nearest) -> LesionSample:
        """The training lesion itself."""
        return self._training[nearest.number]

    def recall(self, rng: np.random.Generator) -> float | None:
        """Share of planted copies (turned, flipped, zoomed, moved, noisy) that would be flagged.

        None without a threshold, or if no training lesion is large enough.
        """
        if self.calibration is None or not self._own:
            return None
        chosen = rng.permutation(len(self._own))[:_PLANTED]
        copies = [plant_copy(self._own[int(n)], rng) for n in chosen]
        judged = [copy for copy in copies if can_be_judged(copy)]
        scores = [self.calibration.score(self.nearest(copy)) for copy in judged]
        return float(np.mean(np.array(scores) >= 1.0)) if scores else None


def _queries(samples: Sequence[LesionSample], *, flat: bool) -> list[LesionSample]:
    """Lesions as queries are: their largest sections, or those of more than one slice; large enough all."""
    cut = [s.slice_at(s.largest_slice) if flat else s for s in samples if flat or not s.is_flat]
    return [sample for sample in cut if can_be_judged(sample)]


def can_be_judged(sample: LesionSample) -> bool:
    """Whether a lesion has enough voxels to be told from others."""
    return (
        int(sample.mask.sum()) >= _SMALLEST_VOXELS
        and int(sample.mask.sum(axis=(0, 1)).max()) >= _SMALLEST_AREA
    )


def plant_copy(sample: LesionSample, rng: np.random.Generator) -> LesionSample:
    """A copy as a leaking generator might make it: any turn in plane, flips, zoom of 0.8 to 1.25, 5% noise."""
    angle, zoom = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.8, 1.25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    spacing = np.array(sample.spacing_mm[:2])
    matrix = np.eye(3)
    matrix[:2, :2] = (turn @ np.diag(rng.choice((-1.0, 1.0), 2)) / zoom) * spacing / spacing[:, None]
    matrix[2, 2] = rng.choice((-1.0, 1.0))
    side = int(np.ceil(np.hypot(*sample.mask.shape[:2]) * zoom * spacing.max() / spacing.min()))
    shape = (side, side, sample.mask.shape[2])
    middle = np.argwhere(sample.mask).mean(axis=0)
    centre = (np.array(shape) - 1) / 2 + np.array([*rng.uniform(-0.5, 0.5, 2), 0.0])
    centre[2] = middle[2] if matrix[2, 2] > 0 else shape[2] - 1 - middle[2]
    offset = middle - matrix @ centre
    mask = ndimage.affine_transform(sample.mask.astype(np.float32), matrix, offset, shape, order=1) > 0.5
    image = np.stack([_warped(channel, matrix, offset, shape, rng) for channel in sample.image])
    return replace(sample, image=image, mask=mask, figures=None)


def _warped(
    channel: Float[np.ndarray, "I J K"],
    matrix: Float[np.ndarray, "3 3"],
    offset: Float[np.ndarray, "3"],
    shape: tuple[int, int, int],
    rng: np.random.Generator,
) -> Float[np.ndarray, "P Q R"]:
    moved = ndimage.affine_transform(channel, matrix, offset, shape, order=1, mode="nearest")
    noise = 0.05 * float(np.ptp(channel)) * rng.standard_normal(shape) * 0.5
    return np.asarray(moved + noise, dtype=np.float32)


def audit_lesions(
    synthetic: Sequence[LesionSample],
    training: Sequence[LesionSample],
    held_out: Sequence[LesionSample],
    rng: np.random.Generator,
    progress: Progress,
) -> LesionAudit:
    """Search every synthetic lesion among the training lesions and judge the set.

    Args:
        synthetic: Lesions of the set.
        training: Lesions of the fold's training patients; at least one.
        held_out: Lesions of its held-out patients.
        rng: For the planted copies.
        progress: Told of every lesion.
    """
    judged = [sample for sample in synthetic if can_be_judged(sample)]
    # specks have no texture of their own: as candidates they would only draw in what is like nothing else
    searched = [sample for sample in training if can_be_judged(sample)] or list(training)
    found: list[tuple[CopySearch, LesionSample, Nearest, float]] = []
    recalls, supports = [], []
    for flat in (False, True):
        queries = [sample for sample in judged if sample.is_flat is flat]
        if not queries:
            continue
        search = CopySearch(searched, held_out, progress, flat=flat)
        supports.append(search.n_held_out)
        recalls += [(search.recall(rng), len(queries))]
        progress.start("synthetic lesions", len(queries))
        for query in queries:
            nearest = search.nearest(query)
            score = search.calibration.score(nearest) if search.calibration else 0.0
            found.append((search, query, nearest, score))
            progress.advance()
    found.sort(key=lambda row: -row[3])
    flagged = tuple(s.flag(query, nearest, score) for s, query, nearest, score in found if score >= 1.0)
    recall = _mean_recall(recalls)
    limit = min(1.0, 3.0 / (len(judged) * recall)) if judged and recall else 1.0
    n_held_out = min(supports, default=0)
    verdict, reasons = judge(len(synthetic), len(judged), len(flagged), n_held_out, recall)
    closest = tuple((query, s.source(nearest), score) for s, query, nearest, score in found)
    return LesionAudit(verdict, reasons, flagged, closest, len(judged), n_held_out, recall, limit)


def _mean_recall(rows: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(recall, n) for recall, n in rows if recall is not None]
    if not known or len(known) < len(rows):
        return None
    return sum(recall * n for recall, n in known) / sum(n for _, n in known)


def judge(
    n_synthetic: int, n_judged: int, n_flagged: int, n_held_out: int, recall: float | None
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on the lesions of a set, and why.

    Copies fail the set when the lower 95% limit of their share lies above what held-out lesions allow: 1%, or
    3/n where n held-out lesions are fewer than the rule asks for. Nothing but evidence passes it.
    """
    counts = f"{n_flagged} of {n_judged} synthetic lesions look like copies"
    allowed = FALSE_POSITIVE_SHARE if n_held_out >= FEWEST_HELD_OUT else min(1.0, 3.0 / max(n_held_out, 1))
    lowest = float(stats.beta.ppf(0.05, n_flagged, n_judged - n_flagged + 1)) if n_flagged else 0.0
    if recall is not None and lowest > allowed:
        return "fail", (f"{counts}: at least {lowest:.1%} where chance gives {allowed:.0%}",)
    doubts = []
    if n_held_out < FEWEST_HELD_OUT:
        doubts.append(f"{n_held_out} held-out lesions to calibrate on, {FEWEST_HELD_OUT} are needed")
    if 2 * n_judged < n_synthetic or not n_judged:
        doubts.append(
            f"{n_synthetic - n_judged} of {n_synthetic} synthetic lesions are too small to be judged"
        )
    if recall is not None and recall < _WEAKEST_RECALL:
        doubts.append(f"the search found {recall:.0%} of planted copies, {_WEAKEST_RECALL:.0%} are needed")
    if doubts:
        return "inconclusive", (counts, *doubts)
    found = "" if recall is None else f"; the search found {recall:.0%} of planted copies"
    return "pass", (f"{counts}, no more than chance{found}",)
