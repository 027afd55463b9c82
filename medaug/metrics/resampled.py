"""Intervals of figures that are pooled over patients, such as an AUC: patients are drawn anew, with all they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Integer

from medaug.core.candidates import Estimate

Chosen = Integer[np.ndarray, "n"]
Figures = Float[np.ndarray, "n"]
_DRAWS = 1000
_FEWEST = 0.9  # of the draws must tell the figure, else its interval would be of the lucky ones


def estimates(
    patient_ids: Sequence[str], figures: Callable[[Chosen], Figures], rng: np.random.Generator
) -> tuple[Estimate, ...]:
    """Figures of all rows with 95% percentile bootstrap intervals over patients, as LUNA16 does over scans.

    A patient's rows are drawn together, so that they never count as independent. Percentile intervals of few patients
    are too narrow; one patient gets none.

    Args:
        patient_ids: Of every row.
        figures: From the numbers of rows (some several times) to figures; NaN where one cannot be told.
        rng: Draws the patients.
    """
    numbers: dict[str, list[int]] = {}
    for row, patient_id in enumerate(patient_ids):
        numbers.setdefault(patient_id, []).append(row)
    groups = [np.array(rows) for _, rows in sorted(numbers.items())]
    values = figures(np.arange(len(patient_ids)))
    if len(groups) < 2:
        return tuple(_estimate(float(value), np.empty(0)) for value in values)
    draws = rng.integers(len(groups), size=(_DRAWS, len(groups)))
    drawn = np.stack([figures(np.concatenate([groups[n] for n in draw])) for draw in draws])
    return tuple(_estimate(float(value), column) for value, column in zip(values, drawn.T, strict=True))


def _estimate(value: float, drawn: Figures) -> Estimate:
    if np.isnan(value):
        return Estimate(value=None)
    told = drawn[~np.isnan(drawn)]
    if not len(told) or len(told) < _FEWEST * len(drawn):
        return Estimate(value=value)
    low, high = np.quantile(told, (0.025, 0.975))
    return Estimate(value=value, low=float(low), high=float(high))
