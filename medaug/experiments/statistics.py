"""Paired statistics by patient: intervals, permutation test, correction, and what could have been seen.

The unit is the patient: cases and seeds are averaged inside a patient first. Intervals are bootstrap-t
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12), since BCa is too narrow for the
few, skewed values of a rare class. The test flips the signs of the paired differences, exactly up to
15 patients. A *gain* needs both an interval above 0 and p <= 0.05 after Holm (Scand J Statist 1979);
*harm* is an interval wholly below 0, uncorrected, since a warning should come early rather than late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, final

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from medaug.core.results import ArmScore, Comparison, DiceRow
from medaug.core.seeding import SeedTree

T = TypeVar("T")
Values = Float[np.ndarray, "n"]
Call = Literal["gain", "harm", "no evidence", "inconclusive"]
FEWEST_PATIENTS = 5
_DRAWS, _FLIPS, _EXACT = 4000, 20000, 15
_LEVEL = 0.05


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """A 95% interval."""

    low: float
    high: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class PatientScores:
    """One value a patient, sorted by patient id."""

    patient_ids: tuple[str, ...]
    values: Values


def patient_scores(rows: Sequence[DiceRow]) -> PatientScores:
    """Mean Dice a patient: over seeds inside a case, then over the patient's cases; null rows are left out."""
    by_case: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.dice is not None:
            by_case.setdefault((row.patient_id, row.case_id), []).append(row.dice)
    by_patient: dict[str, list[float]] = {}
    for (patient_id, _), scores in sorted(by_case.items()):
        by_patient.setdefault(patient_id, []).append(float(np.mean(scores)))
    patients = tuple(sorted(by_patient))
    return PatientScores(patients, np.array([np.mean(by_patient[p]) for p in patients], dtype=np.float64))


def paired_differences(arm: Sequence[DiceRow], baseline: Sequence[DiceRow]) -> PatientScores:
    """Arm minus baseline a patient, over the (fold, seed, case) that both arms have scored."""
    shared = {_key(row) for row in arm} & {_key(row) for row in baseline}
    ours = patient_scores([row for row in arm if _key(row) in shared])
    theirs = patient_scores([row for row in baseline if _key(row) in shared])
    return PatientScores(ours.patient_ids, ours.values - theirs.values)


def _key(row: DiceRow) -> tuple[int, int, str]:
    return (row.fold, row.seed, row.case_id)


def bootstrap_interval(
    values: Values, rng: np.random.Generator, *, low: float = -1.0, high: float = 1.0
) -> Interval:
    """95% bootstrap-t interval of the mean, kept inside ``low..high``.

    One value says nothing: the whole range comes back. Equal values give an interval of no width.
    """
    n = len(values)
    if n < 2:
        return Interval(low, high)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(n))
    if error < 1e-12:
        return Interval(mean, mean)
    samples = values[rng.integers(0, n, size=(_DRAWS, n))]
    errors = samples.std(axis=1, ddof=1) / np.sqrt(n)
    # resamples of one repeated value have no t; they are left out rather than counted as infinite
    usable = errors > 1e-9 * error
    t = (samples[usable].mean(axis=1) - mean) / errors[usable]
    t_low, t_high = (float(q) for q in np.quantile(t, (0.025, 0.975)))
    return Interval(max(mean - t_high * error, low), min(mean - t_low * error, high))


def sign_flip_p(differences: Values, rng: np.random.Generator) -> float:
    """Two-sided p of the paired permutation test on the mean; exact up to 15 patients, else 20,000 draws."""
    n = len(differences)
    if n == 0:
        return 1.0
    if n <= _EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(_FLIPS, n))
    seen = abs(float(differences.sum()))
    extreme = int(np.count_nonzero(np.abs(signs @ differences) >= seen - 1e-12))
    return extreme / 2**n if n <= _EXACT else (extreme + 1) / (_FLIPS + 1)


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


def call(interval: Interval, p_holm: float, n_patients: int, family: int = 1) -> Call:
    """What the figures allow to be said.

    Args:
        interval: Of the mean difference.
        p_holm: Corrected p.
        n_patients: Pairs.
        family: Tests that are corrected together. Where so few pairs cannot reach 0.05 after correction, however
            large the difference, an interval above 0 is inconclusive rather than no evidence.
    """
    if n_patients < FEWEST_PATIENTS:
        return "inconclusive"
    if interval.high < 0:
        return "harm"
    if interval.low > 0:
        out_of_reach = n_patients <= _EXACT and family * 2.0 ** (1 - n_patients) > _LEVEL
        return "gain" if p_holm <= _LEVEL else "inconclusive" if out_of_reach else "no evidence"
    return "no evidence"


def compare(
    rows: Sequence[DiceRow], baseline: str, classes: Sequence[str], seed: SeedTree
) -> tuple[Comparison, ...]:
    """Every other arm against the baseline, class by class; Holm within one number of annotated patients."""
    found: list[Comparison] = []
    for n_annotated in _in_order(row.n_annotated for row in rows):
        at_n = [row for row in rows if row.n_annotated == n_annotated]
        found += _compare_at(at_n, n_annotated, baseline, classes, seed.child(str(n_annotated)))
    return tuple(found)


def _compare_at(
    rows: Sequence[DiceRow], n_annotated: int | None, baseline: str, classes: Sequence[str], seed: SeedTree
) -> list[Comparison]:
    """The comparisons of one family of tests."""
    family: list[tuple[str, str, PatientScores, Interval, float]] = []
    for arm in _in_order(row.arm for row in rows if row.arm != baseline):
        for name in classes:
            ours = [row for row in rows if row.arm == arm and row.class_name == name]
            theirs = [row for row in rows if row.arm == baseline and row.class_name == name]
            paired = paired_differences(ours, theirs)
            if not paired.patient_ids:
                continue
            here = seed.child(arm, name)
            interval = bootstrap_interval(paired.values, here.child("interval").rng())
            family.append(
                (arm, name, paired, interval, sign_flip_p(paired.values, here.child("flips").rng()))
            )
    corrected = holm(np.array([p for *_, p in family], dtype=np.float64))
    return [
        Comparison(
            arm=arm,
            baseline=baseline,
            n_annotated=n_annotated,
            class_name=name,
            mean_difference=float(paired.values.mean()),
            ci_low=interval.low,
            ci_high=interval.high,
            p=p,
            p_holm=float(p_holm),
            n_patients=len(paired.patient_ids),
            mde=minimum_detectable_effect(paired.values),
            verdict=call(interval, float(p_holm), len(paired.patient_ids), len(family)),
        )
        for (arm, name, paired, interval, p), p_holm in zip(family, corrected, strict=True)
    ]


def summarise(rows: Sequence[DiceRow], classes: Sequence[str], seed: SeedTree) -> tuple[ArmScore, ...]:
    """Mean Dice of every arm and class with its interval; classes that no patient carries are left out."""
    scores: list[ArmScore] = []
    for n_annotated in _in_order(row.n_annotated for row in rows):
        for arm in _in_order(row.arm for row in rows if row.n_annotated == n_annotated):
            for name in classes:
                here = [r for r in rows if (r.n_annotated, r.arm, r.class_name) == (n_annotated, arm, name)]
                scores += _summarise_one(here, seed.child(str(n_annotated), arm, name))
    return tuple(scores)


def _summarise_one(rows: Sequence[DiceRow], seed: SeedTree) -> list[ArmScore]:
    patients = patient_scores(rows)
    if not patients.patient_ids:
        return []
    interval = bootstrap_interval(patients.values, seed.rng(), low=0.0, high=1.0)
    empty = [row for row in rows if row.dice is None]
    return [
        ArmScore(
            arm=rows[0].arm,
            n_annotated=rows[0].n_annotated,
            class_name=rows[0].class_name,
            mean_dice=float(patients.values.mean()),
            ci_low=interval.low,
            ci_high=interval.high,
            n_patients=len(patients.patient_ids),
            false_positive_voxels=sum(row.false_positive_voxels or 0 for row in empty),
            n_empty=len(empty),
        )
    ]


def _in_order(items: Iterable[T]) -> list[T]:
    """Distinct items in order of first appearance."""
    return list(dict.fromkeys(items))
