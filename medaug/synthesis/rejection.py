"""Rejection sampling: synthetic cases that a judge scores too low are drawn again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from medaug.core.case import Case, CaseSource

Judge = Callable[[Sequence[Case]], Sequence[float]]


@final
@dataclass(frozen=True, slots=True)
class Acceptance:
    """What a draw must reach.

    Attributes:
        score: The least score; higher is better.
        tries: Draws in all for one case; the best of them is taken where none reaches the score.
    """

    score: float
    tries: int = 4


@final
class RejectionSource:
    """A source whose lesions are scored, and drawn again with the same ``rng`` where the score is too low.

    Pasted healthy tissue is not judged. It is a :class:`~medaug.core.case.CaseSource` itself.
    """

    def __init__(self, source: CaseSource, judge: Judge, accept: Acceptance) -> None:
        self._source, self._judge, self._accept = source, judge, accept

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that it can draw."""
        return self._source.classes

    @property
    def donor_patient_ids(self) -> frozenset[str]:
        """Every patient whose voxels or statistics may be in a drawn case."""
        return self._source.donor_patient_ids

    def draw(
        self, class_names: tuple[str | None, ...], rngs: tuple[np.random.Generator, ...]
    ) -> tuple[Case, ...]:
        """One case a name, each depending on its name and its own ``rng`` alone.

        Raises:
            DataError: If the source has none of that kind.
        """
        cases = list(self._source.draw(class_names, rngs))
        poor = [number for number, name in enumerate(class_names) if name is not None]
        best = dict.fromkeys(poor, -np.inf)
        made = [cases[number] for number in poor]
        for left in reversed(range(self._accept.tries)):
            for number, case, score in zip(poor, made, self._judge(made) if made else (), strict=True):
                if score > best[number]:
                    cases[number], best[number] = case, score
            poor = [number for number in poor if best[number] < self._accept.score]
            if left and poor:
                made = list(self._source.draw(*_of(class_names, rngs, poor)))
            else:
                break
        return tuple(cases)


def _of(
    class_names: tuple[str | None, ...], rngs: tuple[np.random.Generator, ...], numbers: Sequence[int]
) -> tuple[tuple[str | None, ...], tuple[np.random.Generator, ...]]:
    return tuple(class_names[n] for n in numbers), tuple(rngs[n] for n in numbers)
