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

    Attributes:
        mode: Of the law, as fitted by moments.
        scale: Of the law.
        n_patients: It rests on.
    """

    mode: float
    scale: float
    n_patients: int

    @staticmethod
    def fitted_on(leads: Mapping[str, float]) -> Calibration | None:
        """The law for the largest leads of patients; None for fewer than 20 patients."""
        n = len(leads)
        if n < FEWEST_HELD_OUT:
            return None
        values = np.array([leads[patient] for patient in sorted(leads)])
        scale = max(float(values.std(ddof=1)) * math.sqrt(6.0) / math.pi, _SMALLEST_SCALE)
        return Calibration(float(values.mean()) - _EULER * scale, scale, n)

    @property
    def threshold(self) -> float:
        """The lead that one held-out patient in a hundred reaches; from it a sample is flagged."""
        return self.mode + self.scale * _quantile(FALSE_POSITIVE_SHARE)

    @property
    def chance(self) -> float:
        """The largest share of held-out patients that may really reach the threshold, 95%; few patients leave it wide."""
        least = _quantile(FALSE_POSITIVE_SHARE) - self._margin(FALSE_POSITIVE_SHARE)
        return -math.expm1(-math.exp(-least))

    def beyond_chance(self, share: float) -> float:
        """The lead that at most this share of held-out patients reaches, 95%.

        The upper confidence limit of the law's quantile (large-sample variance, Tiago de Oliveira 1983).
        """
        return self.mode + self.scale * (_quantile(share) + self._margin(share))

    def score(self, lead: float) -> float:
        """A lead in units of the threshold: 1 and more is flagged."""
        return lead / self.threshold

    def _margin(self, share: float) -> float:
        y = _quantile(share)
        return 1.645 * math.sqrt((1.109 + 0.514 * y + 0.608 * y * y) / self.n_patients)


def _quantile(share: float) -> float:
    """Of the standard Gumbel law: what this share lies above."""
    return -math.log(-math.log1p(-share))
