"""Every synthetic lesion by itself: how typical it is, whether its class, label and rim hold, and one score of it.

The parts are on one scale, 0 to 1, and the score is the mean of those that were measured. Real lesions do not score 1:
half of them are less typical than the other half. So each class tells what real ones would score.

Samples are judged by training patients alone: whoever keeps the best of them, and trains on those, has asked nothing of
the patients who test the training. Held-out patients say what a class as a whole is worth, never a sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float

from medaug.core.assessment import ClassQuality, Figure, SampleScore
from medaug.core.seeding import SeedTree
from medaug.quality.features import Features, Standardiser
from medaug.quality.groups import FEWEST, mean_figure, parts_by_patient
from medaug.quality.recovery import ClassReader
from medaug.quality.rims import RimOpinions, Rims, detect_rims, rim_auc
from medaug.quality.samples import LesionSample, figures_of
from medaug.quality.seams import PastePair, paste_auc

Values = Float[np.ndarray, " _"]
_FEWEST_OF_CLASS: Final = 10  # training lesions that a class's own distances are compared with
_PARTS: Final = 5
_NEIGHBOURS: Final = 5
_LIMIT: Final = 5.0  # deviations: beyond, a figure is odd, no matter how far


@final
@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is scored, and against what.

    Attributes:
        made: Synthetic lesions.
        training: Real ones of the training patients.
        held_out: Real ones of the held-out patients.
        dice: Of a segmenter on the synthetic lesions, see :mod:`medaug.quality.fidelity`; None: not asked.
        dice_held_out: The same on held-out ones; NaN where it was not asked.
        pastes: Null pastes of the set.
    """

    made: Sequence[LesionSample]
    training: Sequence[LesionSample]
    held_out: Sequence[LesionSample]
    dice: Values | None = None
    dice_held_out: Values | None = None
    pastes: Sequence[PastePair] = ()


@final
@dataclass(frozen=True, slots=True)
class ClassParts:
    """The parts of the score over one class, and the same of real lesions."""

    recovered: Figure | None
    recovered_real: Figure | None
    label_dice: Figure | None
    label_dice_real: Figure | None
    seam_auc: Figure | None
    seam_auc_real: Figure | None
    score: Figure | None
    score_real: float | None

    def added_to(self, quality: ClassQuality) -> ClassQuality:
        """The same class with these figures."""
        return quality.model_copy(update={name: getattr(self, name) for name in self.__slots__})


@final
@dataclass(frozen=True, slots=True)
class Scores:
    """All samples in their order, and the parts of every class that has one."""

    samples: tuple[SampleScore, ...]
    classes: Mapping[str, ClassParts]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """The parts of one side's lesions; NaN where one was not measured."""

    typical: Values
    right: Values
    recovered: Values
    dice: Values
    seam: Values

    @property
    def score(self) -> Values:
        """Mean of what was measured of each lesion."""
        return np.asarray(np.nanmean([self.typical, self.recovered, self.dice, self.seam], axis=0))


def score_samples(material: Material, classes: Sequence[str], seed: SeedTree) -> Scores:
    """Score synthetic lesions one by one and class by class.

    Args:
        material: What is scored; at least one synthetic lesion and one of the training patients.
        classes: The class table.
        seed: Of dealing and of draws.
    """
    law = TypicalLaw(material.training, seed.child("typical"))
    made_rims, real_rims = Rims.of(material.made), Rims.of(material.training)
    kept_rims = Rims.of(material.held_out or material.training)
    told = detect_rims(made_rims, real_rims, seed.child("rims"))
    floor = detect_rims(kept_rims, real_rims, seed.child("rims-real")) if material.held_out else None
    strict, judge = ClassReader(material.held_out), ClassReader(material.training)
    right, _ = strict.recovered(material.made)
    _, own = judge.recovered(material.made)
    seam = np.full(len(material.made), np.nan) if told is None else 1.0 - told.made
    dice = np.full(len(material.made), np.nan) if material.dice is None else material.dice
    made = _Parts(law.shares(material.made), right, own, dice, seam)
    real = _real_parts(material, (strict, judge), told)
    found = {}
    for name in classes:
        root = seed.child(name)
        if material.pastes:
            auc, auc_real = paste_auc(material.pastes, name, root.child("pastes")), None
        else:
            auc = None if told is None else rim_auc(told, made_rims, real_rims, name, root.child("rims"))
            auc_real = (
                None if floor is None else rim_auc(floor, kept_rims, real_rims, name, root.child("rims"))
            )
        found[name] = _of_class(name, material, (made, real), (auc, auc_real), root)
    return Scores(_rows(material.made, made), {k: v for k, v in found.items() if v is not None})


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Real:
    """What real lesions reach: ``right`` and ``seam`` of training ones, ``recovered`` and ``dice`` of held-out ones.

    ``alike`` weights held-out ones so that they have the sizes of the synthetic ones.
    """

    right: Values
    recovered: Values
    seam: Values
    dice: Values
    alike: Values


def _real_parts(
    material: Material, readers: tuple[ClassReader, ClassReader], told: RimOpinions | None
) -> _Real:
    right, own = readers[0].recovered(material.training)[0], readers[1].recovered(material.held_out)[1]
    none = np.full(len(material.held_out), np.nan)
    dice = none if material.dice_held_out is None else material.dice_held_out
    seam = np.full(len(right), np.nan) if told is None else 1.0 - told.real
    asked = [n for n, value in enumerate(dice) if np.isfinite(value)]
    alike = np.zeros(len(dice))
    alike[asked] = alike_in_size(material.made, [material.held_out[n] for n in asked])
    return _Real(right, own, seam, dice, alike)


def alike_in_size(made: Sequence[LesionSample], real: Sequence[LesionSample]) -> Values:
    """Weights that give real lesions the sizes of the synthetic ones of their class.

    Small lesions are harder to outline than large ones, whoever made them. Each synthetic lesion counts the five real ones
    that are nearest to it in size.
    """
    sizes = [np.log([s.mask.sum() * np.prod(s.spacing_mm) for s in side]) for side in (made, real)]
    names = np.asarray([sample.class_name for sample in real], dtype=np.str_)
    weights = np.zeros(len(real))
    for sample, size in zip(made, sizes[0], strict=True):
        same = np.flatnonzero(names == sample.class_name)
        weights[same[np.argsort(np.abs(sizes[1][same] - size), kind="stable")[:_NEIGHBOURS]]] += 1.0
    return weights


def _of_class(
    name: str,
    material: Material,
    sides: tuple[_Parts, _Real],
    seams: tuple[Figure | None, Figure | None],
    seed: SeedTree,
) -> ClassParts | None:
    made, real = sides
    ours, training, held_out = (
        _Rows.of(side, name) for side in (material.made, material.training, material.held_out)
    )
    if not len(ours.rows):
        return None
    return ClassParts(
        recovered=ours.mean(made.right, seed.child("recovered")),
        recovered_real=training.mean(real.right, seed.child("recovered")),
        label_dice=ours.mean(made.dice, seed.child("dice")),
        label_dice_real=held_out.mean(real.dice, seed.child("dice"), real.alike),
        seam_auc=seams[0],
        seam_auc_real=seams[1],
        score=ours.mean(made.score, seed.child("score")),
        score_real=_expected(
            (made.recovered[ours.rows], real.recovered[held_out.rows], None),
            (made.dice[ours.rows], real.dice[held_out.rows], real.alike[held_out.rows]),
            (made.seam[ours.rows], real.seam[training.rows], None),
        ),
    )


def _expected(*parts: tuple[Values, Values, Values | None]) -> float | None:
    """What real lesions score on average by the parts that were measured of synthetic ones; None where one is not known."""
    means = [0.5]  # half of the real lesions lie farther out
    for made, real, weights in parts:
        if not np.isfinite(made).any():
            continue
        each = np.isfinite(real) * (1.0 if weights is None else weights)
        if not each.any():
            return None
        means.append(float(np.average(np.nan_to_num(real), weights=each)))
    return round(float(np.mean(means)), 4)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The lesions of one class on one side."""

    rows: np.ndarray
    patients: tuple[str, ...]

    @staticmethod
    def of(samples: Sequence[LesionSample], name: str) -> _Rows:
        chosen = [n for n, sample in enumerate(samples) if sample.class_name == name]
        return _Rows(np.asarray(chosen, dtype=np.int64), tuple(samples[n].patient_id for n in chosen))

    def mean(self, values: Values, seed: SeedTree, weights: Values | None = None) -> Figure | None:
        each = None if weights is None else weights[self.rows]
        return mean_figure(values[self.rows], self.patients, seed.rng(), each)


@final
class _Middles:
    """Where classes lie among radiological features, and how far a lesion lies from the middle of its own.

    Args:
        samples: Real lesions; at least one.
    """

    def __init__(self, samples: Sequence[LesionSample]) -> None:
        figures = figures_of(samples)
        self._scale = Standardiser.fitted_on(figures)
        rows = self._rows(figures)
        names = np.asarray([sample.class_name for sample in samples])
        counts = Counter(names.tolist())
        self._middle = {
            name: np.median(rows[names == name], axis=0) for name, n in counts.items() if n >= FEWEST
        }
        self._any = np.median(rows, axis=0)
        off = rows - np.stack([self._middle.get(name, self._any) for name in names.tolist()])
        self._whiten = np.linalg.inv(np.linalg.cholesky(shrunk(off)))

    def _rows(self, figures: Features) -> Features:
        return np.asarray(np.clip(self._scale.apply(figures), -_LIMIT, _LIMIT))

    def distances(self, samples: Sequence[LesionSample]) -> Values:
        """Of lesions to the middle of their class."""
        if not samples:
            return np.zeros(0)
        middles = np.stack([self._middle.get(sample.class_name, self._any) for sample in samples])
        off = self._rows(figures_of(samples)) - middles
        return np.asarray(np.linalg.norm(off @ self._whiten.T, axis=1))


@final
class TypicalLaw:
    """How far out a lesion lies of its class: Mahalanobis distance on radiological features.

    The middle is the median of the class's training lesions; the covariance is that within all classes, shrunk (oracle
    approximating, Chen et al., IEEE Trans Signal Process 2010), since a rare class has fewer lesions than there are
    features. What a distance means is said by the training lesions of the class, or of all where it has fewer than ten,
    each measured by a law that was fitted without its patient's part.

    Args:
        training: Real lesions of the training patients; at least one.
        seed: Of the dealing to parts.
    """

    def __init__(self, training: Sequence[LesionSample], seed: SeedTree) -> None:
        self._law = _Middles(training)
        far = self._left_out(training, seed)
        of = np.asarray([sample.class_name for sample in training])
        self._usual = {
            name: np.sort(far[of == name])
            for name, n in Counter(of.tolist()).items()
            if n >= _FEWEST_OF_CLASS
        }
        self._usual_any = np.sort(far)

    def _left_out(self, training: Sequence[LesionSample], seed: SeedTree) -> Values:
        """Distances of the training lesions to laws that do not know their patients; one patient knows no other law."""
        parts = parts_by_patient([sample.patient_id for sample in training], _PARTS, seed.rng())
        if len(np.unique(parts)) == 1:
            return self._law.distances(training)
        far = np.zeros(len(training))
        for part in np.unique(parts):
            rows = np.flatnonzero(parts == part)
            others = [training[int(row)] for row in np.flatnonzero(parts != part)]
            far[rows] = _Middles(others).distances([training[int(row)] for row in rows])
        return far

    def shares(self, samples: Sequence[LesionSample]) -> Values:
        """Share of real lesions that lie at least as far out, the lesion itself counted, so that it is never 0."""
        found = []
        for sample, distance in zip(samples, self._law.distances(samples), strict=True):
            usual = self._usual.get(sample.class_name, self._usual_any)
            farther = len(usual) - int(np.searchsorted(usual, distance))
            found.append((farther + 1) / (len(usual) + 1))
        return np.asarray(found)


def shrunk(off: Features) -> Float[np.ndarray, "F F"]:
    """Covariance of deviations, shrunk towards equal variances so that it can be inverted.

    Args:
        off: (N, F) deviations from the middle.
    """
    n, p = off.shape
    plain = off.T @ off / n
    level = float(np.trace(plain)) / p
    alpha = float(np.square(plain).mean())
    least = (n + 1) * (alpha - level**2 / p)
    share = 1.0 if least <= 0 else min(1.0, (alpha + level**2) / least)
    return np.asarray((1 - share) * plain + (share * level + 1e-9) * np.eye(p))


def numbers_in_case(samples: Sequence[LesionSample]) -> list[int]:
    """The number of each lesion among those of its case, which stand in the order in which they were cut out."""
    seen: Counter[str] = Counter()
    numbers = []
    for sample in samples:
        numbers.append(seen[sample.case_id])
        seen[sample.case_id] += 1
    return numbers


def aligned(samples: Sequence[LesionSample], by_case: Mapping[str, Sequence[float]]) -> Values:
    """Values of lesions that were measured case by case; NaN for cases that were not."""
    found = np.full(len(samples), np.nan)
    for row, (sample, number) in enumerate(zip(samples, numbers_in_case(samples), strict=True)):
        if sample.case_id in by_case:
            found[row] = by_case[sample.case_id][number]
    return found


def diameter_mm(sample: LesionSample) -> float | None:
    """Of the ball of equal volume; None where the spacing is nominal."""
    if not sample.is_spacing_known:
        return None
    volume_mm3 = float(sample.mask.sum()) * float(np.prod(sample.spacing_mm))
    return float((6.0 * volume_mm3 / np.pi) ** (1 / 3))


def nearest_real(
    sample: LesionSample, training: Sequence[LesionSample], scale: Standardiser
) -> LesionSample | None:
    """The training lesion of the same class whose features are most alike: what it could have looked like."""
    same = [one for one in training if one.class_name == sample.class_name]
    if not same:
        return None
    away = scale.apply(figures_of(same)) - scale.apply(figures_of([sample]))
    return same[int(np.argmin(np.square(away).sum(axis=1)))]


def _rows(samples: Sequence[LesionSample], parts: _Parts) -> tuple[SampleScore, ...]:
    numbers, scores = numbers_in_case(samples), parts.score
    return tuple(
        SampleScore.model_validate(
            {
                "case_id": sample.case_id,
                "lesion": numbers[row],
                "class": sample.class_name,
                "score": round(float(scores[row]), 4),
                "typical": round(float(parts.typical[row]), 4),
                "recovered": _known(parts.recovered[row]),
                "label_dice": _known(parts.dice[row]),
                "seam": _known(parts.seam[row]),
                "diameter_mm": _known(diameter_mm(sample)),
            }
        )
        for row, sample in enumerate(samples)
    )


def _known(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)
