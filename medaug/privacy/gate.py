"""The gate: every reason why a set may not be released. Missing evidence is a reason, too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, final

from medaug.core.assessment import AuditReport, QualityReport, Rejection
from medaug.core.case import SOURCES_PRIVATE, CaseRecord, FindingsFile, Manifest, Origin, StoredFile
from medaug.core.certificate import Tier
from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.core.plan import Recipe, Translation
from medaug.core.storage import sha256_file
from medaug.core.wording import counted
from medaug.privacy._deidentify.text import Scrubber
from medaug.privacy.contradictions import contradictions
from medaug.privacy.defaced import read_defaced
from medaug.privacy.faces import FaceVerdict, judge_face
from medaug.privacy.inspection import Known, inspect_file

_CHANNEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+\-]{0,31}$")
_DATE = re.compile(
    r"(?<!\d)(?:18|19|20)\d{2}[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?<![\d.])\d{1,2}([-/.])\d{1,2}\1(?:19|20)\d{2}(?!\d)"
)
# of these images parts are written upon, and nothing here reads what stands in pixels of a dataset folder
_WRITTEN_UPON: Final = frozenset(
    ["US", "IVUS", "SC", "ES", "XC", "GM", "SM", "OP", "CR", "DX", "MG", "PX", "IO", "RG", "HC", "DOC"]
)


@final
@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A set that wants out.

    Attributes:
        dataset: The dataset folder.
        manifest: Its manifest.
        findings: What was found on the way in.
        recipes: How its lesions were drawn.
        translations: How its whole cases were made. Sets of other tools have neither, and so have real ones.
        rejected: What was left out of it before.
        audit: The copying audit, or None where there is none.
        quality: The quality report, or None where there is none.
        tier: What is claimed.
        licence: For cases whose manifest names none.
        terms: The same.
        accept_inconclusive: Whether a person accepts an inconclusive audit.
        no_faces: Whether a person has looked and says that no face is in view.
        listed: Finds what a person listed as identifying; None where nothing was listed.
    """

    dataset: Path
    manifest: Manifest
    findings: FindingsFile
    recipes: tuple[Recipe, ...]
    translations: tuple[Translation, ...]
    rejected: tuple[Rejection, ...]
    audit: AuditReport | None
    quality: QualityReport | None
    tier: Tier
    licence: str | None
    terms: str | None
    accept_inconclusive: bool = False
    no_faces: bool = False
    listed: Scrubber | None = None

    @property
    def is_synthetic(self) -> bool:
        """Whether every case was made; real scans and their changed copies ask for other checks."""
        return all(record.origin is Origin.SYNTHETIC for record in self.manifest.cases)

    @property
    def hosts(self) -> tuple[CaseRecord, ...]:
        """Cases that go out with the scan of a patient around their lesions, in the one tier where that needs a look."""
        nobodys = {row.case_id for row in self.translations if row.source_case_id is None}
        cases = self.manifest.cases if self.tier == "hosted" else ()
        return tuple(record for record in cases if record.case_id not in nobodys)

    @property
    def known(self) -> Known:
        """What every file is inspected with."""
        return Known(listed=self.listed, all_synthetic=self.is_synthetic)


@final
@dataclass(frozen=True, slots=True)
class Objection:
    """A reason against a release.

    Attributes:
        reason: In a clause.
        path: The file of the dataset folder that it is about; empty where it is about the whole.
    """

    reason: str
    path: str = ""


def check_release(request: ReleaseRequest) -> tuple[Objection, ...]:
    """All reasons against a release; it may go on only where there is none.

    Reads every file of the set. Fails closed: what is missing, stale or undecided is a reason.
    """
    about_set = (
        *(_check_assessment(request) if request.is_synthetic else _check_real(request)),
        *_check_licence(request),
        *_check_cases(request),
        *_check_texts(request),
        *_check_hosts(request),
    )
    about_files = tuple(_check_files(request))
    # voxels are looked at only in files that are what the manifest says
    about_voxels = () if about_files else tuple(_check_voxels(request))
    return (*map(Objection, about_set), *about_files, *about_voxels)


def check_faces(request: ReleaseRequest) -> tuple[FaceVerdict, ...]:
    """What becomes of each scan of a patient that goes out: as it is, without its face, or, which is a reason, not at all.

    Raises:
        DataError: If a file cannot be read.
    """
    recorded = read_defaced(request.dataset) if request.hosts else {}
    return tuple(
        judge_face(
            request.dataset,
            record,
            request.manifest.classes,
            no_faces=request.no_faces,
            recorded=recorded,
        )
        for record in request.hosts
    )


def check_folder(folder: Path, names: tuple[str, ...], known: Known) -> tuple[str, ...]:
    """All reasons against the files of a finished release, read back from disk."""
    return tuple(reason for name in names for reason in inspect_file(folder / name, name, known))


def _check_real(request: ReleaseRequest) -> Iterator[str]:
    """Scans of patients: no audit can say that they copy nobody."""
    if request.tier == "synthetic-only":
        yield "the set holds scans of patients, and tier synthetic-only holds none"
    if request.audit is not None or request.quality is not None:
        yield "an assessment says nothing of scans of patients; leave --assessment out"
    if request.accept_inconclusive:
        yield "there is no audit to accept; leave --accept-inconclusive out"
    marked = sum(Code.SYNTHETIC_DATA in record.findings for record in request.manifest.cases)
    if marked:
        is_so = "case that it is" if marked == 1 else "cases that they are"
        yield f"headers or folders say of {marked} {is_so} synthetic; ingest again and say --origin"
    told = request.recipes or request.translations
    if told or any(record.edit_mask is not None for record in request.manifest.cases):
        yield "what is said to be scans of patients has recipes or edit masks of synthetic cases"


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
    if quality is not None and quality.dataset_sha256 != audit.dataset_sha256:
        yield "the copying audit and the quality report are of different datasets"
    folds = {recipe.fold for recipe in request.recipes} | {row.fold for row in request.translations}
    other = sorted(folds - {audit.fold})
    if other:
        yield f"the copying audit is of fold {audit.fold}, the set of fold {other[0]}"
    yield from _check_verdict(audit, request.tier, accepted=request.accept_inconclusive)


def _check_verdict(audit: AuditReport, tier: Tier, *, accepted: bool) -> Iterator[str]:
    lesion, background = audit.verdict.lesion, audit.verdict.background
    copies = sum(flag.part == "lesion" for flag in audit.flagged)
    membership = None if audit.membership is None else audit.membership.verdict
    if membership == "fail":
        yield "an attack tells from the set which patients were trained on"
    if lesion == "fail":
        yield f"lesions are copies of training lesions ({copies} flagged)"
    elif copies and lesion == "pass":
        yield f"the copying audit flags {copies} lesions and yet passes them"
    if tier == "synthetic-only":
        if membership is None:
            yield "the audit tried no membership attack, and tier synthetic-only needs one"
        if lesion == "inconclusive":
            yield "the copying audit of lesions is inconclusive, and tier synthetic-only needs a pass"
        if background != "pass":
            yield f"the background verdict is {background}, and tier synthetic-only needs a pass: hosts show through"
    elif lesion == "inconclusive" and not accepted:
        yield "the copying audit of lesions is inconclusive; a person may accept that with --accept-inconclusive"


def _check_licence(request: ReleaseRequest) -> Iterator[str]:
    missing = sum(not record.licence for record in request.manifest.cases)
    if missing and not request.licence:
        yield f"{counted(missing, 'case')} with no licence; name it with --licence"
    others = {record.licence for record in request.manifest.cases if record.licence} - {request.licence}
    if request.licence and others:
        yield f"--licence {request.licence} contradicts the manifest ({', '.join(sorted(map(str, others)))})"
    said = {record.terms for record in request.manifest.cases if record.terms}
    if request.terms and said - {request.terms}:
        yield "--terms contradicts the manifest"


def _check_cases(request: ReleaseRequest) -> Iterator[str]:
    records = request.manifest.cases
    if not records:
        yield "there is no case"
    drawn = {recipe.case_id for recipe in request.recipes}
    whole = {row.case_id for row in request.translations}
    from_elsewhere = _is_from_elsewhere(request)
    for record in records:
        if request.is_synthetic:
            yield from _check_made(record, drawn, whole, from_elsewhere=from_elsewhere)
        elif record.origin is Origin.SYNTHETIC:
            yield f"{record.case_id} is synthetic and others are not; release them apart"
        elif record.origin is Origin.AUGMENTED:
            yield f"{record.case_id} is a changed copy of a scan; release the scan"
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


def _check_made(
    record: CaseRecord, drawn: set[str], whole: set[str], *, from_elsewhere: bool
) -> Iterator[str]:
    if record.case_id not in drawn | whole and not from_elsewhere:
        yield f"{record.case_id} has no recipe"
    if record.edit_mask is None and record.case_id not in whole and not from_elsewhere:
        yield f"{record.case_id} has no edit mask"


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


def _check_texts(request: ReleaseRequest) -> Iterator[str]:
    """Words that users brought: no listed identifier, and for tiers that leave the institution no date."""
    manifest = request.manifest
    ids = [one for record in manifest.cases for one in (record.case_id, record.patient_id)]
    words = [manifest.name, *manifest.classes, *(c for record in manifest.cases for c in record.channels)]
    messages = [finding.message for finding in request.findings.findings]
    stated = [one for record in manifest.cases for one in (record.licence, record.terms) if one]
    stated += [one for one in (request.licence, request.terms) if one]
    for what, texts in (
        ("a case or patient id", ids),
        ("the name of the set, a class or a channel", words),
        ("a finding", messages),
        ("licence or terms", stated),
    ):
        if any(map(request.known.tells, texts)):
            yield f"{what} holds a listed identifier"
        if what != "licence or terms" and request.tier != "internal" and any(map(_DATE.search, texts)):
            yield f"{what} holds what looks like a date; ingest the set again under other names"


def _stored(record: CaseRecord) -> tuple[StoredFile, ...]:
    optional = (record.label, record.edit_mask)
    return (*record.images, *(stored for stored in optional if stored is not None))


def _check_files(request: ReleaseRequest) -> Iterator[Objection]:
    for record in request.manifest.cases:
        for stored in _stored(record):
            for reason in _check_file(request, stored):
                yield Objection(reason, stored.path)


def _check_file(request: ReleaseRequest, stored: StoredFile) -> Iterator[str]:
    place, home = PurePosixPath(stored.path), request.dataset.resolve()
    if place.is_absolute() or ".." in place.parts or "\\" in stored.path or place.name == SOURCES_PRIVATE:
        yield "the manifest names a file that no release may hold"
        return
    path = request.dataset / stored.path
    if path.is_symlink() or not path.is_file():
        yield f"{stored.path} is missing or no plain file"
    elif not path.resolve().is_relative_to(home):
        yield f"{stored.path} lies outside the dataset folder, behind a link"
    elif sha256_file(path) != stored.sha256:
        yield f"{stored.path} changed since the manifest was written"
    else:
        yield from inspect_file(path, stored.path, request.known)


def _check_voxels(request: ReleaseRequest) -> Iterator[Objection]:
    """What the voxels themselves say against the recipes."""
    for record in request.manifest.cases:
        recipes = tuple(recipe for recipe in request.recipes if recipe.case_id == record.case_id)
        if not record.images:
            yield Objection(f"{record.case_id} has no image file that could be looked at")
            continue
        try:
            reasons = list(contradictions(request.dataset, record, request.manifest.classes, recipes))
        except DataError as error:
            reasons = [f"{record.case_id} cannot be read: {error.what}"]
        yield from (Objection(reason, record.images[0].path) for reason in reasons)


def _check_hosts(request: ReleaseRequest) -> Iterator[str]:
    """Images that are written upon, in what goes out with the scans of patients."""
    for record in request.hosts:
        if record.modality in _WRITTEN_UPON:
            yield f"{record.case_id} is {record.modality}: what is written in its pixels was not looked for"
