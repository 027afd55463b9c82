"""What can only be said when all cases are read: units, channels, duplicates, and classes too small to split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

from medaug.core.case import CaseRecord
from medaug.core.config import Frozen
from medaug.core.findings import Finding
from medaug.core.volume import Unit
from medaug.ingest import checks

H = TypeVar("H", bound=Hashable)


@final
class ReadCase(Frozen):
    """What is kept of a case that was read: a line of the resume file."""

    case_id: str
    source: int
    record: CaseRecord | None
    findings: tuple[Finding, ...]
    pixels_sha256: str
    looks_like_hu: bool
    is_guessed: bool


@final
@dataclass(frozen=True, slots=True)
class Settled:
    """The records that stay, and the findings of all cases and of the set."""

    records: tuple[CaseRecord, ...]
    findings: tuple[Finding, ...]


def settle(read: Sequence[ReadCase], class_names: tuple[str, ...], notes: Sequence[Finding] = ()) -> Settled:
    """Decide what needs all cases at once; the result does not depend on how the reading was interrupted.

    Intensities that nothing explains are HU where at least half of such cases of a source look like it, arbitrary units
    otherwise. The unit and the channels that most cases share are those of the set; cases with others are refused.

    Args:
        read: All cases in order, refused ones too.
        class_names: The class table.
        notes: Findings of the set that are known already.
    """
    findings = [finding for case in read for finding in case.findings]
    records, guessed = _guess_units(read)
    findings += guessed
    for step in (_refuse_duplicates(read), _refuse_units, _refuse_channels):
        records, more = step(records)
        findings += more
    appearances = [(case.record.patient_id, case.source) for case in read if case.record is not None]
    findings += [
        *notes,
        *checks.check_patient_sources(appearances),
        *checks.check_single_lesions(records, class_names),
    ]
    codes: dict[str | None, list[str]] = {}
    for found in findings:
        codes.setdefault(found.case_id, []).append(found.code)
    settled = tuple(_with_codes(record, codes.get(record.case_id, [])) for record in records)
    return Settled(settled, tuple(findings))


_Step = Callable[[list[CaseRecord]], tuple[list[CaseRecord], list[Finding]]]


def _with_codes(record: CaseRecord, codes: Sequence[str]) -> CaseRecord:
    return record.model_copy(update={"findings": tuple(dict.fromkeys((*record.findings, *codes)))})


def _guess_units(read: Sequence[ReadCase]) -> tuple[list[CaseRecord], list[Finding]]:
    findings, records = [], []
    hu_sources: set[int] = set()
    for source in sorted({case.source for case in read}):
        guesses = [
            case for case in read if case.source == source and case.record is not None and case.is_guessed
        ]
        if not guesses:
            continue
        is_hu = 2 * sum(case.looks_like_hu for case in guesses) >= len(guesses)
        hu_sources |= {source} if is_hu else set()
        unit = Unit.HU if is_hu else Unit.ARBITRARY
        findings.append(checks.note_guessed_modality(len(guesses), "CT" if is_hu else "unknown", unit))
    for case in read:
        if case.record is None:
            continue
        is_hu = case.is_guessed and case.source in hu_sources
        records.append(
            case.record.model_copy(update={"modality": "CT", "unit": Unit.HU}) if is_hu else case.record
        )
    return records, findings


def _refuse_duplicates(read: Sequence[ReadCase]) -> _Step:
    pixels = {case.case_id: case.pixels_sha256 for case in read if case.record is not None}

    def step(records: list[CaseRecord]) -> tuple[list[CaseRecord], list[Finding]]:
        first: dict[str, CaseRecord] = {}
        kept, findings = [], []
        for record in records:
            other = first.setdefault(pixels[record.case_id], record)
            same_patient = other.patient_id == record.patient_id
            if other is not record:
                note = checks.check_duplicate_image(other.case_id, record.case_id, same_patient=same_patient)
                findings.append(note)
            if other is record or same_patient:
                kept.append(record)
        return kept, findings

    return step


def _refuse_units(records: list[CaseRecord]) -> tuple[list[CaseRecord], list[Finding]]:
    if not records:
        return [], []
    unit = _most_common([str(record.unit) for record in records])
    odd = [checks.check_unit(r.case_id, r.unit, unit) for r in records if r.unit != unit]
    return [r for r in records if r.unit == unit], odd


def _refuse_channels(records: list[CaseRecord]) -> tuple[list[CaseRecord], list[Finding]]:
    """Name lone unnamed channels, and refuse cases whose channels are not those of most."""
    named = [record.channels for record in records if all(record.channels)]
    lone = [names for names in named if len(names) == 1]
    fellow = _most_common(lone) if lone else None
    kept = [record if all(record.channels) else _with_channel(record, fellow) for record in records]
    if not kept:
        return [], []
    usual = _most_common([record.channels for record in kept])
    findings = [checks.check_channels(r.case_id, r.channels, usual) for r in kept if r.channels != usual]
    return [r for r in kept if r.channels == usual], findings


def _with_channel(record: CaseRecord, fellow: tuple[str, ...] | None) -> CaseRecord:
    """A record of one unnamed channel takes the name its fellows have, or that of its modality."""
    own = ("image" if record.modality == "OT" else record.modality,)
    return record.model_copy(update={"channels": fellow or own})


def _most_common(values: Sequence[H]) -> H:
    """The most frequent value; the first of those that tie."""
    counts = Counter(values)
    return max(values, key=lambda value: counts[value])
