"""``medaug ingest``: folders of scans and annotations into a dataset folder, or refused case by case."""

from __future__ import annotations

import operator
import os
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, final

from pydantic import Field, field_validator

from medaug.core.assessment import REJECTED, Rejection, RejectionsFile
from medaug.core.case import (
    FINDINGS,
    SOURCES_PRIVATE,
    TRANSLATIONS,
    CaseRecord,
    FindingsFile,
    Manifest,
    Origin,
    read_manifest,
)
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, DependencyError
from medaug.core.findings import Code, Finding
from medaug.core.plan import Recipe, Translation, write_lines
from medaug.core.runs import Progress, RunDir, finished, open_run, require_run_folder
from medaug.core.storage import require_free_space, sha256_if_readable, sha256_text, write_text_atomic
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.ingest.checks import note_made_up_classes
from medaug.ingest.classes import class_table, with_class_names
from medaug.ingest.discover import How, Identified, discover, identify
from medaug.ingest.naming import ClassMap, parse_class_map
from medaug.ingest.reading import RESUME, ReadingPlan, read_cases, record_paths
from medaug.ingest.settle import ReadCase, Settled, settle
from medaug.ingest.sources import Choices, Policy, PrivateCase, PrivateSource, SourcesPrivate, Stray
from medaug.ingest.unpack import Opened, opened
from medaug.io.dataset import finish_dataset


@final
class IngestOptions(Frozen):
    """Options of `medaug ingest`."""

    sources: tuple[Path, ...] = Field(min_length=1)
    out: Path
    labels: Path | None = None
    name: str | None = Field(default=None, description="of the dataset; default: that of the folder")
    origin: Origin | None = Field(
        default=None, description="real where nobody says it, with a finding where a header says synthetic"
    )
    class_map: str | None = Field(default=None, description='names of label ids, such as "1=solid,2=other"')
    modality: str | None = Field(default=None, description="DICOM code such as CT; wins over what files say")
    spacing: Literal["known", "nominal"] | None = None
    licence: str | None = None
    terms: str | None = None
    require_labels: bool = False
    keep_ids: bool = Field(
        default=False, description="show file names as case ids; they may hold identifiers"
    )
    strict: bool = False
    frames: Literal["channels", "cases"] | Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="the fourth axis: channels, cases, or the number of one frame"
    )
    tilt: Literal["resample", "refuse"] = "resample"
    fraction_threshold: float = Field(default=0.5, gt=0, le=1, description="of a FRACTIONAL SEG")
    priority: tuple[str, ...] = Field(default=(), description="classes that win an overlap, strongest first")
    resample_labels: bool = False
    workers: int = Field(default=0, ge=0, description="processes that scan headers; 0 takes one a core")

    @field_validator("frames", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        """The command line hands over text."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @field_validator("priority", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """``"a,b"`` is two classes."""
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @property
    def choices(self) -> Choices:
        """How files are read where more than one way is right."""
        return Choices(self.frames, self.tilt, self.fraction_threshold, self.priority, self.resample_labels)

    @field_validator("modality", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        """DICOM writes modality codes in capitals."""
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"[A-Za-z]{2,4}", value):
            raise ValueError(f"{value!r} is no DICOM modality; expected a code such as CT or MR")
        return value.upper()


@final
class _Asked(Frozen):
    """What the run folder remembers of the options: settings, no paths."""

    name: str
    origin: Origin
    says_real: bool = Field(default=False, exclude_if=operator.not_, description="in so many words")
    class_map: str | None
    modality: str | None
    spacing: str | None
    licence: str | None
    terms: str | None
    require_labels: bool
    keep_ids: bool
    strict: bool
    choices: Choices


@final
class ClassTotal(Frozen):
    """One class over the whole dataset."""

    class_name: str
    cases: int
    patients: int
    lesions: int

    def line(self) -> str:
        """The class in words."""
        cases, patients = counted(self.cases, "case"), counted(self.patients, "patient")
        return f"  {self.class_name}: {counted(self.lesions, 'lesion')} in {cases} of {patients}"


@final
class IngestSummary(Summary):
    """What became of the sources."""

    dataset: Path
    name: str
    cases: int
    labelled: int
    patients: int
    classes: tuple[ClassTotal, ...]
    fixed: int
    flagged: int
    refused: tuple[Finding, ...]
    flagged_findings: tuple[Finding, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Counts, then every refusal with its reason."""
        patients = counted(self.patients, "patient")
        head = f"{counted(self.cases, 'case')} ({self.labelled} labelled) of {patients} in {self.dataset}"
        rows = tuple(c.line() for c in self.classes)
        refused = tuple(f"refused: {f.case_id + ': ' if f.case_id else ''}{f.message}" for f in self.refused)
        return (head, *rows, *refused, *self._odd())

    def _odd(self) -> tuple[str, ...]:
        """What was flagged, one line a kind, and where the rest stands."""
        kinds: dict[str, list[Finding]] = {}
        for finding in self.flagged_findings:
            kinds.setdefault(finding.code, []).append(finding)
        lines = []
        for same in kinds.values():
            first = same[0]
            more = f" (and {len(same) - 1} more like this)" if len(same) > 1 else ""
            lines.append(f"flagged: {first.case_id + ': ' if first.case_id else ''}{first.message}{more}")
        fixed = f"{counted(self.fixed, 'thing')} fixed, " if self.fixed else ""
        return (*lines, *([f"{fixed}all findings: {FINDINGS}"] if self.fixed or lines else []))


@final
@dataclass(frozen=True, slots=True)
class _Job:
    """Everything that is known before the first voxel is read."""

    plan: ReadingPlan
    strays: tuple[Stray, ...]
    notes: tuple[Finding, ...]
    name: str
    sources: Opened
    rejected: tuple[Rejection, ...]


def ingest(options: IngestOptions, progress: Progress) -> IngestSummary:
    """Make a dataset folder out of scans; the same call again is skipped, an interrupted one goes on.

    Raises:
        ConfigError: If an option is wrong, or the folder holds another run.
        DataError: If no case can be kept, or, with ``strict``, if any is refused.
        DependencyError: If no case can be kept, and each for want of a package that is not installed.
        StorageError: If the disk is too small, or a folder cannot be read or written.
    """
    if any(source.resolve() == options.out.resolve() for source in options.sources):
        raise ConfigError("a source is also --out", where="--out", expected="a new folder")
    require_run_folder(options.out)
    progress.start("finding files", None)
    with opened(options.sources, options.out, progress.advance) as sources:
        return _ingest(options, _prepare(options, sources, progress), progress)


def _ingest(options: IngestOptions, job: _Job, progress: Progress) -> IngestSummary:
    files = sorted(
        {path for found in job.plan.cases for path in found.source.files}
        | {p for s in job.strays for p in s.files}
    )
    digests = _digests(files, progress)
    inputs = {"sources": _hash_sources(digests, job)}
    asked = _asked(options, job.name)
    if finished(options.out, "ingest", asked, inputs):
        return _summary(options.out)
    require_free_space(options.out, int(1.5 * sum(path.stat().st_size for path in files if path.is_file())))
    with open_run(options.out, "ingest", asked, inputs) as run:
        read = read_cases(options.out, replace(job.plan, digests=digests), progress)
        settled = settle(read, job.plan.class_names, (*job.notes, *_stray_findings(job.strays)))
        _finish(options, job, read, settled, run)
        run.log("ingested", cases=len(settled.records), findings=len(settled.findings))
    return _summary(options.out)


def _prepare(options: IngestOptions, sources: Opened, progress: Progress) -> _Job:
    class_map = parse_class_map(options.class_map) if options.class_map else ClassMap()
    progress.start("looking at files", sources.count)
    found = discover(
        sources.sources,
        options.labels,
        progress.advance,
        how=How(options.keep_ids, options.choices, options.workers or os.cpu_count() or 1),
        opened=sources,
    )
    cases, made_up = with_class_names(found.cases, class_map)
    policy = Policy(
        options.origin,
        options.modality,
        options.spacing,
        options.licence,
        options.terms,
        options.require_labels,
        options.choices,
    )
    notes = (note_made_up_classes(),) if made_up else ()
    name = options.name or options.out.absolute().name or "dataset"
    plan = ReadingPlan(identify(cases), class_table(cases), policy)
    _require_classes(options.choices.priority, plan.class_names)
    return _Job(plan, found.strays, notes, name, sources, found.rejected)


def _require_classes(priority: Sequence[str], class_names: Sequence[str]) -> None:
    """Refuse a priority that would be without effect for a slip of the pen."""
    unknown = [name for name in priority if name not in class_names]
    if unknown:
        raise ConfigError(
            f"there is no class {unknown[0]}",
            where="--priority",
            expected=f"of {', '.join(class_names[:10]) or 'none'}",
        )


def _asked(options: IngestOptions, name: str) -> _Asked:
    return _Asked(
        name=name,
        origin=options.origin or Origin.REAL,
        says_real=options.origin is Origin.REAL,
        class_map=options.class_map,
        modality=options.modality,
        spacing=options.spacing,
        licence=options.licence,
        terms=options.terms,
        require_labels=options.require_labels,
        keep_ids=options.keep_ids,
        strict=options.strict,
        choices=options.choices,
    )


def _digests(files: Sequence[Path], progress: Progress) -> dict[Path, str]:
    """The hash of every file, which is read for it once."""
    progress.start("hashing files", len(files))
    found = {}
    for path in files:
        found[path] = sha256_if_readable(path)
        progress.advance()
    return found


def _hash_sources(digests: Mapping[Path, str], job: _Job) -> str:
    """One hash over the files and over what the tables say of them; it names neither."""
    # where a file lies does not matter; what it is to its case does
    order = {path: number for number, path in enumerate(digests)}
    told = [
        f"{f.case_id} {f.patient_id} {f.source.stated} {f.source.classes} {f.source.attributes} {f.source.problem} "
        f"{f.source.label.tables if f.source.label else ''} {f.source.channels} {f.source.recipe} "
        f"{[image.sha256 for image in f.source.images]} "
        f"{[order[path] for path in f.source.files]}{f.source.characteristics or ''}{f.source.said_synthetic}"
        for f in job.plan.cases
    ]
    left_out = [one.model_dump_json() for one in job.rejected]
    return sha256_text("\n".join([*digests.values(), *told, *left_out]))


def _stray_id(number: int) -> str:
    return f"source_{number:04d}"


def _stray_findings(strays: Iterable[Stray]) -> tuple[Finding, ...]:
    return tuple(
        Finding(code=s.code, severity=s.severity, case_id=None, message=f"{_stray_id(n)}: {s.message}")
        for n, s in enumerate(strays, start=1)
    )


def _finish(
    options: IngestOptions, job: _Job, read: Sequence[ReadCase], settled: Settled, run: RunDir
) -> None:
    """Take away what was refused late, then write what describes the set; the manifest comes last."""
    refused = [finding for finding in settled.findings if finding.severity == "refused"]
    fails = not settled.records or (options.strict and bool(refused))
    kept = {record.case_id: record for record in settled.records}
    for entry in read:
        if entry.record is not None and (fails or entry.case_id not in kept):
            for path in record_paths(entry.record):
                (options.out / path).unlink(missing_ok=True)
    _write_private(options.out, job, kept)
    if fails:
        FindingsFile(findings=settled.findings).write(options.out / FINDINGS)
        (options.out / RESUME).unlink(missing_ok=True)
        run.refuse()
        raise _refusal(refused, len(job.plan.cases), strict=bool(kept))
    manifest = Manifest(name=job.name, classes=job.plan.class_names, cases=settled.records)
    rows = _recipes(job, kept)
    translations = tuple(row for row in rows if isinstance(row, Translation))
    if translations:
        write_lines(options.out / TRANSLATIONS, translations)
    if job.rejected:
        RejectionsFile(rejections=job.rejected).write(options.out / REJECTED)
    recipes = tuple(row for row in rows if isinstance(row, Recipe))
    finish_dataset(options.out, manifest, settled.findings, recipes)
    (options.out / RESUME).unlink(missing_ok=True)


def _recipes(job: _Job, kept: Container[str]) -> tuple[Recipe | Translation, ...]:
    """How kept synthetic cases were made, as their source knows it."""
    recipes: dict[str, Recipe | Translation | None] = {}
    for found in job.plan.cases:
        # of cases with one id the first is kept
        recipes.setdefault(found.case_id, found.source.recipe)
    return tuple(recipe for case_id, recipe in recipes.items() if recipe is not None and case_id in kept)


def _refusal(refused: Sequence[Finding], total: int, *, strict: bool) -> DataError | DependencyError:
    first = refused[0] if refused else None
    if first is None:
        return DataError("the sources hold no image", where="SRC", expected="NIfTI or DICOM files")
    what = (
        f"{counted(len(refused), 'refusal')} under --strict"
        if strict
        else f"none of {counted(total, 'case')} can be kept"
    )
    name = f"{first.case_id}: " if first.case_id else ""
    # the data may be fine: what lacks is on this side
    lacking = not strict and all(finding.code == Code.DEPENDENCY_MISSING for finding in refused)
    kind = DependencyError if lacking else DataError
    return kind(f"{what}, the first: {name}{first.message}", hint=f"see {FINDINGS} in --out")


def _write_private(dataset: Path, job: _Job, kept: dict[str, CaseRecord]) -> None:
    seen: set[str] = set()
    cases = []
    for found in job.plan.cases:
        refused = found.case_id not in kept or found.case_id in seen
        cases.append(_private_case(found, job.sources, refused=refused))
        seen.add(found.case_id)
    others = tuple(
        PrivateSource(
            source_id=_stray_id(n), files=tuple(_text(job.sources.origin(path)) for path in stray.files)
        )
        for n, stray in enumerate(job.strays, start=1)
    )
    text = SourcesPrivate(cases=tuple(cases), others=others).model_dump_json(indent=1)
    write_text_atomic(dataset / SOURCES_PRIVATE, text + "\n", mode=0o600)


def _private_case(found: Identified, sources: Opened, *, refused: bool) -> PrivateCase:
    return PrivateCase(
        case_id=found.case_id,
        patient_id=found.patient_id,
        case_key=_text(found.source.case_key),
        patient_key=_text(found.source.patient_key),
        files=tuple(_text(sources.origin(path)) for path in found.source.files),
        attributes={attribute.name: attribute.value for attribute in found.source.attributes},
        refused=refused,
    )


def _text(name: str) -> str:
    """A name that may hold bytes of another encoding than UTF-8, as text that can be written."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _summary(dataset: Path) -> IngestSummary:
    manifest = read_manifest(dataset)
    findings = FindingsFile.read(dataset / FINDINGS).findings
    severities = Counter(finding.severity for finding in findings)
    return IngestSummary(
        dataset=dataset,
        name=manifest.name,
        cases=len(manifest.cases),
        labelled=sum(record.label is not None for record in manifest.cases),
        patients=len(manifest.patient_ids),
        classes=count_classes(manifest),
        fixed=severities["fixed"],
        flagged=severities["flagged"],
        refused=tuple(finding for finding in findings if finding.severity == "refused"),
        flagged_findings=tuple(finding for finding in findings if finding.severity == "flagged"),
    )


def count_classes(manifest: Manifest) -> tuple[ClassTotal, ...]:
    """Lesions, cases and patients of each class, in the order of the class table."""
    totals = []
    for name in manifest.classes:
        holders = [record for record in manifest.cases if name in record.classes]
        lesions = sum(
            lesion.count for record in holders for lesion in record.lesions if lesion.class_name == name
        )
        patients = len({record.patient_id for record in holders})
        totals.append(ClassTotal(class_name=name, cases=len(holders), patients=patients, lesions=lesions))
    return tuple(totals)
