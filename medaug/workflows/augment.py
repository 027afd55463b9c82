"""``medaug augment``: changed copies of every scan as a dataset folder, and a sheet that shows each step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

from pydantic import Field

from medaug.core.case import (
    AUGMENTATIONS,
    Case,
    CaseRecord,
    Manifest,
    Origin,
    marked_id,
    read_findings,
    read_manifest,
)
from medaug.core.config import Document, Frozen, read_yaml
from medaug.core.errors import ConfigError, DataError
from medaug.core.findings import Finding
from medaug.core.plan import AugmentedCopy, write_lines
from medaug.core.runs import Progress, RunDir, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.storage import clear_leftovers, require_free_space
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.engine.warp import Resampling
from medaug.ingest.checks import check_readable
from medaug.io.dataset import CaseFacts, finish_dataset, load_case, write_case
from medaug.report.augmentations import Preview, write_preview
from medaug.transforms import Dims, PolicyAugment, change_case, draw_case, read_record
from medaug.transforms.base import TransformConfig, parse_transforms

_WRITTEN = "written"


@final
class AugmentOptions(Frozen):
    """What ``medaug augment`` is asked."""

    dataset: Path
    config: Path | None = Field(
        default=None,
        description="YAML: kind and settings as an arm's transforms, and dims: 2 to change slices on their own; "
        "default: classical",
    )
    out: Path | None = Field(default=None, description="dataset folder to write; null writes the sheet alone")
    n: int = Field(default=4, ge=1, le=999, description="copies of each case")
    seed: int = 0
    preview: Path | None = Field(default=None, description="PNG that shows every step on one case")
    case: str | None = Field(default=None, description="of the preview; default: the first labelled one")


@final
class _Settings(Frozen):
    """What makes a set of copies this set."""

    transforms: dict[str, object]
    dims: Literal[2, 3] | None
    n: int
    seed: int


@final
class _Written(Document):
    """A copy that is written; kept until the manifest is, so that a run can resume."""

    record: CaseRecord
    drawn: AugmentedCopy


@final
class AugmentSummary(Summary):
    """What was written."""

    out: str | None
    kind: str
    cases: int = Field(description="scans that were copied")
    patients: int
    copies: int
    findings: tuple[Finding, ...] = ()
    preview: str | None = None
    steps: tuple[str, ...] = Field(default=(), description="on the sheet")

    def lines(self) -> tuple[str, ...]:
        """The set, what could not be read, and the sheet."""
        held = f"of {counted(self.cases, 'case')}, {counted(self.patients, 'patient')}, by {self.kind}"
        made = "changed copy" if self.copies == 1 else "changed copies"
        told = [f"{self.copies} {made} {held}, in {self.out}"] if self.out else []
        told += [f"{one.severity}: {one.case_id}: {one.message}" for one in self.findings[:10]]
        if self.preview:
            told.append(f"{counted(len(self.steps), 'step')} on {self.preview}")
        return tuple(told)


def augment(options: AugmentOptions, progress: Progress) -> AugmentSummary:
    """Write changed copies of every scan of a dataset, a sheet of the steps, or both.

    Copies keep their patient and are marked as augmented: never split, never scored.

    Raises:
        ConfigError: If nothing is asked for, a setting is wrong or mixes patients, or ``out`` holds something else.
        DataError: If the dataset is none, holds cases that are no scans, or none can be read.
        StorageError: If the disk cannot hold the copies.
    """
    if options.out is None and options.preview is None:
        raise ConfigError("nothing to write", where="--out", expected="a new folder, or --preview sheet.png")
    if options.case is not None and options.preview is None:
        raise ConfigError("is for --preview alone", where="--case", hint="add --preview sheet.png")
    job = _open(options)
    steps = _draw_sheet(job, options.preview, progress) if options.preview is not None else ()
    findings = _write_set(job, options.out, progress) if options.out is not None else ()
    return _summary(job, steps, findings)


@final
@dataclass(frozen=True, slots=True)
class _Job:
    """A call with everything it reads."""

    options: AugmentOptions
    manifest: Manifest
    transforms: TransformConfig
    dims: Dims | None

    @property
    def settings(self) -> _Settings:
        chosen = self.transforms.model_dump(mode="json")
        return _Settings(transforms=chosen, dims=self.dims, n=self.options.n, seed=self.options.seed)

    @property
    def inputs(self) -> dict[str, str]:
        return {"dataset": self.manifest.content_sha256}

    def policy(self, record: CaseRecord) -> PolicyAugment:
        """The augmentation of a case.

        Raises:
            ConfigError: If it changes batches instead of cases, changes their size, or nothing at all.
        """
        kind = self.transforms.kind
        built = self.transforms.build(record.unit, record.modality)
        if not isinstance(built, PolicyAugment):
            hint = "name it in the `transforms` of `medaug train` or of an arm, where partners are training patients"
            raise ConfigError(
                f"{kind} mixes patients: a copy would belong to two", where="--config", hint=hint
            )
        if not built.keeps_size:
            raise ConfigError(
                "copies keep the grid of their scan", where="--config: size", hint="leave it out"
            )
        if not built.kinds:
            raise ConfigError(f"{kind} changes nothing", where="--config", expected="at least one step")
        return built

    def dims_of(self, record: CaseRecord) -> Dims:
        """How a case is changed: as asked, else a picture in 2D and a volume in 3D."""
        return self.dims or (2 if record.shape[2] == 1 else 3)


def _open(options: AugmentOptions) -> _Job:
    """Read the manifest and the settings; everything that can be refused before a voxel is read is refused here."""
    transforms, dims = _read_config(options.config)
    manifest = read_manifest(options.dataset)
    if not manifest.cases:
        raise DataError(f"{manifest.name} holds no case")
    for record in manifest.cases:
        if record.origin is not Origin.REAL:
            hint = "name the dataset it was made from"
            raise DataError(
                f"case is {record.origin}", where=record.case_id, expected="scans only", hint=hint
            )
    job = _Job(options, manifest, transforms, dims)
    for record in {(one.unit, one.modality): one for one in manifest.cases}.values():
        job.policy(record)
    return job


def _read_config(path: Path | None) -> tuple[TransformConfig, Dims | None]:
    """The settings and, where they say so, whether slices are changed on their own.

    Raises:
        ConfigError: If a key is missing, unknown or out of range.
    """
    raw = {"kind": "classical"} if path is None else read_yaml(path)
    dims = raw.pop("dims", None)
    if dims not in (None, 2, 3):
        raise ConfigError(f"dims: {dims}", where="--config", expected="2 (slices) or 3 (volumes)")
    return parse_transforms(raw), dims


# The set of copies


def _write_set(job: _Job, out: Path, progress: Progress) -> tuple[Finding, ...]:
    if finished(out, "augment", job.settings, job.inputs):
        return read_findings(out)
    require_free_space(out, job.options.n * sum(record.expected_bytes for record in job.manifest.cases))
    with open_run(out, "augment", job.settings, job.inputs) as run:
        findings = _write_copies(job, run, progress)
    shutil.rmtree(out / _WRITTEN, ignore_errors=True)
    return findings


def _write_copies(job: _Job, run: RunDir, progress: Progress) -> tuple[Finding, ...]:
    """Write what is not written yet, one case in memory at a time, then the manifest."""
    notes = run.path / _WRITTEN
    progress.start("augmentation", job.options.n * len(job.manifest.cases))
    findings: list[Finding] = []
    for record in job.manifest.cases:
        try:
            for copy in _copies(job, record, run.path):
                copy.write(notes / f"{copy.record.case_id}.json")
                progress.advance()
        except DataError as error:
            findings.append(check_readable(error, record.case_id))
            progress.advance(job.options.n)
    written = [
        _Written.read(path)
        for record in job.manifest.cases
        for number in range(1, job.options.n + 1)
        if (path := notes / f"{copy_id(record.case_id, number)}.json").is_file()
    ]
    if not written:
        raise DataError(f"no case can be read, the first: {findings[0].case_id}: {findings[0].message}")
    records = tuple(one.record for one in written)
    made = Manifest(name=f"{job.manifest.name}_augmented", classes=job.manifest.classes, cases=records)
    write_lines(run.path / AUGMENTATIONS, tuple(one.drawn for one in written))
    finish_dataset(run.path, made, findings)
    run.log("augmentation", copies=len(written), refused=len(findings))
    return tuple(findings)


def _copies(job: _Job, record: CaseRecord, out: Path) -> Iterator[_Written]:
    """The copies of a case that are not written yet; those that are count as progress all the same."""
    case: Case | None = None
    for number in range(1, job.options.n + 1):
        case_id = copy_id(record.case_id, number)
        note = out / _WRITTEN / f"{case_id}.json"
        if note.is_file():
            yield _Written.read(note)
            continue
        case = case or load_case(job.options.dataset, record, job.manifest.classes)
        yield _write_copy(job, case, record, number, out)


def _write_copy(job: _Job, case: Case, record: CaseRecord, number: int, out: Path) -> _Written:
    policy, dims, case_id = job.policy(record), job.dims_of(record), copy_id(record.case_id, number)
    seed = SeedTree(job.options.seed).child("augment", record.case_id, number)
    steps = draw_case(policy, case, dims, seed)
    changed = change_case(case, steps, policy.how, dims)
    facts = CaseFacts(
        modality=record.modality,
        split=record.split,
        lesion_free=record.lesion_free,
        licence=record.licence,
        terms=record.terms,
        source_sha256=record.source_sha256,
    )
    stored = write_case(out, replace(changed, case_id=case_id, origin=Origin.AUGMENTED), facts)
    drawn = AugmentedCopy(
        case_id=case_id,
        source_case_id=record.case_id,
        source_sha256=tuple(file.sha256 for file in record.files),
        dims=dims,
        image=policy.how.image,
        labels=policy.how.labels,
        padding=policy.how.padding,
        steps=tuple(tuple(step.model_dump(mode="json") for step in one) for one in steps),
    )
    return _Written(record=stored, drawn=drawn)


def copy_id(case_id: str, number: int) -> str:
    """The id of a copy; a long id of a case is cut, with a hash so that it stays its own."""
    return marked_id(case_id, f"_aug_{number:02d}")


def replay(dataset: Path, manifest: Manifest, drawn: AugmentedCopy) -> Case:
    """Make a copy again from its line in ``augmentations.jsonl``, bit for bit.

    Args:
        dataset: The dataset that was augmented.
        manifest: Its manifest.
        drawn: The line.

    Raises:
        DataError: If the case is gone, is another one by now, or cannot be read.
        ConfigError: If a step is unknown.
    """
    record = manifest.case(drawn.source_case_id)
    if tuple(file.sha256 for file in record.files) != drawn.source_sha256:
        raise DataError("files are not those that were augmented", where=record.case_id)
    case = load_case(dataset, record, manifest.classes)
    how = Resampling(drawn.image, drawn.labels, drawn.padding)
    changed = change_case(case, [read_record(steps) for steps in drawn.steps], how, drawn.dims)
    return replace(changed, case_id=drawn.case_id, origin=Origin.AUGMENTED)


# The sheet


def _draw_sheet(job: _Job, path: Path, progress: Progress) -> tuple[str, ...]:
    """Draw every step of the policy on one case; returns their names."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path} is no PNG", where="--preview", expected="a name that ends with .png")
    record = _shown(job)
    policy, dims = job.policy(record), job.dims_of(record)
    case = load_case(job.options.dataset, record, job.manifest.classes)
    preview = Preview(case, dims, SeedTree(job.options.seed).child("preview"))
    rows = []
    progress.start("preview", len(policy.kinds))
    for kind in policy.kinds:
        rows.append(preview.row(kind, policy.how))
        progress.advance()
    where = f"slice {preview.slice + 1} of {record.shape[2]}, {preview.window}"
    title = (
        f"{record.case_id}: the steps of {job.transforms.kind} in {dims}D, {where}; columns: magnitude 0.3, 0.6 and 1, "
        "the same draw"
    )
    clear_leftovers(path)
    write_preview(path, rows, title)
    return tuple(row.name for row in rows)


def _shown(job: _Job) -> CaseRecord:
    """The case that is named, else the first one with a lesion, else the first."""
    if job.options.case is not None:
        return job.manifest.case(job.options.case)
    return next((record for record in job.manifest.cases if record.lesions), job.manifest.cases[0])


def _summary(job: _Job, steps: tuple[str, ...], findings: tuple[Finding, ...]) -> AugmentSummary:
    options, lost = job.options, {one.case_id for one in findings}
    kept = [record for record in job.manifest.cases if record.case_id not in lost] if options.out else []
    return AugmentSummary(
        out=None if options.out is None else str(options.out),
        kind=job.transforms.kind,
        cases=len(kept),
        patients=len({record.patient_id for record in kept}),
        copies=options.n * len(kept),
        findings=findings,
        preview=None if options.preview is None else str(options.preview),
        steps=steps,
    )
