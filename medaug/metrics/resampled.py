"""Intervals of figures that are pooled over patients, such as an AUC: patients are drawn anew, with all they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Integer

from medaug.core.candidates import Estimate

Chosen = Integer[np.ndarray, "n"]
Figures = Float[np.ndarray, "n"]
_DRAWS, _TAIL = 1000, 0.025
_FEWEST = 0.9  # of the draws must tell the figure, else its interval would be of the lucky ones


def estimates(
    patient_ids: Sequence[str],
    figures: Callable[[Chosen], Figures],
    bearing: Sequence[int],
    rng: np.random.Generator,
) -> tuple[Estimate, ...]:
    """Figures of all rows with 95% percentile bootstrap intervals over patients, as LUNA16 does over scans.

    A patient's rows are drawn together, so that they never count as independent. Percentile intervals of few patients
    are too narrow; one patient gets none. Where all is right, or nothing is, every draw says the same: the interval then
    ends where that would happen to so many patients once in forty (Clopper and Pearson, Biometrika 26, 1934).

    Args:
        patient_ids: Of every row.
        figures: From the numbers of rows (some several times) to figures in 0..1; NaN where one cannot be told.
        bearing: Patients that bear on each figure.
        rng: Draws the patients.
    """
    numbers: dict[str, list[int]] = {}
    for row, patient_id in enumerate(patient_ids):
        numbers.setdefault(patient_id, []).append(row)
    groups = [np.array(rows) for _, rows in sorted(numbers.items())]
    values = figures(np.arange(len(patient_ids)))
    if len(groups) < 2:
        return tuple(_estimate(float(value), np.empty(0), 0) for value in values)
    draws = rng.integers(len(groups), size=(_DRAWS, len(groups)))
    drawn = np.stack([figures(np.concatenate([groups[n] for n in draw])) for draw in draws])
    return tuple(
        _estimate(float(value), column, count)
        for value, column, count in zip(values, drawn.T, bearing, strict=True)
    )


def _estimate(value: float, drawn: Figures, bearing: int) -> Estimate:
    if np.isnan(value):
        return Estimate(value=None)
    told = drawn[~np.isnan(drawn)]
    if not len(told) or len(told) < _FEWEST * len(drawn):
        return Estimate(value=value)
    low, high = np.quantile(told, (_TAIL, 1 - _TAIL))
    once_in_forty = float(_TAIL ** (1 / max(bearing, 1)))
    if low == 1.0:
        low = once_in_forty
    if high == 0.0:
        high = 1 - once_in_forty
    return Estimate(value=value, low=float(low), high=float(high))
