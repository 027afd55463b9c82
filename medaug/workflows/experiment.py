"""``medaug experiment``: arms x annotated patients x folds x seeds, on one machine or shared by many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.case import FINDINGS, Manifest, read_findings, read_manifest
from medaug.core.claims import CLAIMS, Claims
from medaug.core.config import Frozen, load_yaml
from medaug.core.errors import DataError
from medaug.core.results import Comparison, ExperimentResult, FindingCount
from medaug.core.runs import Progress, RunDir, begin_run, finished
from medaug.core.splits import Fold, read_splits
from medaug.core.storage import require_free_space, sha256_text
from medaug.core.summary import Summary
from medaug.experiments.context import CONTEXT, LEARNT, describe
from medaug.experiments.design import ExperimentConfig, SplitDataset, cells, scored_records
from medaug.experiments.estimate import Estimate
from medaug.experiments.run import RESULTS, STEP, forecast, run_experiment
from medaug.experiments.study import Shard, Study, plan_study
from medaug.experiments.subset import SharedRun
from medaug.report.verdict import verdict
from medaug.transforms.base import LearntConfig, parse_transforms
from medaug.workflows.arms import resolved
from medaug.workflows.bench import Bench, Where
from medaug.workflows.policy import check_packages

_LEAST_BYTES = 256 << 20  # what a few trainings need; all of them are estimated after a short trial


@final
class ExperimentOptions(Frozen):
    """Options of `medaug experiment`."""

    dataset: Path
    config: Path = Field(description="YAML file of an experiment")
    out: Path
    device: str = "auto"
    workers: int = Field(default=1, ge=1, description="processes that work on it here")
    shard: str | None = Field(
        default=None, description="I/N: only every N-th training subset, from the I-th on"
    )
    dry_run: bool = Field(default=False, description="say what would be done and how long it would take")


@final
class ExperimentForecast(Summary):
    """What a dry run says; nothing was written."""

    trainings: tuple[str, ...] = Field(description="of this call, in order, those that are done included")
    estimate: Estimate

    def lines(self) -> tuple[str, ...]:
        """Every training, and what all will take."""
        return (*self.trainings, self.estimate.line)


@final
class ExperimentSummary(Summary):
    """What came out."""

    out: Path
    results: Path
    verdict: str
    warning: str
    comparisons: tuple[Comparison, ...]
    trainings: int = Field(description="that are done in this folder, by whomever")
    planned: int = Field(description="trainings of the whole experiment")
    equal_terms: tuple[str, ...] = Field(description="in what the arms were found to be treated equally")
    skipped: bool = Field(description="the run folder held this experiment already")

    def lines(self) -> tuple[str, ...]:
        """The verdict, and where to read on."""
        done = f"{self.trainings} trainings done"
        if self.skipped:
            done = "done before, nothing to do"
        elif self.trainings < self.planned:
            done = f"{self.trainings} of {self.planned} trainings are in this folder"
        warning = (self.warning,) if self.warning else ()
        return (
            self.verdict,
            *warning,
            *self.equal_terms,
            f"{done}; figures in {self.results}",
            f"next: `medaug report {self.out}`",
        )


def experiment(options: ExperimentOptions, progress: Progress) -> ExperimentSummary | ExperimentForecast:
    """Run the arms of an experiment on the outer folds; an interrupted one goes on where it stopped.

    Further calls of the same experiment on the same folder, from any machine that sees it, join those at work.

    Raises:
        ConfigError: If the configuration is wrong, or ``out`` holds another experiment.
        DependencyError: If an arm learns its augmentation and the package for that is missing.
        DataError: If a training subset cannot be made, or there is no lesion to learn from.
        SplitLeakageError: If something would be both trained on and scored.
        TrainingError: If arms were not treated equally, a worker was killed, or a training cannot go on.
        StorageError: If the disk is too full.
    """
    config = resolved(load_yaml(options.config, ExperimentConfig))
    manifest = read_manifest(options.dataset)
    splits = read_splits(options.dataset, manifest)
    study = _study(options, config, SplitDataset(manifest, splits.outer_folds))
    inputs = {"dataset": manifest.content_sha256, "splits": sha256_text(splits.model_dump_json())}
    skipped = finished(options.out, STEP, config, inputs)
    bench = Bench(Where(options.dataset, options.device), config, manifest, study.drawn)
    if options.dry_run:
        shared = SharedRun(options.out, Claims(options.out / CLAIMS), progress)
        expected, _ = forecast(study, bench, shared, options.workers)
        return ExperimentForecast(trainings=tuple(cell.name for cell in study.mine), estimate=expected)
    if not skipped:
        require_free_space(options.out, _LEAST_BYTES)
        with Claims(options.out / CLAIMS) as claims:
            shared = SharedRun(options.out, claims, progress)
            run = _open(study, inputs, shared)
            result = run_experiment(study, bench, shared, options.workers)
        if result.complete:
            run.finish()
    return _summary(options, ExperimentResult.read(options.out / RESULTS), skipped=skipped)


def _study(options: ExperimentOptions, config: ExperimentConfig, dataset: SplitDataset) -> Study:
    """The cells to run; raises for what cannot be trained or scored before a folder is made."""
    for arm in config.arms:
        check_packages(parse_transforms(arm.transforms))
    planned = cells(config, dataset)
    _require_lesions(dataset.manifest, {cell.fold.index: cell.fold for cell in planned}.values())
    context = describe(config, dataset.manifest, planned)
    learnt = any(isinstance(parse_transforms(arm.transforms), LearntConfig) for arm in config.arms)
    checks = context.checks + (LEARNT,) * learnt
    told = {"command": _command(options), "findings": _findings(options.dataset), "checks": checks}
    shard = None if options.shard is None else Shard.parse(options.shard)
    return plan_study(config, dataset, context.model_copy(update=told), shard)


def _open(study: Study, inputs: dict[str, str], shared: SharedRun) -> RunDir:
    """Open the run folder, also where others are at work in it."""
    with shared.claims.held("opening"):
        others = shared.claims.others()
        if others:
            shared.progress.say(f"{others} processes are at work in {shared.path.name}: joining them")
        run = begin_run(shared.path, STEP, study.config, inputs, shared=others > 0)
        study.plan.context.write(shared.path / CONTEXT)
    return run


def _summary(options: ExperimentOptions, result: ExperimentResult, *, skipped: bool) -> ExperimentSummary:
    said = verdict(result)
    return ExperimentSummary(
        out=options.out,
        results=options.out / RESULTS,
        verdict=said.sentence,
        warning=said.warning,
        comparisons=result.comparisons,
        trainings=result.cells_done,
        planned=result.cells_planned,
        equal_terms=result.equal_terms,
        skipped=skipped,
    )


def _command(options: ExperimentOptions) -> str:
    """As it was given, but for the folders that paths lie in, which may tell of people."""
    said = f"medaug experiment {options.dataset.name} --config {options.config.name} --out {options.out.name}"
    said += f" --shard {options.shard}" if options.shard else ""
    said += f" --workers {options.workers}" if options.workers > 1 else ""
    return said + (f" --device {options.device}" if options.device != "auto" else "")


def _require_lesions(manifest: Manifest, folds: Iterable[Fold]) -> None:
    """Hours of training would end without one Dice."""
    if not any(record.lesions for fold in folds for record in scored_records(manifest, fold)):
        raise DataError(
            "no held-out patient has a lesion: there would be nothing to score",
            where="folds",
            hint="choose other folds, or split the dataset again",
        )


def _findings(dataset: Path) -> tuple[FindingCount, ...]:
    if not (dataset / FINDINGS).is_file():
        return ()
    found = Counter((f.code, f.severity) for f in read_findings(dataset))
    return tuple(
        FindingCount(code=code, severity=severity, count=n) for (code, severity), n in sorted(found.items())
    )
