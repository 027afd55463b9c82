"""What lead chance gives, from held-out patients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

FALSE_POSITIVE_SHARE = 0.01
FEWEST_HELD_OUT = 20
_EULER = 0.5772
_SMALLEST_SCALE = 0.15


@final
@dataclass(frozen=True, slots=True)
class Calibration:
    """The law of the largest lead of a held-out patient: Gumbel, since a lead is a largest value.

    The threshold is the upper 95% confidence limit of the law's 99th percentile (large-sample variance of the
    quantile, Tiago de Oliveira 1983), so that few patients make it stricter, not looser.

    Attributes:
        threshold: Lead from which a sample is flagged.
        n_patients: It rests on.
    """

    threshold: float
    n_patients: int

    @staticmethod
    def fitted_on(leads: Mapping[str, float]) -> Calibration | None:
        """The law for the largest leads of patients; None for fewer than 20 patients."""
        n = len(leads)
        if n < FEWEST_HELD_OUT:
            return None
        values = np.array([leads[patient] for patient in sorted(leads)])
        scale = max(float(values.std(ddof=1)) * math.sqrt(6.0) / math.pi, _SMALLEST_SCALE)
        y = -math.log(-math.log(1.0 - FALSE_POSITIVE_SHARE))
        margin = 1.645 * math.sqrt((1.109 + 0.514 * y + 0.608 * y * y) / n)
        return Calibration(float(values.mean()) + scale * (y - _EULER + margin), n)

    def score(self, lead: float) -> float:
        """A lead in units of the threshold: 1 and more is flagged."""
        return lead / self.threshold
