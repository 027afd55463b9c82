"""Checks of the set as a whole: patients, classes, spacings, modalities, and images that show the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from medaug.core.case import CaseRecord
from medaug.core.findings import Code, Finding, finding
from medaug.core.wording import counted
from medaug.ingest._battery.likeness import UPRIGHT, Flip, Pair

_NAMED = 5
_ENOUGH_FOR_SPREAD, _FAR, _LEAST_SPREAD = 8, 6.0, 0.1
_TO_SIGMA = 0.6745
_ENOUGH_FOR_SIDES, _CLEAR_SIDE, _AGREED = 20, 0.05, 0.95
_COPY_OF_SAME_PATIENT, _CLEARLY_MIRRORED = 0.95, 0.1
_FLIPS = ("left-right", "front-back", "up-down")


def check_few_patients(
    records: Sequence[CaseRecord], classes: Sequence[str], folds: int
) -> tuple[Finding, ...]:
    """``few-patients``: a class in fewer patients than folds, so that some fold holds out none."""
    patients: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name in record.classes:
            patients[name].add(record.patient_id)
    return tuple(
        finding(
            Code.FEW_PATIENTS,
            "flagged",
            f"class {name} is in {counted(len(patients[name]), 'patient')}; {folds} folds need at least {folds}",
        )
        for name in classes
        if 0 < len(patients[name]) < folds
    )


def check_repeat_studies(records: Sequence[CaseRecord]) -> Finding | None:
    """``repeat-studies``: patients with several cases; those on one grid look like follow-ups or repeats."""
    cases: dict[str, list[CaseRecord]] = defaultdict(list)
    for record in records:
        cases[record.patient_id].append(record)
    several = {patient: held for patient, held in cases.items() if len(held) > 1}
    if not several:
        return None
    alike = [
        patient for patient, held in several.items() if len({_grid(record) for record in held}) < len(held)
    ]
    most = max(several, key=lambda patient: (len(several[patient]), patient))
    message = (
        f"{counted(len(several), 'patient')} of {len(cases)} have several cases, {most} the most "
        f"({len(several[most])}); {len(alike)} of them have cases of one size and spacing, as follow-ups or repeats do"
    )
    return finding(Code.REPEAT_STUDIES, "flagged", message)


def _grid(record: CaseRecord) -> tuple[float, ...]:
    return (*record.shape, *(round(size, 3) for size in record.spacing_mm))


def check_spacing_outliers(records: Sequence[CaseRecord]) -> tuple[Finding, ...]:
    """``spacing-outlier``: more than six robust standard deviations from the median, in logarithms.

    Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993: 0.6745 (x - median) / median absolute deviation.
    """
    known = [record for record in records if record.spacing == "known" and min(record.shape) > 1]
    if len(known) < _ENOUGH_FOR_SPREAD:
        return ()
    logs = np.log([record.spacing_mm for record in known])
    median = np.median(logs, axis=0)
    spread = np.maximum(np.median(np.abs(logs - median), axis=0), _LEAST_SPREAD)
    far = (_TO_SIGMA * np.abs(logs - median) / spread).max(axis=1) > _FAR
    usual = _sizes(np.exp(median))
    return tuple(
        finding(
            Code.SPACING_OUTLIER,
            "flagged",
            f"voxels are {_sizes(known[n].spacing_mm)} mm; the median of the set is {usual} mm",
            known[n].case_id,
        )
        for n in np.flatnonzero(far)
    )


def _sizes(spacing_mm: Iterable[float]) -> str:
    return " x ".join(f"{size:.3g}" for size in spacing_mm)


def check_modalities(records: Sequence[CaseRecord]) -> Finding | None:
    """``several-modalities``: cases of more than one modality."""
    counts = Counter(record.modality for record in records)
    if len(counts) < 2:
        return None
    usual = counts.most_common(1)[0][0]
    others = [record.case_id for record in records if record.modality != usual]
    held = ", ".join(f"{count} of {name}" for name, count in counts.most_common())
    message = f"cases of several modalities: {held}; unlike most: {_named(others)}"
    return finding(Code.SEVERAL_MODALITIES, "flagged", message)


def check_near_duplicate(pair: Pair, first: CaseRecord, second: CaseRecord) -> Finding | None:
    """``near-duplicate``: the images of two cases show the same anatomy in the same detail.

    Under two patients this leaks from training into test. Two scans of one patient may be alike: only copies are named.
    """
    same_patient = first.patient_id == second.patient_id
    if same_patient and (pair.flip != UPRIGHT or pair.likeness < _COPY_OF_SAME_PATIENT):
        return None
    how = f", flipped {_in_words(pair.flip)}" if pair.flip != UPRIGHT else ""
    said = f"image matches that of {first.case_id}{how} (correlation {pair.likeness:.2f})"
    if same_patient:
        message = f"{said}, of the same patient; keep one of them if they are copies"
        return finding(Code.NEAR_DUPLICATE, "flagged", message, second.case_id)
    message = f"{said}, said to be another patient; give one patient one id, or take one out"
    return finding(Code.NEAR_DUPLICATE, "refused" if pair.is_sure else "flagged", message, second.case_id)


def check_laterality_flip(pair: Pair, first: CaseRecord, second: CaseRecord) -> Finding | None:
    """``laterality-flip``: two images of one patient fit clearly better with one of them flipped."""
    mirrored = pair.flip != UPRIGHT and pair.likeness - pair.upright > _CLEARLY_MIRRORED
    if first.patient_id != second.patient_id or not mirrored:
        return None
    message = (
        f"image matches that of {first.case_id} of the same patient only when flipped {_in_words(pair.flip)} "
        f"(correlation {pair.likeness:.2f}, else {pair.upright:.2f}); find out which side is right"
    )
    return finding(Code.LATERALITY_FLIP, "refused", message, second.case_id)


def _in_words(flip: Flip) -> str:
    return " and ".join(name for name, turned in zip(_FLIPS, flip, strict=True) if turned)


def check_sides(sidedness: np.ndarray, records: Sequence[CaseRecord]) -> tuple[tuple[Finding, ...], str]:
    """``laterality-outlier``: cases that fit the others better mirrored, where the set is one-sided enough to tell.

    Args:
        sidedness: A figure a record, as :func:`sidedness` of the fingerprints gives it.
        records: The cases.

    Returns:
        The findings, and in a sentence whether left and right could be told at all.
    """
    usual = float(np.median(sidedness)) if len(records) else 0.0
    agreed = float(np.mean(sidedness > 0)) if len(records) else 0.0
    if len({record.patient_id for record in records}) < _ENOUGH_FOR_SIDES:
        return (), f"left and right: inconclusive, fewer than {_ENOUGH_FOR_SIDES} patients"
    if usual < _CLEAR_SIDE or agreed < _AGREED:
        return (), "left and right: inconclusive, the images fit each other as well when mirrored"
    outliers = [records[int(n)] for n in np.flatnonzero(sidedness < -usual / 2)]
    found = tuple(
        finding(
            Code.LATERALITY_OUTLIER,
            "flagged",
            "image fits the others better mirrored left to right; check its side",
            record.case_id,
        )
        for record in outliers
    )
    return found, f"left and right: {len(records) - len(outliers)} of {len(records)} cases agree"


def _named(case_ids: Sequence[str]) -> str:
    """The first few ids."""
    rest = len(case_ids) - _NAMED
    return ", ".join(case_ids[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
