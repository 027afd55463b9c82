"""Membership inference: can it be told from a synthetic set alone which patients its generator was trained on?

The attacker holds the set and scans of patients, but neither the generator nor who is who (the full black box of Chen
et al., GAN-Leaks, CCS 2020; the first such attacks on generators are of Hayes et al., LOGAN, PoPETs 2019). A patient is
suspect whom a synthetic lesion resembles more than it resembles others. Some lesions resemble everybody's; so what
counts is how much more than real lesions of other patients do (as in van Breugel et al., DOMIAS, AISTATS 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, final

import numpy as np
from jaxtyping import Bool, Float, Int

from medaug.copying.polar import Cut, Sections, largest_section, likeness, sections
from medaug.copying.suspects import Suspicion, Weighed, weigh
from medaug.core.assessment import MembershipResult, Verdict

FEWEST_MEMBERS: Final = 5
FEWEST_OTHERS: Final = 20
FEWEST_SYNTHETIC: Final = 20
LARGEST_UNSEEN: Final = 0.7
_RIVALS = 5
_MOST_PATIENTS, _MOST_OF_ONE, _MOST_SHOWN, _MOST_MADE = 400, 8, 300, 1000

T = TypeVar("T")
PerPatient = Float[np.ndarray, " P"]
Flags = Bool[np.ndarray, "P M"]


def infer_membership(
    made: Sequence[Cut], training: Sequence[Cut], held_out: Sequence[Cut], rng: np.random.Generator
) -> MembershipResult:
    """Attack a set, and judge what it gives away.

    Args:
        made: Synthetic lesions.
        training: Real lesions of the patients that the generator was trained on.
        held_out: Of patients that it never saw.
        rng: Source of draws.
    """
    found = suspect(made, training, held_out, rng)
    members, others = found.n_members, found.n_others
    compared = {name for names in found.classes for name in names}
    shown = sum(lesion.class_name in compared for lesion in made)
    doubts = _too_few(shown, members, others)
    if doubts:
        return MembershipResult(
            verdict="inconclusive", auc=None, control_auc=None, tpr_at_1_percent=None, n_members=members,
            n_others=others, reasons=doubts,
        )  # fmt: skip
    area, rate = weigh(found, rng)
    verdict, reasons = judge(area, rate)
    sides = f"{shown} synthetic lesions, {members} training and {others} held-out patients compared"
    return MembershipResult(
        verdict=verdict, auc=area.figure, control_auc=area.control, tpr_at_1_percent=rate.figure,
        n_members=members, n_others=others, reasons=(*reasons, sides),
    )  # fmt: skip


def _too_few(made: int, members: int, others: int) -> tuple[str, ...]:
    counts = (
        (made, FEWEST_SYNTHETIC, "synthetic lesions of classes that can be compared"),
        (members, FEWEST_MEMBERS, "training patients with lesions of these classes"),
        (others, FEWEST_OTHERS, "held-out patients with lesions of these classes"),
    )
    return tuple(f"{n} {what}, {fewest} are needed" for n, fewest, what in counts if n < fewest)


def judge(area: Weighed, rate: Weighed) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and why.

    It fails where the area under the curve, or the rate of patients found at 1% false positives, is beyond chance and
    surely above the control's. It passes only where patients are many enough to have shown an area of 0.7.
    """
    low, high = area.figure.low, area.figure.high
    words = (
        f"area under the curve {area.figure.value:.2f} ({low:.2f} to {high:.2f}), of the control {area.control.value:.2f}",
        f"{rate.figure.value:.1%} of the training patients found at 1% false positives, by the control {rate.control.value:.1%}",
    )
    both = tuple(zip((area, rate), words, strict=True))
    told = tuple(
        f"{said}; chance gives that in {one.chance:.2%} of draws" for one, said in both if one.is_told
    )
    if told:
        return "fail", told
    if area.is_beyond_chance or rate.is_beyond_chance:
        why = "more than chance gives, but not surely more than the control: training and held-out patients may differ"
        return "inconclusive", (*words, why)
    if high >= LARGEST_UNSEEN:
        why = f"too few patients: an area of {high:.2f} cannot be ruled out, one of {LARGEST_UNSEEN} must be"
        return "inconclusive", (*words, why)
    return "pass", (*words, "no more than chance gives")


def suspect(
    made: Sequence[Cut], training: Sequence[Cut], held_out: Sequence[Cut], rng: np.random.Generator
) -> Suspicion:
    """Score every patient; who is a member plays no part in the attack's own scores.

    Lesions are compared class by class. Of a patient's lesions of a class the most suspect one counts. What the same
    reckoning finds with real lesions of other patients as the set, the lesions' size and their number is taken out by
    regression over all patients; the mean over a patient's classes is its score.

    The control is the same with real lesions of training patients as the set, never the patient's own: what it tells
    apart are training and held-out patients as such, not what was learnt by heart.
    """
    known = [*_thinned(training, rng), *_thinned(held_out, rng)]
    inside = {lesion.patient_id for lesion in training}
    rows: list[_Rows] = []
    for name in sorted({lesion.class_name for lesion in made}):
        mine = [lesion for lesion in known if lesion.class_name == name]
        patients = {lesion.patient_id for lesion in mine}
        if len(patients & inside) >= 2 and len(patients) >= _RIVALS + 2:
            shown = _some([lesion for lesion in made if lesion.class_name == name], _MOST_MADE, rng)
            rows.append(_compare(name, shown, mine, inside, rng))
    return _by_patient(rows, inside)


def _thinned(lesions: Sequence[Cut], rng: np.random.Generator) -> list[Cut]:
    """Of at most 400 patients at most 8 lesions of a class each: more tell little and cost their square."""
    chosen = set(_some(sorted({lesion.patient_id for lesion in lesions}), _MOST_PATIENTS, rng))
    groups: dict[tuple[str, str], list[Cut]] = {}
    for lesion in lesions:
        if lesion.patient_id in chosen:
            groups.setdefault((lesion.patient_id, lesion.class_name), []).append(lesion)
    return [lesion for group in groups.values() for lesion in _some(group, _MOST_OF_ONE, rng)]


def _some(items: Sequence[T], most: int, rng: np.random.Generator) -> list[T]:
    if len(items) <= most:
        return list(items)
    return [items[n] for n in sorted(rng.choice(len(items), most, replace=False))]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The patients with lesions of one class.

    Attributes:
        class_name: The class.
        patients: Pseudonyms.
        attack: How suspect the synthetic set makes them.
        control: Likewise, real lesions of training patients.
        causes: (P, 4) what else may explain either: how suspect real lesions of anybody make them, the mean log volume
            of their lesions, its square, and how many there are.
    """

    class_name: str
    patients: tuple[str, ...]
    attack: PerPatient
    control: PerPatient
    causes: Float[np.ndarray, "P 4"]


def _compare(
    name: str, made: Sequence[Cut], real: Sequence[Cut], inside: set[str], rng: np.random.Generator
) -> _Rows:
    patients, owner = np.unique([lesion.patient_id for lesion in real], return_inverse=True)
    is_member = np.isin(patients, sorted(inside))
    pictures = [sections(lesion) for lesion in real]
    seen, of = np.concatenate(pictures), np.repeat(owner, [len(some) for some in pictures])
    anybody = _some(range(len(real)), _MOST_SHOWN, rng)
    members = _some([n for n, patient in enumerate(owner) if is_member[patient]], _MOST_SHOWN, rng)
    shown = np.array(sorted({*anybody, *members}))
    own = np.arange(len(patients))[:, None] == owner[shown]
    barred = own | ~np.isin(shown, members) | _by_lot(owner[shown], is_member, rng)
    alike = _likest(seen, of, [real[n] for n in shown])
    alike = np.where(own, -np.inf, alike)
    size = np.bincount(owner, [_log_volume(lesion) for lesion in real]) / (count := np.bincount(owner))
    usual = _lead(alike, own | ~np.isin(shown, anybody))
    return _Rows(
        class_name=name,
        patients=tuple(str(patient) for patient in patients),
        attack=_lead(_likest(seen, of, made), np.zeros((len(patients), len(made)), dtype=bool)),
        control=_lead(alike, barred),
        causes=np.column_stack([usual, size, size**2, np.log(count)]),
    )


def _log_volume(lesion: Cut) -> float:
    return math.log(int(lesion.mask.sum()) * math.prod(lesion.spacing_mm))


def _likest(seen: Sections, owner: Int[np.ndarray, " N"], shown: Sequence[Cut]) -> Float[np.ndarray, "P M"]:
    """How alike the likest section of each patient is to each lesion that is shown."""
    alike = likeness(seen, np.stack([largest_section(lesion) for lesion in shown]))
    best = np.full((int(owner.max()) + 1, len(shown)), -np.inf)
    np.maximum.at(best, owner, alike)
    return best


def _lead(alike: Float[np.ndarray, "P M"], barred: Flags) -> PerPatient:
    """How far a patient at most is ahead of the mean of its five closest rivals in being alike to a lesion.

    Args:
        alike: Of patients to lesions; minus infinity for the patient whose lesion it is, who is no rival either.
        barred: What does not count for a patient.
    """
    top = -np.sort(-alike, axis=0)[: _RIVALS + 1]
    rivals = top[:_RIVALS].sum(axis=0) + np.where(alike >= top[_RIVALS - 1], top[_RIVALS] - alike, 0.0)
    return np.asarray(np.where(barred, -np.inf, alike - rivals / _RIVALS).max(axis=1))


def _by_lot(
    owner: Int[np.ndarray, " M"], is_member: Bool[np.ndarray, " P"], rng: np.random.Generator
) -> Flags:
    """Lesions of a training patient drawn for each held-out one, who shall see no more patients than a member does."""
    drawn = rng.choice(np.flatnonzero(is_member), len(is_member))
    return np.asarray(~is_member[:, None] & (drawn[:, None] == owner))


def _by_patient(rows: Sequence[_Rows], inside: set[str]) -> Suspicion:
    patients = sorted({patient for row in rows for patient in row.patients})
    number = {patient: n for n, patient in enumerate(patients)}
    owner = np.array([number[patient] for row in rows for patient in row.patients], dtype=np.int64)
    classes: list[list[str]] = [[] for _ in patients]
    for row in rows:
        for patient in row.patients:
            classes[number[patient]].append(row.class_name)
    counts = np.bincount(owner, minlength=len(patients))
    attack, control = (
        np.bincount(owner, _adjusted(rows, scores), len(patients)) / counts
        for scores in ([row.attack for row in rows], [row.control for row in rows])
    )
    return Suspicion(
        is_member=np.isin(patients, sorted(inside)),
        attack=attack,
        control=control,
        classes=tuple(tuple(some) for some in classes),
    )


def _adjusted(rows: Sequence[_Rows], scores: Sequence[PerPatient]) -> Float[np.ndarray, " N"]:
    """Scores less what class and causes explain, by least squares over all rows."""
    if not rows:
        return np.zeros(0)
    of_class = np.repeat(np.eye(len(rows)), [len(row.patients) for row in rows], axis=0)
    causes = np.column_stack([of_class, np.concatenate([row.causes for row in rows])])
    values = np.concatenate(scores)
    return np.asarray(values - causes @ np.linalg.lstsq(causes, values, rcond=None)[0])
