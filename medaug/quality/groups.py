"""Lesions of one kind taken together: their mean with an interval, and patients dealt to parts for cross-fitting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from medaug.core.assessment import Figure
from medaug.quality.resampling import Estimate, estimate, patient_weights, weighted_mean

FEWEST: Final = 5  # lesions of a kind, for a figure of it


def mean_figure(
    values: Float[np.ndarray, " N"],
    patients: Sequence[str],
    rng: np.random.Generator,
    weights: Float[np.ndarray, " N"] | None = None,
) -> Figure | None:
    """Mean of what is finite with its interval by patient; None for fewer than 5 lesions or 2 patients.

    Args:
        values: One a lesion; NaN where it was not measured.
        patients: Whose they are.
        rng: Of the draws.
        weights: Of the lesions; None: all weigh the same.
    """
    counted = np.isfinite(values) if weights is None else np.isfinite(values) & (weights > 0)
    there = np.flatnonzero(counted)
    owners = [patients[int(row)] for row in there]
    if len(there) < FEWEST or len(set(owners)) < 2:
        return None
    known = np.asarray(values[there], dtype=np.float64)
    each = np.ones(len(known)) if weights is None else weights[there]
    draws = weighted_mean(known, patient_weights(owners, rng) * each)
    return as_figure(estimate(float(np.average(known, weights=each)), draws))


def as_figure(found: Estimate) -> Figure | None:
    """An estimate as a file holds it; None where it could not be computed."""
    if not np.isfinite([found.value, found.low, found.high]).all():
        return None
    return Figure(value=found.value, low=found.low, high=found.high)


def parts_by_patient(patients: Sequence[str], count: int, rng: np.random.Generator) -> Int[np.ndarray, " N"]:
    """Deal patients to parts at random; the part of each lesion. Fewer patients than parts make fewer parts."""
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    dealt = rng.permutation(len(names)) % min(count, len(names))
    return np.asarray(dealt[owner], dtype=np.int64)
