"""Patients dealt out to parts of a dataset, balanced by what they carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from medaug.core.case import CaseRecord

LESION_FREE = "(lesion-free)"


@final
@dataclass(frozen=True, slots=True)
class Patient:
    """A patient with what the parts are balanced by."""

    patient_id: str
    strata: frozenset[str]


def labelled_patients(records: Sequence[CaseRecord]) -> tuple[list[Patient], set[str]]:
    """Patients with a label, in the order of their ids, and the ids of those without."""
    strata: dict[str, set[str]] = {}
    for record in records:
        if record.label is not None:
            strata.setdefault(record.patient_id, set()).update(record.classes)
    unlabelled = {record.patient_id for record in records} - set(strata)
    return [Patient(key, frozenset(strata[key] or {LESION_FREE})) for key in sorted(strata)], unlabelled


def deal(patients: Sequence[Patient], shares: Sequence[float]) -> list[list[Patient]]:
    """Deal patients out to parts of these relative sizes, keeping each stratum's share.

    Class by class, the rarest first, to the part that lacks most of it (iterative stratification, Sechidis et al., ECML
    PKDD 2011); the first part wins a tie.

    Args:
        patients: In the order in which they are dealt.
        shares: Relative size of each part.
    """
    weights = np.array(shares) / sum(shares)
    counts = Counter(name for patient in patients for name in patient.strata)
    wanted = {name: weights * count for name, count in counts.items()}
    room = weights * len(patients)
    parts: list[list[Patient]] = [[] for _ in shares]
    left = list(patients)
    while left:
        held = Counter(name for patient in left for name in patient.strata)
        rarest = min(held, key=lambda name: (held[name], name))
        for patient in [p for p in left if rarest in p.strata]:
            # most wanted first, then most room; the first part of those that tie
            part = max(range(len(parts)), key=lambda n: (_need(wanted[rarest], n), _need(room, n), -n))
            parts[part].append(patient)
            room[part] -= 1
            for name in patient.strata:
                wanted[name][part] -= 1
        left = [p for p in left if rarest not in p.strata]
    return parts


def _need(amounts: np.ndarray, part: int) -> float:
    """What a part still lacks, rounded so that sums in another order tie."""
    return round(float(amounts[part]), 9)
