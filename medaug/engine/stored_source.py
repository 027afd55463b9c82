"""Synthetic cases from a folder, drawn again and again while a task is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.intensity import IntensityScheme


@final
class StoredSource:
    """Draws finished synthetic cases, each as often as any other; a :class:`~medaug.core.case.CaseSource`.

    Args:
        cases: The cases, whole and in memory.
        scheme: How they are normalised; computed once here, since each is drawn many times.
        donor_patient_ids: Hosts and donors of all cases.

    Raises:
        DataError: If there is no case.
    """

    def __init__(
        self, cases: Sequence[Case], scheme: IntensityScheme, donor_patient_ids: frozenset[str]
    ) -> None:
        if not cases:
            raise DataError("synthetic set holds no labelled case", hint="run `medaug synthesize` again")
        self._cases = tuple(replace(case, scale=scheme.case_scale(case.volume)) for case in cases)
        self._donors = donor_patient_ids

    def draw(self, rngs: tuple[np.random.Generator, ...]) -> tuple[Case, ...]:
        """One of the cases for every ``rng``."""
        return tuple(self._cases[rng.integers(len(self._cases))] for rng in rngs)

    @property
    def donor_patient_ids(self) -> frozenset[str]:
        """Every patient whose voxels may be in a drawn case."""
        return self._donors
