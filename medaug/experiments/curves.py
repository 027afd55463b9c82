"""Learning curves, and how many annotated patients an arm saves.

An arm with so many annotated patients has saved as many as the baseline would need besides to reach the same Dice. The
baseline's curve is made monotone (isotonic regression: Barlow and others, Statistical Inference under Order
Restrictions, 1972) and read between its points on the logarithm of the number of patients; nothing is said beyond its
ends. The interval resamples the scored patients, all figures of a patient together (percentiles; Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapter 13): it is of this set of trainings, not of other draws of the
annotated patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from medaug.core.results import ArmCost, ArmScore, CurvePoint, DiceRow, Saving
from medaug.core.seeding import SeedTree
from medaug.experiments.statistics import FEWEST_PATIENTS, in_order, patient_scores

_DRAWS = 2000
_EDGES = (0.025, 0.975)


def annotated(costs: Sequence[ArmCost]) -> dict[int | None, float]:
    """How many annotated patients each setting really gave, as a mean over folds; null where it was not recorded is left out."""
    found: dict[int | None, dict[int, int]] = {}
    for cost in costs:
        count = cost.annotated_patients if cost.annotated_patients is not None else cost.n_annotated
        if count is not None:
            found.setdefault(cost.n_annotated, {})[cost.fold] = count
    return {n: float(np.mean(list(folds.values()))) for n, folds in found.items()}


def curves(scores: Sequence[ArmScore], patients: Mapping[int | None, float]) -> tuple[CurvePoint, ...]:
    """The scores of every arm and class against the number of annotated patients; empty for one number alone."""
    if len(patients) < 2:
        return ()
    points = [
        CurvePoint(
            arm=score.arm,
            n_annotated=score.n_annotated,
            patients=patients[score.n_annotated],
            class_name=score.class_name,
            mean=score.mean_dice,
            ci_low=score.ci_low,
            ci_high=score.ci_high,
            coverage=score.coverage,
        )
        for score in scores
        if score.n_annotated in patients
    ]
    order = {pair: place for place, pair in enumerate(in_order((p.arm, p.class_name) for p in points))}
    return tuple(sorted(points, key=lambda p: (order[p.arm, p.class_name], p.patients)))


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """Where the baseline's Dice was measured.

    Attributes:
        sizes: Annotated patients of each point, rising.
        settings: The n_annotated of each.
    """

    sizes: Float[np.ndarray, "S"]
    settings: tuple[int | None, ...]

    def reached(
        self, means: Float[np.ndarray, "B S"], targets: Float[np.ndarray, "B"]
    ) -> Float[np.ndarray, "B"]:
        """The number of patients at which each curve reaches its target: inf beyond its end, 0 before its start."""
        rising = monotone(means)
        after = np.count_nonzero(rising < targets[:, None], axis=1)
        inside = np.clip(after, 1, len(self.sizes) - 1)[:, None]
        low, high = (np.take_along_axis(rising, inside - back, axis=1)[:, 0] for back in (1, 0))
        rise = np.maximum(high - low, 0)
        part = np.clip(targets - low, 0, rise) / np.where(rise > 0, rise, 1.0)
        logs = np.log(self.sizes)
        before, step = logs[inside[:, 0] - 1], np.diff(logs)[inside[:, 0] - 1]
        between = np.exp(before + part * step)
        at_start = np.where(targets >= rising[:, 0], self.sizes[0], 0.0)
        found: Float[np.ndarray, "B"] = np.where(
            after == 0, at_start, np.where(after == len(self.sizes), np.inf, between)
        )
        return found


def monotone(means: Float[np.ndarray, "B S"]) -> Float[np.ndarray, "B S"]:
    """The nearest curves (least squares) that never fall: the largest over starts of the least mean over ends."""
    count = means.shape[1]
    sums = np.concatenate([np.zeros((len(means), 1)), np.cumsum(means, axis=1)], axis=1)
    rising = np.full(means.shape, -np.inf)
    for start in range(count):
        blocks = (sums[:, start + 1 :] - sums[:, start : start + 1]) / np.arange(1, count - start + 1)
        least = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1]
        # a block that starts here and ends at or after each point
        rising[:, start:] = np.maximum(rising[:, start:], least)
    return rising


def savings(
    rows: Sequence[DiceRow], baseline: str, patients: Mapping[int | None, float], seed: SeedTree
) -> tuple[Saving, ...]:
    """What each arm saves with each number of annotated patients, class by class.

    A class is left out where the baseline has fewer than two points, or too few patients were scored in all of them.
    """
    groups: dict[tuple[str, str, int | None], list[DiceRow]] = {}
    for row in rows:
        groups.setdefault((row.arm, row.class_name, row.n_annotated), []).append(row)
    found: list[Saving] = []
    for (arm, name, n_annotated), ours in groups.items():
        settings = [n for n in patients if (baseline, name, n) in groups]
        if arm == baseline or n_annotated not in patients or len(settings) < 2:
            continue
        curve = _curve(settings, patients)
        columns = [groups[baseline, name, n] for n in curve.settings]
        table = _table([*columns, ours])
        if len(table) >= FEWEST_PATIENTS:
            question = _Question(arm, baseline, n_annotated, name, patients[n_annotated])
            found.append(_saving(question, curve, table, seed))
    return tuple(found)


def _curve(settings: Sequence[int | None], patients: Mapping[int | None, float]) -> Curve:
    ordered = sorted(settings, key=lambda n: patients[n])
    return Curve(np.array([patients[n] for n in ordered], dtype=np.float64), tuple(ordered))


def _table(columns: Sequence[Sequence[DiceRow]]) -> Float[np.ndarray, "P S"]:
    """The Dice of the patients who were scored in all columns."""
    scored = [patient_scores(column) for column in columns]
    shared = sorted(set.intersection(*(set(one.patient_ids) for one in scored)))
    known = [dict(zip(one.patient_ids, one.values.tolist(), strict=True)) for one in scored]
    return np.array([[one[patient] for one in known] for patient in shared], dtype=np.float64)


@final
@dataclass(frozen=True, slots=True)
class _Question:
    """The arm, class and number of annotated patients whose saving is estimated."""

    arm: str
    baseline: str
    n_annotated: int | None
    class_name: str
    used: float


def _saving(question: _Question, curve: Curve, table: Float[np.ndarray, "P S"], seed: SeedTree) -> Saving:
    count = len(table)
    weights = seed.child("savings", count).rng().multinomial(count, np.full(count, 1 / count), size=_DRAWS)
    means = np.concatenate([table.mean(axis=0, keepdims=True), weights @ table / count])
    needed = curve.reached(means[:, :-1], means[:, -1])
    # an order statistic, since a mean of inf and a number is none
    low, high = (float(np.quantile(needed[1:], edge, method="inverted_cdf")) for edge in _EDGES)
    middle = float(needed[0])
    return Saving(
        arm=question.arm,
        baseline=question.baseline,
        n_annotated=question.n_annotated,
        class_name=question.class_name,
        saved=_known(middle - question.used, middle),
        low=_known(low - question.used, low),
        high=_known(high - question.used, high),
        said=_said(question, curve, middle, (low, high)),
    )


def _known(saved: float, needed: float) -> float | None:
    return saved if 0 < needed < math.inf else None


def _said(question: _Question, curve: Curve, needed: float, interval: tuple[float, float]) -> str:
    first, last = float(curve.sizes[0]), float(curve.sizes[-1])
    begun = f"With {_count(question.used)} annotated patients {question.arm} reached the {question.class_name} Dice "
    if needed == math.inf:
        begun += f"that {question.baseline} did not reach with {_count(last)}"
    elif needed == 0:
        begun += f"that {question.baseline} passes with fewer than {_count(first)}"
    else:
        begun += f"that {question.baseline} reaches with {_count(needed)}"
    low, high = (_bound(end, curve, question.used) for end in interval)
    return f"{begun}: a saving of {_bound(needed, curve, question.used)} (95% CI {low} to {high})."


def _bound(needed: float, curve: Curve, used: float) -> str:
    """A saving as text, a bound where it lies beyond the baseline's curve."""
    if needed == math.inf:
        return f"more than {_count(float(curve.sizes[-1]) - used)}"
    if needed == 0:
        return f"less than {_count(float(curve.sizes[0]) - used)}"
    return _count(needed - used)


def _count(value: float) -> str:
    # adding 0 takes the sign off a rounded -0.0
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")
