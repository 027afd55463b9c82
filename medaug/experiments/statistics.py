"""Paired statistics by patient: differences, correction, minimum detectable effect, and the verdict.

The unit is the patient: cases and seeds are averaged inside a patient first. A *gain* needs an interval above 0 and
p <= 0.05 after Holm (Scand J Statist 1979); *harm* is an interval wholly below 0, uncorrected, since a warning should
come early rather than late. What is corrected together (a family) is asked together, of one number of annotated
patients: all arms against the baseline, in the class under study; the same in the other classes, which are watched
for harm and must not cost the first its power; and so, apart, the further pairs that the configuration names. Without
a class under study all classes are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, final

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from medaug.core.results import Comparison, DiceRow
from medaug.core.seeding import SeedTree
from medaug.experiments.means import EXACT, Interval, achieved_coverage, mean_interval, mean_p

T = TypeVar("T")
Values = Float[np.ndarray, "n"]
Call = Literal["gain", "harm", "no evidence", "inconclusive"]
FEWEST_PATIENTS = 5
_LEVEL = 0.05
_SAME = 1e-9  # a difference in Dice below which two means differ by rounding alone


@final
@dataclass(frozen=True, slots=True)
class Question:
    """What is compared.

    Attributes:
        baseline: The arm that all others are compared with.
        further: Other pairs, each an arm and the one it is compared with.
        classes: In which each pair is compared.
        limit_class: The class under study; None: all are.
    """

    baseline: str
    further: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    limit_class: str | None


@final
@dataclass(frozen=True, slots=True, eq=False)
class PatientScores:
    """One value a patient, sorted by patient id."""

    patient_ids: tuple[str, ...]
    values: Values


def patient_scores(
    rows: Iterable[DiceRow], value: Callable[[DiceRow], float | None] = lambda row: row.dice
) -> PatientScores:
    """Mean of a figure (Dice) a patient: over seeds inside a case, then over the cases; null rows are left out."""
    by_case: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found = value(row)
        if found is not None:
            by_case.setdefault((row.patient_id, row.case_id), []).append(found)
    by_patient: dict[str, list[float]] = {}
    for (patient_id, _), scores in sorted(by_case.items()):
        by_patient.setdefault(patient_id, []).append(float(np.mean(scores)))
    patients = tuple(sorted(by_patient))
    return PatientScores(patients, np.array([np.mean(by_patient[p]) for p in patients], dtype=np.float64))


def paired_differences(arm: Iterable[DiceRow], baseline: Iterable[DiceRow]) -> PatientScores:
    """Arm minus baseline a patient, over the (fold, seed, case) that both arms have scored."""
    ours, theirs = _scored(arm), _scored(baseline)
    shared = sorted(ours.keys() & theirs.keys())
    first, second = (patient_scores(side[key] for key in shared) for side in (ours, theirs))
    differences = first.values - second.values
    return PatientScores(first.patient_ids, np.where(np.abs(differences) < _SAME, 0.0, differences))


def _scored(rows: Iterable[DiceRow]) -> Mapping[tuple[int, int, str], DiceRow]:
    return {(row.fold, row.seed, row.case_id): row for row in rows if row.dice is not None}


def holm(p_values: Values) -> Values:
    """Step-down corrected p, in the order given."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * (len(p_values) - np.arange(len(p_values)))
    corrected = np.empty(len(p_values), dtype=np.float64)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def minimum_detectable_effect(differences: Values) -> float | None:
    """The mean difference that a two-sided 5% t test would see 80% of the time; None for fewer than two."""
    n = len(differences)
    if n < 2:
        return None
    reach = float(stdtrit(n - 1, 0.975) + stdtrit(n - 1, 0.8))
    return reach * float(differences.std(ddof=1)) / float(np.sqrt(n))


def call(interval: Interval, p_holm: float, differences: Values, family: int = 1) -> Call:
    """The verdict that the figures allow.

    Args:
        interval: Of the mean difference.
        p_holm: Corrected p.
        differences: One a patient.
        family: Tests that are corrected together. Where so few patients differ that 0.05 cannot be reached after
            correction, however large the difference, an interval above 0 is inconclusive rather than no evidence.
    """
    if len(differences) < FEWEST_PATIENTS:
        return "inconclusive"
    if interval.high < 0:
        return "harm"
    if interval.low > 0:
        differ = int(np.count_nonzero(differences))
        out_of_reach = differ <= EXACT and family * 2.0 ** (1 - differ) > _LEVEL
        return "gain" if p_holm <= _LEVEL else "inconclusive" if out_of_reach else "no evidence"
    return "no evidence"


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Tested:
    """A pair in a class, before correction."""

    pair: tuple[str, str]
    class_name: str
    family: tuple[bool, bool]
    differences: Values
    interval: Interval
    p: float


def compare(rows: Sequence[DiceRow], question: Question, seed: SeedTree) -> tuple[Comparison, ...]:
    """Every other arm against the baseline, then the further pairs, class by class, for each number of patients."""
    found: list[Comparison] = []
    for n_annotated in in_order(row.n_annotated for row in rows):
        tested = _tested([row for row in rows if row.n_annotated == n_annotated], question, seed)
        for family in in_order(test.family for test in tested):
            found += _corrected([t for t in tested if t.family == family], n_annotated, seed)
    return tuple(found)


def _tested(rows: Sequence[DiceRow], question: Question, seed: SeedTree) -> list[_Tested]:
    sides: dict[tuple[str, str], list[DiceRow]] = {}
    for row in rows:
        sides.setdefault((row.arm, row.class_name), []).append(row)
    others = in_order(row.arm for row in rows if row.arm != question.baseline)
    found = []
    for pair in (*((arm, question.baseline) for arm in others), *question.further):
        for name in question.classes:
            ours, theirs = (sides.get((arm, name), []) for arm in pair)
            differences = paired_differences(ours, theirs).values
            if not len(differences):
                continue
            # the same resamples for all: what tells two arms apart is never the draw
            interval, p = mean_interval(differences, seed), mean_p(differences, seed)
            family = (pair[1] == question.baseline, question.limit_class in (None, name))
            found.append(_Tested(pair, name, family, differences, interval, p))
    return found


def _corrected(family: Sequence[_Tested], n_annotated: int | None, seed: SeedTree) -> list[Comparison]:
    """The comparisons of one family of tests."""
    corrected = holm(np.array([test.p for test in family], dtype=np.float64))
    return [
        Comparison(
            arm=test.pair[0],
            baseline=test.pair[1],
            n_annotated=n_annotated,
            class_name=test.class_name,
            mean_difference=float(test.differences.mean()),
            ci_low=test.interval.low,
            ci_high=test.interval.high,
            p=test.p,
            p_holm=float(p_holm),
            n_patients=len(test.differences),
            mde=minimum_detectable_effect(test.differences),
            coverage=achieved_coverage(test.differences, seed),
            verdict=call(test.interval, float(p_holm), test.differences, len(family)),
        )
        for test, p_holm in zip(family, corrected, strict=True)
    ]


def in_order(items: Iterable[T]) -> list[T]:
    """Distinct items in order of first appearance."""
    return list(dict.fromkeys(items))
