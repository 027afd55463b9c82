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
from medaug.quality.features import Standardiser
from medaug.quality.groups import mean_figure
from medaug.quality.recovery import ClassReader
from medaug.quality.rims import RimOpinions, Rims, detect_rims, rim_auc
from medaug.quality.samples import LesionSample, figures_of
from medaug.quality.seams import PastePair, paste_auc
from medaug.quality.typicality import Typicality

Values = Float[np.ndarray, " _"]
_NEIGHBOURS: Final = 5


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
    typicality = Typicality(material.training, seed.child("typical"))
    made_rims, real_rims = Rims.of(material.made), Rims.of(material.training)
    kept_rims = Rims.of(material.held_out or material.training)
    told = detect_rims(made_rims, real_rims, seed.child("rims"))
    floor = detect_rims(kept_rims, real_rims, seed.child("rims-real")) if material.held_out else None
    strict, judge = ClassReader(material.held_out), ClassReader(material.training)
    right, _ = strict.recovered(material.made)
    _, own = judge.recovered(material.made)
    seam = np.full(len(material.made), np.nan) if told is None else 1.0 - told.made
    dice = np.full(len(material.made), np.nan) if material.dice is None else material.dice
    made = _Parts(typicality.shares(material.made), right, own, dice, seam)
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
