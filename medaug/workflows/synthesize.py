"""``medaug synthesize``: lesions of chosen classes in the fold's training patients, as a dataset folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.case import FINDINGS, RECIPES, CaseRecord, FindingsFile, Manifest, Origin, read_manifest
from medaug.core.config import Document, Frozen
from medaug.core.errors import ConfigError, DataError, UnreadableError
from medaug.core.lesion import Generator
from medaug.core.plan import PlannedLesion, Recipe, read_lines, write_lines
from medaug.core.results import Finding, Summary
from medaug.core.runs import Progress, RunDir, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, guard_training, read_splits
from medaug.core.storage import require_free_space
from medaug.core.wording import counted
from medaug.generators.base import load_generator
from medaug.io.dataset import CaseFacts, edit_mask_path, finish_dataset, load_case, write_case
from medaug.lesions.bank import Bank
from medaug.synthesis.balance import deal_hosts, make_plan, parse_counts, usable_hosts
from medaug.synthesis.render import HostView, Order, Prepared, Rendered, Renderer

PLAN = "plan.jsonl"
_WRITTEN = "written"
_OTHER_HOSTS = 8  # hosts tried when the planned one has no room
_BATCH_LESIONS = 16
_BATCH_BYTES = 256 << 20


@final
class SynthesizeOptions(Frozen):
    """What ``medaug synthesize`` is asked."""

    dataset: Path
    bank: Path
    generator: str = Field(description="run folder of `medaug fit`, or a kind that needs no training")
    per_class: tuple[str, ...] = Field(description="CLASS=COUNT each")
    out: Path
    fold: int = Field(default=0, ge=0)
    seed: int = 0
    diameter_mm: tuple[float, float] | None = Field(
        default=None, description="allowed range; null = as in the bank"
    )
    dry_run: bool = Field(
        default=False, description="write plan.jsonl and stop; the same call without it goes on"
    )
    strict: bool = Field(default=False, description="a lesion that finds no place is an error")


@final
class ClassMade(Frozen):
    """Lesions of one class: wanted and made."""

    class_name: str
    wanted: int
    made: int


@final
class SynthesizeSummary(Summary):
    """What was drawn, or, in a dry run, planned."""

    out: str
    generator: str
    planned_only: bool
    classes: tuple[ClassMade, ...]
    hosts: int
    patients: int
    findings: tuple[Finding, ...]

    def lines(self) -> tuple[str, ...]:
        """One line a class, then what was refused or changed."""
        if self.planned_only:
            head = f"planned only, see {PLAN} in {self.out}; the same call without --dry-run draws it"
            rows = [f"{c.class_name}: {c.wanted} lesions planned" for c in self.classes]
        else:
            made = counted(sum(c.made for c in self.classes), "lesion")
            head = f"{made} by {self.generator}, in {self.out}"
            rows = [f"{c.class_name}: {c.made} of {c.wanted} lesions" for c in self.classes]
        where = f"{counted(self.hosts, 'host')} of {counted(self.patients, 'patient')}"
        odd = [
            f"{f.severity}: {f.case_id or 'set'}: {f.message}" for f in self.findings if f.severity != "fixed"
        ]
        return (head, *rows, where, *odd[:10], *([f"and {len(odd) - 10} more"] if len(odd) > 10 else []))


@final
class _Settings(Frozen):
    """What makes a synthetic set this set."""

    per_class: tuple[str, ...]
    fold: int
    seed: int
    diameter_mm: tuple[float, float] | None


@final
class _Written(Document):
    """What became of one planned lesion; kept until the manifest is written, so that a run can resume."""

    record: CaseRecord | None
    recipe: Recipe | None
    findings: tuple[Finding, ...]


def synthesize(options: SynthesizeOptions, progress: Progress) -> SynthesizeSummary:
    """Draw lesions into training patients of a fold and write them as a synthetic dataset folder.

    Raises:
        ConfigError: If a class, the fold or the generator is unknown, or ``out`` holds something else.
        DataError: If the bank has no lesion of a class, or no lesion found a place.
        SplitLeakageError: If the bank or the generator saw a patient outside the fold's training part.
        StorageError: If the disk cannot hold the set.
    """
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    bank = Bank.open(options.bank)
    _check_bank(bank, manifest, fold)
    generator = load_generator(options.generator, fold)
    job = _Job(options, manifest, fold, Renderer(bank, generator))
    if finished(options.out, "synthesize", job.settings, job.inputs):
        return _summary(job, read_lines(options.out / PLAN, PlannedLesion), _findings(options.out))
    planned = job.plan()
    if not options.dry_run:
        require_free_space(options.out, _needed_bytes(planned, manifest))
    with open_run(options.out, "synthesize", job.settings, job.inputs, complete=not options.dry_run) as run:
        if not (options.out / PLAN).is_file():
            write_lines(options.out / PLAN, planned)
        findings = () if options.dry_run else _draw_all(job, planned, run, progress)
    if not options.dry_run:
        shutil.rmtree(options.out / _WRITTEN, ignore_errors=True)
    return _summary(job, planned, findings)


def _check_bank(bank: Bank, manifest: Manifest, fold: Fold) -> None:
    bank.fold_check(fold)
    if bank.index.dataset_sha256 != manifest.content_sha256:
        raise DataError("the bank belongs to another state of the dataset", hint="make the bank again")


@final
@dataclass(frozen=True, slots=True)
class _Job:
    """A call with everything it reads."""

    options: SynthesizeOptions
    manifest: Manifest
    fold: Fold
    renderer: Renderer

    @property
    def settings(self) -> _Settings:
        o = self.options
        return _Settings(per_class=o.per_class, fold=o.fold, seed=o.seed, diameter_mm=o.diameter_mm)

    @property
    def inputs(self) -> dict[str, str]:
        return {
            "dataset": self.manifest.content_sha256,
            "training_scope": self.fold.scope_sha256,
            "bank": self.renderer.bank.sha256,
            "generator": self.renderer.generator.sha256,
        }

    @property
    def generator(self) -> Generator:
        return self.renderer.generator

    def hosts(self) -> tuple[CaseRecord, ...]:
        """Training patients' cases that may take a lesion."""
        return usable_hosts(self.manifest.of_patients(frozenset(self.fold.train)))

    def plan(self) -> tuple[PlannedLesion, ...]:
        """The plan that lies in the folder, maybe edited by a person; else a new one."""
        counts = parse_counts(self.options.per_class, self.manifest.classes)
        for wanted in counts:
            self.renderer.require_class(wanted.class_name)
        path = self.options.out / PLAN
        if not path.is_file():
            seed = SeedTree(self.options.seed).child("synthesize")
            return make_plan(counts, self.hosts(), seed, self._diameter())
        planned = read_lines(path, PlannedLesion)
        guard_training((self.manifest.case(p.host_case_id) for p in planned), self.fold)
        for lesion in planned:
            self.renderer.require_class(lesion.class_name)
        return planned

    def _diameter(self) -> tuple[float, float] | None:
        wanted = self.options.diameter_mm
        if wanted is not None and not 0.0 < wanted[0] <= wanted[1]:
            raise ConfigError(
                f"is {wanted[0]:g}:{wanted[1]:g}", where="--diameter-mm", expected="LOW:HIGH, both above 0"
            )
        return wanted


def _needed_bytes(planned: Sequence[PlannedLesion], manifest: Manifest) -> int:
    """Hosts at two compressed bytes a voxel and channel, their labels and edit masks."""
    sizes = {
        r.case_id: (2 * len(r.channels) + 1) * r.shape[0] * r.shape[1] * r.shape[2] for r in manifest.cases
    }
    return sum(sizes[lesion.host_case_id] for lesion in planned)


def _draw_all(
    job: _Job, planned: Sequence[PlannedLesion], run: RunDir, progress: Progress
) -> tuple[Finding, ...]:
    """Draw what is not drawn yet, then write the manifest."""
    notes = run.path / _WRITTEN
    left = [lesion for lesion in planned if not (notes / f"{lesion.case_id}.json").is_file()]
    progress.start("synthesis", len(planned))
    progress.advance(len(planned) - len(left))
    for batch in _batches(_Draw(job, run.path), left):
        for lesion, outcome in batch:
            outcome.write(notes / f"{lesion.case_id}.json")
            progress.advance(1)
    written = [_Written.read(notes / f"{lesion.case_id}.json") for lesion in planned]
    found = (*_few_donors(job, planned), *(f for w in written for f in w.findings))
    findings = tuple(dict.fromkeys(found))  # a damaged host is met by several lesions
    refused = [f for f in findings if f.severity == "refused"]
    records = tuple(w.record for w in written if w.record is not None)
    if not records or (job.options.strict and refused):
        raise _refusal(refused, len(planned) - len(records), len(planned))
    made = Manifest(name=f"{job.manifest.name}_synthetic", classes=job.manifest.classes, cases=records)
    finish_dataset(run.path, made, findings, tuple(w.recipe for w in written if w.recipe is not None))
    run.log("synthesis", lesions=len(records), refused=len(refused))
    return findings


def _refusal(refused: Sequence[Finding], lost: int, planned: int) -> DataError:
    """Why there is no set: lesions without a place, or, under --strict, a damaged host."""
    first = f"first: {refused[0].case_id}: {refused[0].message}"
    if not lost:
        return DataError(f"{counted(len(refused), 'refusal')} under --strict, {first}")
    hint = "ask for smaller lesions, or add hosts that show the organ"
    return DataError(f"{lost} of {counted(planned, 'lesion')} found no place, {first}", hint=hint)


def _few_donors(job: _Job, planned: Sequence[PlannedLesion]) -> tuple[Finding, ...]:
    names = sorted({lesion.class_name for lesion in planned})
    return tuple(
        Finding(
            code="one-donor",
            severity="flagged",
            case_id=None,
            message=f"class {name} has one lesion in the bank: all its copies look alike",
        )
        for name in names
        if len(job.renderer.bank.entries(name)) == 1
    )


def _batches(draw: _Draw, planned: Sequence[PlannedLesion]) -> Iterator[list[tuple[PlannedLesion, _Written]]]:
    """Prepare lesions until a batch is full by number or memory, draw it in one generator call, write it."""
    ready: list[_Ready] = []
    for lesion in sorted(planned, key=lambda p: (p.host_case_id, p.case_id)):
        found = draw.prepare(lesion)
        if isinstance(found, _Written):
            yield [(lesion, found)]
            continue
        ready.append(found)
        size = sum(r.prepared.host.volume.image.nbytes for r in ready)
        if len(ready) >= _BATCH_LESIONS or size >= _BATCH_BYTES:
            yield draw.complete(ready)
            ready = []
    if ready:
        yield draw.complete(ready)


@final
@dataclass(frozen=True, slots=True)
class _Ready:
    """A planned lesion with its place in a host."""

    planned: PlannedLesion
    host: CaseRecord
    prepared: Prepared
    findings: tuple[Finding, ...]


@final
class _Draw:
    """Places lesions in hosts read from disk, the last host kept, and writes what was drawn."""

    def __init__(self, job: _Job, out: Path) -> None:
        self._job, self._out = job, out
        self._hosts = job.hosts()
        self._view: HostView | None = None

    def prepare(self, planned: PlannedLesion) -> _Ready | _Written:
        """Place a lesion in the planned host, or in another of the fold where that one has no room."""
        first = self._job.manifest.case(planned.host_case_id)
        reason = ""
        refused: list[Finding] = []
        for host in chain((first,), self._others(planned)):
            rng = SeedTree(planned.seed).child("place", host.case_id).rng()
            order = Order(planned.class_name, planned.diameter_mm)
            try:
                view = self._host(host)
            except DataError as error:
                refused.append(_unreadable(host, error))
                reason = reason or "it cannot be read"
                continue
            try:
                prepared = self._job.renderer.prepare(view, order, rng)
            except UnreadableError:  # of the bank: no other host helps
                raise
            except DataError as error:
                reason = reason or error.what
                continue
            moved = () if host is first else (_moved(planned, reason),)
            return _Ready(planned, host, prepared, (*refused, *moved))
        message = f"no place for a {planned.class_name} lesion in {_OTHER_HOSTS + 1} hosts: {reason}"
        finding = Finding(code="no-place", severity="refused", case_id=planned.case_id, message=message)
        return _Written(record=None, recipe=None, findings=(*refused, finding))

    def _others(self, planned: PlannedLesion) -> Iterator[CaseRecord]:
        """Hosts for a lesion whose planned host has no room; dealt only when asked for."""
        yield from deal_hosts(self._hosts, _OTHER_HOSTS, SeedTree(planned.seed).child("other hosts"))

    def complete(self, ready: Sequence[_Ready]) -> list[tuple[PlannedLesion, _Written]]:
        """Draw and write a batch."""
        rngs = [SeedTree(r.planned.seed).child("draw").rng() for r in ready]
        drawn = self._job.renderer.complete([r.prepared for r in ready], rngs)
        return [(r.planned, self._write(r, result)) for r, result in zip(ready, drawn, strict=True)]

    def _host(self, host: CaseRecord) -> HostView:
        """A host read from disk; the last one is kept, since lesions are drawn host by host."""
        if self._view is None or self._view.case.case_id != host.case_id:
            case = load_case(self._job.options.dataset, host, self._job.manifest.classes)
            self._view = self._job.renderer.view(case)
        return self._view

    def _write(self, ready: _Ready, rendered: Rendered) -> _Written:
        planned, host = ready.planned, ready.host
        case = replace(rendered.case, case_id=planned.case_id, origin=Origin.SYNTHETIC)
        codes = tuple(finding.code for finding in ready.findings)
        facts = CaseFacts(
            modality=host.modality,
            licence=host.licence,
            terms=host.terms,
            source_sha256=host.source_sha256,
            findings=codes,
        )
        record = write_case(self._out, case, facts, rendered.edit_mask)
        job = self._job
        recipe = Recipe(
            case_id=planned.case_id,
            host_case_id=host.case_id,
            host_patient_id=host.patient_id,
            donor_patient_ids=rendered.donor_patient_ids,
            generator=job.generator.kind,
            generator_sha256=job.generator.sha256,
            bank_sha256=job.renderer.bank.sha256,
            fold=job.fold.index,
            training_scope_sha256=job.fold.scope_sha256,
            class_name=rendered.class_name,
            site_mm=rendered.site_mm,
            diameter_mm=rendered.diameter_mm,
            seed=planned.seed,
            edit_mask=edit_mask_path(planned.case_id),
        )
        return _Written(record=record, recipe=recipe, findings=ready.findings)


def _unreadable(host: CaseRecord, error: DataError) -> Finding:
    """A host of the dataset is damaged; the lesion goes to another one."""
    bare = DataError(error.what, expected=error.expected, hint=error.hint)
    return Finding(
        code="host-unreadable",
        severity="refused",
        case_id=host.case_id,
        message=f"host left out: {bare.line()}",
    )


def _moved(planned: PlannedLesion, reason: str) -> Finding:
    return Finding(
        code="host-changed",
        severity="fixed",
        case_id=planned.case_id,
        message=f"planned host had no place ({reason}); another training case was used, see recipes.jsonl",
    )


def _findings(out: Path) -> tuple[Finding, ...]:
    return FindingsFile.read(out / FINDINGS).findings


def _summary(job: _Job, planned: Sequence[PlannedLesion], findings: Sequence[Finding]) -> SynthesizeSummary:
    out = job.options.out
    recipes = read_lines(out / RECIPES, Recipe) if (out / RECIPES).is_file() else ()
    places = recipes or planned
    hosts = {p.host_case_id for p in places}
    names = sorted({p.class_name for p in planned}, key=job.manifest.classes.index)
    return SynthesizeSummary(
        out=str(out),
        generator=job.generator.kind,
        planned_only=not recipes,
        classes=tuple(
            ClassMade(
                class_name=name,
                wanted=sum(p.class_name == name for p in planned),
                made=sum(r.class_name == name for r in recipes),
            )
            for name in names
        ),
        hosts=len(hosts),
        patients=len({job.manifest.case(case_id).patient_id for case_id in hosts}),
        findings=tuple(findings),
    )
