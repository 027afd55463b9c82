"""The gate: every reason why a synthetic set may not be released. No reason is found by trusting what is absent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final

from medaug.core.assessment import AuditReport, QualityReport, Rejection
from medaug.core.case import SOURCES_PRIVATE, CaseRecord, Manifest, Origin, StoredFile
from medaug.core.plan import Recipe, Translation
from medaug.core.results import Tier
from medaug.core.storage import sha256_file
from medaug.privacy.inspection import inspect_file

_CHANNEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+\-]{0,31}$")


@final
@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A synthetic set that wants out.

    Attributes:
        dataset: The dataset folder.
        manifest: Its manifest.
        recipes: How its lesions were drawn.
        translations: How its whole cases were made. Sets of other tools have neither.
        rejected: What was left out of it before.
        audit: The copying audit, or None where there is none.
        quality: The quality report, or None where there is none.
        tier: What is claimed.
        licence: For cases whose manifest names none.
        accept_inconclusive: Whether a person accepts an inconclusive audit.
    """

    dataset: Path
    manifest: Manifest
    recipes: tuple[Recipe, ...]
    translations: tuple[Translation, ...]
    rejected: tuple[Rejection, ...]
    audit: AuditReport | None
    quality: QualityReport | None
    tier: Tier
    licence: str | None
    accept_inconclusive: bool


def check_release(request: ReleaseRequest) -> tuple[str, ...]:
    """All reasons against a release; it may go on only where there is none.

    Reads every file of the set. Fails closed: what is missing, stale or undecided is a reason.
    """
    return (
        *_check_assessment(request),
        *_check_licence(request),
        *_check_cases(request),
        *_check_files(request),
    )


def check_folder(folder: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """All reasons against the files of a finished release, read back from disk."""
    return tuple(reason for name in names for reason in inspect_file(folder / name, name))


def _check_assessment(request: ReleaseRequest) -> Iterator[str]:
    now, quality, audit = request.manifest.content_sha256, request.quality, request.audit
    if quality is None:
        yield "there is no quality report"
    elif quality.synthetic_sha256 != now:
        yield "the quality report is stale: the set changed since"
    elif quality.rejected != request.rejected:
        yield "the quality report does not say what was left out of the set"
    if audit is None:
        yield "there is no copying audit"
        return
    if audit.synthetic_sha256 != now:
        yield "the copying audit is stale: the set changed since"
    if audit.n_synthetic < 1:
        yield "the copying audit looked at no synthetic sample"
    if audit.n_training < 1:
        yield "the copying audit compared with no training case"
    folds = {recipe.fold for recipe in request.recipes} | {row.fold for row in request.translations}
    other = sorted(folds - {audit.fold})
    if other:
        yield f"the copying audit is of fold {audit.fold}, the set of fold {other[0]}"
    yield from _check_verdict(audit, request.tier, accepted=request.accept_inconclusive)


def _check_verdict(audit: AuditReport, tier: Tier, *, accepted: bool) -> Iterator[str]:
    lesion, background = audit.verdict.lesion, audit.verdict.background
    copies = sum(flag.part == "lesion" for flag in audit.flagged)
    if audit.membership is not None and audit.membership.verdict == "fail":
        yield "an attack tells from the set which patients were trained on"
    if lesion == "fail":
        yield f"lesions are copies of training lesions ({copies} flagged)"
    elif copies and lesion == "pass":
        yield f"the copying audit flags {copies} lesions and yet passes them"
    if tier == "synthetic-only":
        if lesion == "inconclusive":
            yield "the copying audit of lesions is inconclusive, and tier synthetic-only needs a pass"
        if background != "pass":
            yield f"the background verdict is {background}, and tier synthetic-only needs a pass: hosts show through"
    elif lesion == "inconclusive" and not accepted:
        yield "the copying audit of lesions is inconclusive; a person may accept that with --accept-inconclusive"


def _check_licence(request: ReleaseRequest) -> Iterator[str]:
    missing = sum(not record.licence for record in request.manifest.cases)
    if missing and not request.licence:
        yield f"{missing} cases name no licence; name it with --licence"
    others = {record.licence for record in request.manifest.cases if record.licence} - {request.licence}
    if request.licence and others:
        yield f"--licence {request.licence} contradicts the manifest ({', '.join(sorted(map(str, others)))})"


def _check_cases(request: ReleaseRequest) -> Iterator[str]:
    records = request.manifest.cases
    if not records:
        yield "there is no case"
    drawn = {recipe.case_id for recipe in request.recipes}
    whole = {row.case_id for row in request.translations}
    from_elsewhere = _is_from_elsewhere(request)
    for record in records:
        if record.origin is not Origin.SYNTHETIC:
            yield f"{record.case_id} is not synthetic"
        if record.case_id not in drawn | whole and not from_elsewhere:
            yield f"{record.case_id} has no recipe"
        if record.edit_mask is None and record.case_id not in whole and not from_elsewhere:
            yield f"{record.case_id} has no edit mask"
        if not all(_CHANNEL.match(channel) for channel in record.channels):
            yield f"{record.case_id} has a channel whose name is no plain word"
    strangers = sorted((drawn | whole) - {record.case_id for record in records})
    if strangers:
        yield f"{len(strangers)} recipes belong to no case (first: {strangers[0]})"
    twice = [case_id for case_id, count in Counter(record.case_id for record in records).items() if count > 1]
    if twice:
        yield f"{len(twice)} case ids stand twice (first: {twice[0]})"
    yield from _check_recipes(request)
    yield from _check_translations(request)


def _is_from_elsewhere(request: ReleaseRequest) -> bool:
    """Whether another tool made the set: nothing says how, and no case has the edit mask that medaug writes."""
    told = request.recipes or request.translations
    return not told and all(record.edit_mask is None for record in request.manifest.cases)


def _check_recipes(request: ReleaseRequest) -> Iterator[str]:
    """A recipe's host is its case's patient, and its edit mask the file of the manifest."""
    records = {record.case_id: record for record in request.manifest.cases}
    for recipe in request.recipes:
        record = records.get(recipe.case_id)
        if record is None:
            continue
        if record.patient_id != recipe.host_patient_id:
            yield f"{recipe.case_id} names another host patient than its recipe"
        if record.edit_mask is not None and record.edit_mask.path != recipe.edit_mask:
            yield f"{recipe.case_id} names another edit mask than its recipe"


def _check_translations(request: ReleaseRequest) -> Iterator[str]:
    """A whole case is nobody's scan."""
    patients = {record.case_id: record.patient_id for record in request.manifest.cases}
    for row in request.translations:
        if row.source_case_id is not None or row.source_sha256:
            yield f"{row.case_id} is a changed scan of a patient"
        elif patients.get(row.case_id) in row.donor_patient_ids:
            yield f"{row.case_id} is said to be nobody's and bears a patient's name"


def _stored(record: CaseRecord) -> tuple[StoredFile, ...]:
    optional = (record.label, record.edit_mask)
    return (*record.images, *(stored for stored in optional if stored is not None))


def _check_files(request: ReleaseRequest) -> Iterator[str]:
    for record in request.manifest.cases:
        for stored in _stored(record):
            yield from _check_file(request.dataset, stored)


def _check_file(dataset: Path, stored: StoredFile) -> Iterator[str]:
    place = PurePosixPath(stored.path)
    if place.is_absolute() or ".." in place.parts or "\\" in stored.path or place.name == SOURCES_PRIVATE:
        yield "the manifest names a file that no release may hold"
        return
    path = dataset / stored.path
    if path.is_symlink() or not path.is_file():
        yield f"{stored.path} is missing or no plain file"
    elif sha256_file(path) != stored.sha256:
        yield f"{stored.path} changed since the manifest was written"
    else:
        yield from inspect_file(path, stored.path)
