"""Synthetic cases from a folder, drawn again and again while a task is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.intensity import IntensityScheme


@final
class StoredSource:
    """Draws finished synthetic cases, each of a class as often as any other; a :class:`~medaug.core.case.CaseSource`.

    Args:
        cases: The cases, whole and in memory, each with the classes that it may be drawn for; None stands for pasted
            healthy tissue.
        scheme: How they are normalised; computed once here, since each is drawn many times.
        donor_patient_ids: Hosts and donors of all cases.

    Raises:
        DataError: If there is no case.
    """

    def __init__(
        self,
        cases: Sequence[tuple[Case, tuple[str | None, ...]]],
        scheme: IntensityScheme,
        donor_patient_ids: frozenset[str],
    ) -> None:
        self._cases: dict[str | None, list[Case]] = defaultdict(list)
        for case, class_names in cases:
            scaled = replace(case, scale=scheme.case_scale(case.volume))
            for name in class_names:
                self._cases[name].append(scaled)
        if not self._cases:
            raise DataError("synthetic set holds no labelled case", hint="run `medaug synthesize` again")
        self.classes = tuple(name for name in self._cases if name is not None)
        self._donors = donor_patient_ids

    def draw(
        self, class_names: tuple[str | None, ...], rngs: tuple[np.random.Generator, ...]
    ) -> tuple[Case, ...]:
        """One of the cases of each class.

        Raises:
            DataError: If there is none.
        """
        return tuple(self._draw(name, rng) for name, rng in zip(class_names, rngs, strict=True))

    def _draw(self, class_name: str | None, rng: np.random.Generator) -> Case:
        cases = self._cases.get(class_name)
        if cases is None:
            what = "pasted healthy tissue" if class_name is None else f"new lesion of class {class_name}"
            hint = "synthesize some, or set null_share to 0" if class_name is None else "synthesize some"
            raise DataError(f"synthetic set holds no {what}", hint=hint)
        return cases[rng.integers(len(cases))]

    @property
    def donor_patient_ids(self) -> frozenset[str]:
        """Every patient whose voxels may be in a drawn case."""
        return self._donors
