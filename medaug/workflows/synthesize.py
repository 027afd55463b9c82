"""``medaug synthesize``: lesions of chosen classes in the fold's training patients, as a dataset folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.case import RECIPES, CaseRecord, Manifest, read_findings, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.findings import Code, Finding, finding
from medaug.core.lesion import Blending
from medaug.core.plan import PLAN, PlannedLesion, Recipe, read_lines, write_lines
from medaug.core.runs import Progress, RunDir, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, read_splits
from medaug.core.storage import require_free_space, sha256_text
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.generators.base import load_generator
from medaug.io.dataset import finish_dataset
from medaug.lesions.bank import Bank
from medaug.lesions.place import AUTO
from medaug.lesions.shape_source import ShapeKind
from medaug.synthesis.balance import Balance, ClassCount, balanced_counts, parse_counts
from medaug.synthesis.order import Finish
from medaug.synthesis.plan_file import read_plan
from medaug.synthesis.planning import Wishes, make_plan, usable_hosts
from medaug.synthesis.production import NOTES, HostPool, drop_leftovers, produce, read_note
from medaug.synthesis.render import Renderer
from medaug.synthesis.sizes import Range, SizeLimits, learnt_sizes
from medaug.synthesis.suited import suited_hosts
from medaug.synthesis.sweep import parse_sweep

_CASE_BYTES = 8 << 10  # edit mask, lines of manifest and recipe


@final
class SynthesizeOptions(Frozen):
    """What ``medaug synthesize`` is asked."""

    dataset: Path
    bank: Path
    generator: str = Field(description="run folder of `medaug fit`, or a kind that needs no training")
    out: Path
    per_class: tuple[str, ...] = Field(default=(), description="CLASS=COUNT each")
    balance: Balance | None = Field(default=None, description="fill up the rarer classes")
    total: int | None = Field(default=None, ge=1, description="lesions that `balance` may draw")
    plan: Path | None = Field(default=None, description="plan.jsonl to draw, instead of making one")
    fold: int = Field(default=0, ge=0)
    seed: int = 0
    diameter_mm: tuple[float, float] | None = Field(
        default=None, description="allowed range; null = as in the bank"
    )
    swap_share: float = Field(
        default=0.0, ge=0, le=1, description="share of lesions drawn over one of another class"
    )
    null_share: float = Field(default=0.0, ge=0, le=0.9, description="share of cases that are null pastes")
    sweep: str | None = Field(default=None, description="PROPERTY=VALUE,VALUE: each lesion with each value")
    blending: Blending = "feather"
    match_noise: bool = False
    shapes: ShapeKind = Field(default="bank", description="where outlines come from")
    tissue: str = Field(
        default=AUTO,
        description="auto, body, lung, brain, or a class that marks an organ: lesions keep to it",
    )
    dry_run: bool = Field(
        default=False, description="write plan.jsonl and stop; the same call without it goes on"
    )
    strict: bool = Field(
        default=False, description="a lesion without a place, or of a size that was not learnt, is an error"
    )


@final
class ClassMade(Frozen):
    """Lesions of one class: wanted and made."""

    class_name: str
    wanted: int
    made: int
    nulls: int = Field(default=0, description="null pastes beside them")
    sizes_mm: tuple[float, float] | None = Field(
        default=None, description="diameters: made, or in a dry run to be expected"
    )


@final
class SynthesizeSummary(Summary):
    """What was drawn, or, in a dry run, planned."""

    out: str
    generator: str
    planned_only: bool
    classes: tuple[ClassMade, ...]
    hosts: int
    patients: int
    disk_bytes: int = Field(description="of the set, estimated from the hosts' files")
    findings: tuple[Finding, ...]

    def lines(self) -> tuple[str, ...]:
        """One line a class, then what was refused or changed."""
        if self.planned_only:
            head = f"planned only, see {PLAN} in {self.out}; the same call without --dry-run draws it"
        else:
            made = counted(sum(c.made for c in self.classes), "lesion")
            head = f"{made} by {self.generator}, in {self.out}"
        where = f"{counted(self.hosts, 'host')} of {counted(self.patients, 'patient')}"
        size = f", about {self.disk_bytes / 1e6:.0f} MB on disk" if self.planned_only else ""
        odd = [
            f"{f.severity}: {f.case_id or 'set'}: {f.message}" for f in self.findings if f.severity != "fixed"
        ]
        rest = [f"and {len(odd) - 10} more"] if len(odd) > 10 else []
        return (head, *map(self._of_class, self.classes), where + size, *odd[:10], *rest)

    def _of_class(self, made: ClassMade) -> str:
        said = f"{made.class_name}: "
        said += (
            f"{counted(made.wanted, 'lesion')} planned"
            if self.planned_only
            else f"{made.made} of {made.wanted} lesions"
        )
        said += "" if made.sizes_mm is None else ", {:.1f} to {:.1f} mm".format(*made.sizes_mm)
        return said + (f", and {counted(made.nulls, 'null paste')}" if made.nulls else "")


@final
class _Settings(Frozen):
    """What makes a synthetic set this set."""

    per_class: tuple[str, ...]
    balance: str | None
    total: int | None
    fold: int
    seed: int
    diameter_mm: tuple[float, float] | None
    swap_share: float
    null_share: float
    sweep: str | None
    blending: Blending
    match_noise: bool
    shapes: ShapeKind
    tissue: str


def synthesize(options: SynthesizeOptions, progress: Progress) -> SynthesizeSummary:
    """Draw lesions into training patients of a fold and write them as a synthetic dataset folder.

    Raises:
        ConfigError: If an option, a class, the fold or the generator is wrong, or ``out`` holds something else.
        DataError: If the bank has no lesion of a class, a line of the plan is broken, or no lesion found a place.
        SplitLeakageError: If the bank, the generator or the plan goes outside the fold's training part.
        StorageError: If the disk cannot hold the set.
    """
    _check(options)
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    bank = Bank.open(options.bank)
    _check_bank(bank, manifest, fold)
    generator = load_generator(options.generator, fold)
    finish = Finish(options.blending, options.match_noise, options.shapes, options.tissue)
    job = _Job(options, manifest, fold, Renderer(bank, generator, finish=finish))
    if finished(options.out, "synthesize", job.settings, job.inputs()):
        return _summary(job, read_lines(options.out / PLAN, PlannedLesion), read_findings(options.out))
    planned, remarks = job.plan()
    needed = _disk_bytes(planned, job)
    if not options.dry_run:
        require_free_space(options.out, needed)
    with open_run(options.out, "synthesize", job.settings, job.inputs(), complete=not options.dry_run) as run:
        if options.plan is not None or not (options.out / PLAN).is_file():
            write_lines(options.out / PLAN, planned)
        findings = remarks if options.dry_run else _draw_all(job, planned, remarks, run, progress)
    if not options.dry_run:
        shutil.rmtree(options.out / NOTES, ignore_errors=True)
    return _summary(job, planned, findings)


def _check(options: SynthesizeOptions) -> None:
    """Options that do not go together."""
    ways = {"--per-class": options.per_class, "--balance": options.balance, "--plan": options.plan}
    given = [name for name, value in ways.items() if value]
    if len(given) != 1:
        raise ConfigError(
            f"{' and '.join(given)} are given" if given else "it is not said what to draw",
            expected=f"one of {', '.join(ways)}",
        )
    if options.total is not None and options.balance is None:
        raise ConfigError("goes with --balance alone", where="--total", hint="leave it out")
    if options.sweep is not None and options.balance is not None:
        raise ConfigError("goes with --per-class alone", where="--sweep", hint="leave out --balance")
    said = {
        "--diameter-mm": options.diameter_mm,
        "--swap-share": options.swap_share,
        "--null-share": options.null_share,
        "--sweep": options.sweep,
    }
    for name, value in said.items():
        if options.plan is not None and value:
            raise ConfigError(
                "the plan says it, line by line", where=name, hint="leave it out, or edit the plan"
            )


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
        return _Settings.model_validate(self.options.model_dump(include=set(_Settings.model_fields)))

    def inputs(self) -> dict[str, str]:
        inputs = {
            "dataset": self.manifest.content_sha256,
            "training_scope": self.fold.scope_sha256,
            "bank": self.renderer.bank.sha256,
            "generator": self.renderer.generator.sha256,
        }
        if self.options.plan is None:
            return inputs
        lines = read_lines(self.options.plan, PlannedLesion)
        return inputs | {"plan": sha256_text("\n".join(line.model_dump_json() for line in lines))}

    def host_pool(self) -> HostPool:
        """What lesions are drawn on: training patients' cases that may take one."""
        return HostPool(self.options.dataset, self.manifest, self.fold, self._suited()[0])

    def _suited(self) -> tuple[tuple[CaseRecord, ...], tuple[Finding, ...]]:
        """Hosts that are like what the generator has learnt from, and what is odd about the others."""
        hosts = usable_hosts(self.manifest.of_patients(frozenset(self.fold.train)))
        return suited_hosts(self.options.generator, self.manifest.classes, hosts)

    def plan(self) -> tuple[tuple[PlannedLesion, ...], tuple[Finding, ...]]:
        """The plan that is given, or lies in the folder, maybe edited by a person; else a new one. And what is odd in it."""
        limits = SizeLimits(learnt_sizes(self.renderer.bank), strict=self.options.strict)
        here = self.options.plan or self.options.out / PLAN
        if self.options.plan is not None or here.is_file():
            planned = limits.within(read_plan(here, self.manifest, self.fold, self.renderer.donors))
        else:
            wishes = self._wishes()
            seed = SeedTree(self.options.seed).child("synthesize")
            planned = make_plan(self._counts(), self.host_pool().hosts, seed, wishes, limits)
        taken = {lesion.host_case_id for lesion in planned}
        odd = [f for f in self._suited()[1] if f.severity == "refused" or f.case_id in taken]
        few = (*_few_donors(self.renderer.bank, planned), *_simpler_shapes(self.renderer, planned))
        return planned, (*odd, *limits.findings, *few)

    def _wishes(self) -> Wishes:
        o = self.options
        sweep = None if o.sweep is None else parse_sweep(o.sweep)
        wishes = Wishes(o.diameter_mm, o.swap_share, o.null_share, sweep)
        wishes.check()
        return wishes

    def _counts(self) -> tuple[ClassCount, ...]:
        if self.options.balance is not None:
            bank = self.renderer.bank
            real = {name: len(bank.entries(name)) for name in self.renderer.classes}
            return balanced_counts(real, self.options.balance, self.options.total)
        counts = parse_counts(self.options.per_class, self.manifest.classes)
        for wanted in counts:
            self.renderer.require_class(wanted.class_name)
        return counts


def _disk_bytes(planned: Sequence[PlannedLesion], job: _Job) -> int:
    """A case takes about what its host's files take, and an edit mask."""
    sizes: dict[str, int] = {}
    for case_id in {lesion.host_case_id for lesion in planned}:
        sizes[case_id] = _stored_bytes(job.options.dataset, job.manifest.case(case_id))
    return sum(sizes[lesion.host_case_id] + _CASE_BYTES for lesion in planned)


def _stored_bytes(dataset: Path, host: CaseRecord) -> int:
    """Size of a host's files; of one that is missing, two bytes a voxel."""
    voxels = host.shape[0] * host.shape[1] * host.shape[2]
    return sum(
        path.stat().st_size if (path := dataset / file.path).is_file() else 2 * voxels for file in host.files
    )


def _draw_all(
    job: _Job,
    planned: Sequence[PlannedLesion],
    remarks: Sequence[Finding],
    run: RunDir,
    progress: Progress,
) -> tuple[Finding, ...]:
    """Draw what is not drawn yet, then write the manifest."""
    drop_leftovers(run.path, planned)
    left = sum(read_note(run.path, lesion) is None for lesion in planned)
    progress.start("synthesis", len(planned))
    progress.advance(len(planned) - left)
    with closing(produce(job.host_pool(), job.renderer, planned, run.path)) as made:
        for _ in made:
            progress.advance(1)
    written = [note for lesion in planned if (note := read_note(run.path, lesion)) is not None]
    # a damaged host is met by several lesions
    findings = tuple(dict.fromkeys((*remarks, *(f for w in written for f in w.findings))))
    refused = [f for f in findings if f.severity == "refused"]
    records = tuple(w.record for w in written if w.record is not None)
    if not records or (job.options.strict and refused):
        raise _refusal(refused, len(planned) - len(records), len(planned))
    made_set = Manifest(name=f"{job.manifest.name}_synthetic", classes=job.manifest.classes, cases=records)
    finish_dataset(run.path, made_set, findings, tuple(w.recipe for w in written if w.recipe is not None))
    run.log("synthesis", lesions=len(records), refused=len(refused))
    return findings


def _refusal(refused: Sequence[Finding], lost: int, planned: int) -> DataError:
    """Why there is no set: lesions without a place, or, under --strict, a damaged host."""
    first = f"first: {refused[0].case_id}: {refused[0].message}"
    if not lost:
        return DataError(f"{counted(len(refused), 'refusal')} under --strict, {first}")
    hint = "ask for smaller lesions, or add hosts that show the organ"
    return DataError(f"{lost} of {counted(planned, 'lesion')} found no place, {first}", hint=hint)


def _few_donors(bank: Bank, planned: Sequence[PlannedLesion]) -> tuple[Finding, ...]:
    names = sorted({lesion.class_name for lesion in planned})
    return tuple(
        finding(
            Code.ONE_DONOR,
            "flagged",
            f"class {name} has one lesion in the bank: all its copies look alike",
        )
        for name in names
        if len(bank.entries(name)) == 1
    )


def _simpler_shapes(renderer: Renderer, planned: Sequence[PlannedLesion]) -> tuple[Finding, ...]:
    names = sorted({lesion.class_name for lesion in planned})
    notes = [renderer.shapes.choice(name).note for name in names]
    return tuple(finding(Code.SHAPES_SIMPLER, "flagged", note) for note in notes if note)


def _summary(job: _Job, planned: Sequence[PlannedLesion], findings: Sequence[Finding]) -> SynthesizeSummary:
    out = job.options.out
    recipes = read_lines(out / RECIPES, Recipe) if (out / RECIPES).is_file() else ()
    hosts = {p.host_case_id for p in recipes or planned}
    learnt = learnt_sizes(job.renderer.bank)
    names = sorted({p.class_name for p in planned}, key=job.manifest.classes.index)
    return SynthesizeSummary(
        out=str(out),
        generator=job.renderer.generator.kind,
        planned_only=not recipes,
        classes=tuple(_class_made(name, planned, recipes, learnt[name]) for name in names),
        hosts=len(hosts),
        patients=len({job.manifest.case(case_id).patient_id for case_id in hosts}),
        disk_bytes=_disk_bytes(planned, job),
        findings=tuple(findings),
    )


def _class_made(
    name: str, planned: Sequence[PlannedLesion], recipes: Sequence[Recipe], learnt: Range
) -> ClassMade:
    wanted = [p for p in planned if p.class_name == name and p.use != "null"]
    made = [r for r in recipes if r.class_name == name and r.use != "null"]
    sizes = [r.diameter_mm for r in made]
    if not recipes:
        sizes = [size for p in wanted for size in p.diameter_mm or learnt]
    return ClassMade(
        class_name=name,
        wanted=len(wanted),
        made=len(made),
        nulls=sum(p.class_name == name and p.use == "null" for p in recipes or planned),
        sizes_mm=(round(min(sizes), 2), round(max(sizes), 2)) if sizes else None,
    )
