"""The figures of an experiment, each drawn once: for the page and as files of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import final

import numpy as np

from medaug.core.results import Comparison, DiceRow, ExperimentResult
from medaug.report.curves import Line, learning_curve
from medaug.report.drawing import Drawing
from medaug.report.figures import Strip, dot_plot, forest, size_matrix

Key = tuple[int | None, str, str]


@final
class Panels:
    """Draws from the results; a figure that has nothing to show is None.

    Args:
        result: The experiment's figures, all or as many as there are.
    """

    def __init__(self, result: ExperimentResult) -> None:
        self._result = result
        self._patients = _by_patient(result.rows)
        self.sizes = tuple(dict.fromkeys(row.n_annotated for row in result.rows))
        self.classes = tuple(sorted(result.classes, key=lambda name: name != result.limit_class))

    def patients(self, n_annotated: int | None, class_name: str) -> Drawing | None:
        """Every patient's Dice, arm by arm."""
        strips = [
            Strip(
                s.arm,
                self._patients.get((n_annotated, class_name, s.arm), ()),
                s.mean_dice,
                s.ci_low,
                s.ci_high,
                s.arm == self._result.baseline,
            )
            for s in self._result.scores
            if (s.n_annotated, s.class_name) == (n_annotated, class_name)
        ]
        return dot_plot(strips, f"Dice of a patient, {class_name}") if strips else None

    def found(self, n_annotated: int | None, class_name: str) -> Drawing | None:
        """Share of lesions found by size, arm by arm."""
        arms = [
            (s.arm, s.sizes)
            for s in self._result.scores
            if (s.n_annotated, s.class_name) == (n_annotated, class_name) and s.sizes
        ]
        return size_matrix(arms, self._result.baseline, class_name) if arms else None

    def curve(self, class_name: str) -> Drawing | None:
        """The learning curves of a class; None for one number of patients, which is no curve."""
        points = [p for p in self._result.curves if p.class_name == class_name and p.patients > 0]
        if len({p.patients for p in points}) < 2:
            return None
        order = [self._result.baseline, *(a for a in self._result.arms if a != self._result.baseline)]
        lines = [
            Line(arm, number, tuple(sorted(mine, key=lambda p: p.patients)))
            for number, arm in enumerate(order)
            if (mine := [p for p in points if p.arm == arm])
        ]
        limited = self._result.limit_class
        return learning_curve(lines, class_name, f"annotated patients{f' with {limited}' if limited else ''}")

    def forest(self, n_annotated: int | None, baseline: str) -> Drawing | None:
        """The differences from an arm, class by class."""
        here = [c for c in self._result.comparisons if (c.n_annotated, c.baseline) == (n_annotated, baseline)]
        groups = [(name, [c for c in here if c.class_name == name]) for name in self.classes]
        return forest([g for g in groups if g[1]], baseline) if here else None

    def files(self) -> Iterator[tuple[str, Drawing]]:
        """Every figure with the name of its file."""
        for n in self.sizes:
            for baseline in _baselines(self._result.comparisons, n):
                yield from _named(file_name("forest", n, "vs", baseline), self.forest(n, baseline))
            for name in self.classes:
                yield from _named(file_name("patients", n, name), self.patients(n, name))
                yield from _named(file_name("found_by_size", n, name), self.found(n, name))
        for name in self.classes:
            yield from _named(file_name("learning_curve", name), self.curve(name))


def _baselines(comparisons: Sequence[Comparison], n_annotated: int | None) -> list[str]:
    return list(dict.fromkeys(c.baseline for c in comparisons if c.n_annotated == n_annotated))


def _named(name: str, drawing: Drawing | None) -> Iterator[tuple[str, Drawing]]:
    if drawing is not None:
        yield name, drawing


def file_name(*parts: str | int | None) -> str:
    """Letters, digits and underscores; a number of patients as n8, None as nall."""
    words = (part if isinstance(part, str) else f"n{'all' if part is None else part}" for part in parts)
    return re.sub(r"[\W_]+", "_", "_".join(words))


def _by_patient(rows: Sequence[DiceRow]) -> dict[Key, tuple[float, ...]]:
    """Mean Dice of every patient: seeds inside a case first, then cases."""
    cases: dict[tuple[Key, str, str], list[float]] = {}
    for row in rows:
        if row.dice is not None:
            key = (row.n_annotated, row.class_name, row.arm)
            cases.setdefault((key, row.patient_id, row.case_id), []).append(row.dice)
    patients: dict[tuple[Key, str], list[float]] = {}
    for (key, patient_id, _), values in cases.items():
        patients.setdefault((key, patient_id), []).append(float(np.mean(values)))
    found: dict[Key, list[float]] = {}
    for (key, _), values in patients.items():
        found.setdefault(key, []).append(float(np.mean(values)))
    return {key: tuple(values) for key, values in found.items()}
