"""``medaug assess``: is a synthetic set realistic, and is it a copy of the patients it was made from?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.assessment import AuditReport, ClassQuality, CopyFlag, PartVerdict, QualityReport
from medaug.core.case import RECIPES, Case, CaseRecord, Manifest, Origin, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import DataError, LabelError, SplitLeakageError
from medaug.core.plan import Recipe, read_lines
from medaug.core.results import Summary
from medaug.core.runs import RUN_FILE, Progress, RunDir, RunRecord, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, guard_donors, guard_evaluation, guard_training, read_splits
from medaug.core.storage import require_free_space, sha256_text
from medaug.core.volume import Mask
from medaug.io.dataset import load_case, load_edit_mask
from medaug.quality.background import (
    Backdrop,
    BackdropSearch,
    backdrop,
    copied_background,
    judge_backgrounds,
    same_share,
    untouched,
)
from medaug.quality.memorization import LesionAudit, audit_lesions
from medaug.quality.realism import Lesions, describe_classes
from medaug.quality.samples import LesionSample, cut_lesions
from medaug.quality.sheet import write_sheet

QUALITY, AUDIT, SHEET = "quality.json", "audit.json", "closest_pairs.png"
_NEEDED_BYTES = 16 << 20


@final
class AssessOptions(Frozen):
    """What ``medaug assess`` is asked."""

    synthetic: Path
    against: Path
    out: Path
    fold: int = Field(default=0, ge=0)
    seed: int = 0


@final
class AssessSummary(Summary):
    """What was found."""

    out: str
    lesion: str
    background: str
    reasons: tuple[str, ...]
    n_flagged: int
    detection_limit: float
    classes: tuple[ClassQuality, ...]

    def lines(self) -> tuple[str, ...]:
        """The verdicts with their reasons, then one line a class."""
        rows = [_quality_line(quality) for quality in self.classes if quality.n_synthetic]
        return (
            f"copying: lesions {self.lesion}, background {self.background}",
            *self.reasons,
            f"a share of copies up to {self.detection_limit:.1%} could have gone unseen (95%)",
            *rows,
            f"see {QUALITY}, {AUDIT} and {SHEET} in {self.out}",
        )


def _quality_line(quality: ClassQuality) -> str:
    space = quality.spaces[0] if quality.spaces else None
    distance, floor = (None, None) if space is None else (space.kernel, space.kernel_floor)
    words = (
        "too few lesions for a distance"
        if distance is None
        else f"kernel distance to held-out real {distance.value:.3f} ({distance.low:.3f} to {distance.high:.3f})"
    )
    against = "" if floor is None or distance is None else f", real to real {floor.value:.3f}"
    return f"{quality.class_name}: {quality.n_synthetic} synthetic, {words}{against}"


@final
class _Settings(Frozen):
    """What makes an assessment this one."""

    fold: int
    seed: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A call with everything it reads."""

    options: AssessOptions
    made: Manifest
    real: Manifest
    fold: Fold
    recipes: Mapping[str, Recipe]

    @property
    def settings(self) -> _Settings:
        return _Settings(fold=self.options.fold, seed=self.options.seed)

    @property
    def inputs(self) -> dict[str, str]:
        patients = "\n".join((*sorted(self.fold.train), "", *sorted(self.fold.held_out)))
        return {
            "synthetic": self.made.content_sha256,
            "dataset": self.real.content_sha256,
            "fold": sha256_text(patients),
        }

    @property
    def seeds(self) -> SeedTree:
        return SeedTree(self.options.seed).child("assess")

    def host_of(self, record: CaseRecord) -> str | None:
        """The host that a synthetic case's recipe names."""
        recipe = self.recipes.get(record.case_id)
        return None if recipe is None else recipe.host_case_id

    def training(self) -> tuple[CaseRecord, ...]:
        """Real cases of the fold's training patients."""
        return tuple(r for r in self.real.of_patients(frozenset(self.fold.train)) if r.origin is Origin.REAL)

    def held_out(self) -> tuple[CaseRecord, ...]:
        """Real cases of the fold's held-out patients."""
        return self.real.of_patients(frozenset(self.fold.held_out))


def assess(options: AssessOptions, progress: Progress) -> AssessSummary:
    """Measure realism and search for copies; writes ``quality.json``, ``audit.json`` and a sheet of closest pairs.

    Raises:
        DataError: If the set is empty or not synthetic, was made from another dataset or fold, is of another unit or
            channels, holds voxels that are not finite, or if its recipes contradict its files.
        SplitLeakageError: If a host or donor is no training patient of the fold.
        StorageError: If the disk cannot hold the result.
    """
    job = _open(options)
    if not finished(options.out, "assess", job.settings, job.inputs):
        require_free_space(options.out, _NEEDED_BYTES)
        with open_run(options.out, "assess", job.settings, job.inputs) as run:
            _assess(job, run, progress)
    return _summary(options.out)


def _open(options: AssessOptions) -> _Job:
    """Read the manifests and refuse what does not belong together."""
    made, real = read_manifest(options.synthetic), read_manifest(options.against)
    fold = read_splits(options.against, real).fold(options.fold)
    _check_set(made, real)
    _check_run(options.synthetic, real, fold)
    recipes = _recipes(options.synthetic, made)
    job = _Job(options, made, real, fold, recipes)
    for recipe in recipes.values():
        _check_recipe(recipe, job)
    guard_training(job.training(), fold)
    guard_evaluation(job.held_out(), fold)
    return job


def _check_set(made: Manifest, real: Manifest) -> None:
    hint = "mark a set of another tool with `medaug ingest SRC --origin synthetic`"
    if not made.cases:
        raise DataError(f"synthetic set {made.name} is empty", expected="at least one case")
    for record in made.cases:
        if record.origin is not Origin.SYNTHETIC:
            found = f"case is {record.origin}"
            raise DataError(found, where=record.case_id, expected="synthetic cases only", hint=hint)
    unknown = sorted({name for record in made.cases for name in record.classes} - set(real.classes))
    if unknown:
        raise LabelError(f"class {unknown[0]} is not in the dataset", expected=", ".join(real.classes))
    if not real.cases:
        raise DataError(f"dataset {real.name} is empty", expected="at least one case")
    model = real.cases[0]
    for record in made.cases:
        if (record.unit, record.channels) != (model.unit, model.channels):
            found = f"image is {','.join(record.channels)} in {record.unit}"
            wanted = f"{','.join(model.channels)} in {model.unit}, as in the dataset"
            raise DataError(found, where=record.case_id, expected=wanted)


def _check_run(synthetic: Path, real: Manifest, fold: Fold) -> None:
    """Compare what the set's own run folder says it was made from, where it says so."""
    if not (synthetic / RUN_FILE).is_file():
        return
    inputs = RunRecord.read(synthetic / RUN_FILE).inputs
    if inputs.get("dataset", real.content_sha256) != real.content_sha256:
        raise DataError(
            f"{synthetic.name} was made from another dataset, or from another state of this one",
            hint="name the dataset it was made from with --against",
        )
    if inputs.get("training_scope", fold.scope_sha256) != fold.scope_sha256:
        raise SplitLeakageError(
            f"{synthetic.name} was made for another fold than {fold.index}", hint="name its fold with --fold"
        )


def _recipes(synthetic: Path, made: Manifest) -> dict[str, Recipe]:
    """Recipes by case; none for a set of another tool.

    Raises:
        DataError: If some cases have a recipe and others none, or a recipe is of no case.
    """
    if not (synthetic / RECIPES).is_file():
        return {}
    rows = read_lines(synthetic / RECIPES, Recipe)
    recipes = {row.case_id: row for row in rows}
    named, there = set(recipes), {record.case_id for record in made.cases}
    odd = sorted(named ^ there)
    if odd or len(rows) != len(recipes):
        what = f"{len(odd) or len(rows) - len(recipes)} cases do not have one recipe each"
        raise DataError(f"{RECIPES} contradicts the manifest: {what}", where=odd[0] if odd else "")
    return recipes


def _check_recipe(recipe: Recipe, job: _Job) -> None:
    """Raise unless a recipe fits the set's files, the dataset and the fold."""
    if recipe.training_scope_sha256 != job.fold.scope_sha256 or recipe.fold != job.fold.index:
        raise SplitLeakageError(
            f"recipe is of fold {recipe.fold} and its training patients, not those of fold {job.fold.index}",
            where=recipe.case_id, hint="name the fold and the dataset that the set was made from",
        )  # fmt: skip
    record, host = job.made.case(recipe.case_id), job.real.case(recipe.host_case_id)
    guard_donors((recipe.host_patient_id, *recipe.donor_patient_ids), job.fold, where=recipe.case_id)
    edit = record.edit_mask.path if record.edit_mask is not None else "none"
    contradictions = {
        "host patient": (recipe.host_patient_id, host.patient_id),
        "edit mask": (recipe.edit_mask, edit),
        "grid": (record.shape, host.shape),
        "class": (
            recipe.class_name,
            recipe.class_name if recipe.class_name in record.classes else "no such lesion",
        ),
    }
    for what, (said, found) in contradictions.items():
        if said != found:
            raise DataError(
                f"recipe contradicts the files: {what}",
                where=recipe.case_id,
                expected=f"{said}, found {found}",
            )


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What was cut out of some cases."""

    lesions: tuple[LesionSample, ...]
    backdrops: tuple[Backdrop, ...]


def _assess(job: _Job, run: RunDir, progress: Progress) -> None:
    training = _look(job, job.training(), progress, label="training cases")
    held_out = _look(job, job.held_out(), progress, label="held-out cases")
    if not training.lesions:
        raise DataError(
            f"training patients of fold {job.fold.index} have no lesion", hint="split the dataset again"
        )
    backdrops = BackdropSearch(training.backdrops, held_out.backdrops)
    made, flags = _look_at_synthetic(job, backdrops, progress)
    if not made:
        raise DataError(
            f"synthetic set {job.made.name} holds no labelled lesion", hint="ingest it with its labels"
        )
    audit = audit_lesions(made, training.lesions, held_out.lesions, job.seeds.child("plant").rng(), progress)
    lesions = Lesions(made, training.lesions, held_out.lesions)
    quality = describe_classes(lesions, job.real.classes, job.seeds.child("classes"), progress)
    QualityReport(
        synthetic_sha256=job.made.content_sha256, dataset_sha256=job.real.content_sha256,
        fold=job.fold.index, classes=quality.classes, notes=quality.notes,
    ).write(run.path / QUALITY)  # fmt: skip
    write_sheet(run.path / SHEET, audit.closest)
    run.log("assess", lesions=len(made), flagged=len(audit.flagged), held_out=audit.n_held_out)
    _audit_report(job, audit, flags, (len(training.lesions), backdrops.n_held_out)).write(run.path / AUDIT)


def _look(job: _Job, records: Sequence[CaseRecord], progress: Progress, *, label: str) -> _Seen:
    """Lesions and small pictures of real cases; only these are kept in memory."""
    progress.start(label, len(records))
    lesions: list[LesionSample] = []
    backdrops: list[Backdrop] = []
    for record in records:
        case = load_case(job.options.against, record, job.real.classes)
        if case.label_map is not None:
            lesions += cut_lesions(case)
        backdrops.append(backdrop(case))
        progress.advance()
    return _Seen(tuple(lesions), tuple(backdrops))


def _look_at_synthetic(
    job: _Job, search: BackdropSearch, progress: Progress
) -> tuple[tuple[LesionSample, ...], tuple[CopyFlag, ...]]:
    """Lesions of the set, and the backgrounds that are copied; host by host, so that each host is read once."""
    progress.start("synthetic cases", len(job.made.cases))
    lesions: list[LesionSample] = []
    flags: list[CopyFlag] = []
    hosts = _Hosts(job)
    for record in sorted(job.made.cases, key=lambda r: (job.host_of(r) or "", r.case_id)):
        case = load_case(job.options.synthetic, record, job.made.classes)
        edit_mask = None if record.edit_mask is None else load_edit_mask(job.options.synthetic, record)
        found = cut_lesions(case, edit_mask)
        if edit_mask is not None and not found:
            raise DataError(
                "no labelled lesion lies in the edit mask", where=record.case_id, hint="make the set again"
            )
        lesions += found
        flags += _background_flag(case, edit_mask, hosts, search)
        progress.advance()
    return tuple(lesions), tuple(flags)


@final
class _Hosts:
    """Training cases to compare backgrounds with; the last one is kept."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._case: Case | None = None

    def named(self, case: Case) -> str | None:
        """The host that the recipe of a synthetic case names."""
        recipe = self._job.recipes.get(case.case_id)
        return None if recipe is None else recipe.host_case_id

    def load(self, case_id: str) -> Case:
        """A case of the real dataset."""
        if self._case is None or self._case.case_id != case_id:
            job = self._job
            self._case = load_case(job.options.against, job.real.case(case_id), job.real.classes)
        return self._case


def _background_flag(
    case: Case, edit_mask: Mask | None, hosts: _Hosts, search: BackdropSearch
) -> list[CopyFlag]:
    """One flag where the background is a training scan, else none."""
    background, named = untouched(case, edit_mask), hosts.named(case)
    share = same_share(case, hosts.load(named), background) if named else 0.0
    if named and copied_background(share, 0.0, 1.0) is not None:
        return [_flag(case, named, share, f"{share:.1%} of the voxels are identical")]
    nearest, correlation, transform = search.nearest(backdrop(case, edit_mask))
    share = same_share(case, hosts.load(nearest.case_id), background)
    score = copied_background(share, correlation, search.threshold)
    words = f"{share:.1%} of the voxels are identical" if share else transform
    return [] if score is None else [_flag(case, nearest.case_id, score, words)]


def _flag(case: Case, source_case_id: str, score: float, words: str) -> CopyFlag:
    return CopyFlag(
        case_id=case.case_id, source_case_id=source_case_id, part="background", score=round(score, 4), transform=words
    )  # fmt: skip


def _audit_report(
    job: _Job, audit: LesionAudit, flags: tuple[CopyFlag, ...], counts: tuple[int, int]
) -> AuditReport:
    n_training, n_held_out_cases = counts
    background, reasons = judge_backgrounds(len(job.made.cases), flags, n_held_out_cases)
    return AuditReport(
        synthetic_sha256=job.made.content_sha256,
        dataset_sha256=job.real.content_sha256,
        fold=job.fold.index,
        verdict=PartVerdict(lesion=audit.verdict, background=background),
        reasons=(*audit.reasons, *reasons),
        threshold=1.0 if audit.recall is not None else None,
        n_synthetic=audit.n_judged,
        n_training=n_training,
        n_held_out=audit.n_held_out,
        detection_limit=audit.detection_limit,
        recall=audit.recall,
        flagged=(*audit.flagged, *flags),
    )


def _summary(out: Path) -> AssessSummary:
    audit, quality = AuditReport.read(out / AUDIT), QualityReport.read(out / QUALITY)
    return AssessSummary(
        out=str(out),
        lesion=audit.verdict.lesion,
        background=audit.verdict.background,
        reasons=audit.reasons,
        n_flagged=sum(flag.part == "lesion" for flag in audit.flagged),
        detection_limit=audit.detection_limit,
        classes=quality.classes,
    )
