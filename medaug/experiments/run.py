"""Arms x annotated patients x folds x seeds: cell by cell, resumable, readable at any moment."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol, final

from medaug.core.case import Case, CaseRecord, CaseSource, Manifest
from medaug.core.errors import DataError
from medaug.core.gallery import GALLERY, TileFacts, cut_tile, write_tiles
from medaug.core.results import ArmCost, ExperimentContext, ExperimentResult
from medaug.core.runs import RUN_FILE, Progress, RunDir, RunRecord, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.storage import sha256_text
from medaug.core.volume import Mask
from medaug.experiments.cell import ROWS, CellConfig, CellInputs, CellResult, Material, Trained, run_cell
from medaug.experiments.context import CONTEXT, describe
from medaug.experiments.design import (
    Arm,
    Cell,
    ExperimentConfig,
    TrainingSubset,
    cells,
    classes_to_draw,
    scored_records,
    training_subset,
)
from medaug.experiments.fairness import check_fairness
from medaug.experiments.outcome import Plan, experiment_result

STEP, RESULTS, CELLS, SCOPES = "experiment", "results.json", "cells", "scopes"
CELL_STEP = "experiment cell"
_SAMPLES_A_CLASS = 6


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A synthetic lesion to look at.

    Attributes:
        case: The synthetic case.
        mask: (I, J, K) True in the lesion that was drawn.
        class_name: Its class.
    """

    case: Case
    mask: Mask
    class_name: str


class Prepared(Protocol):
    """A bank and a generator, refitted inside one training subset."""

    kind: str

    def source(self, arm: Arm) -> CaseSource:
        """Streams synthetic cases into training."""
        ...

    def samples(self, count: int, seed: SeedTree) -> Sequence[Sample]:
        """A few synthetic lesions of every class that is drawn."""
        ...


class Workbench(Protocol):
    """What an experiment needs of other rooms; the workflow wires it."""

    def load(self, record: CaseRecord) -> Case:
        """Read one case."""
        ...

    def prepare(
        self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], folder: Path, progress: Progress
    ) -> Prepared:
        """Fit bank and generator of an arm on the subset alone, inside ``folder``; what is there is reused."""
        ...

    def train(self, arm: Arm, material: Material, run: RunDir, progress: Progress, seed: SeedTree) -> Trained:
        """Train one arm; see :class:`medaug.experiments.cell.Train`."""
        ...

    def estimate_seconds(self, cases: Sequence[Case]) -> float:
        """Seconds that one training will take, from a short probe."""
        ...

    def trainings(self, arm: Arm) -> float:
        """How many trainings a cell of the arm amounts to, with those that choose its augmentation."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Ground:
    """What the experiment stands on.

    Attributes:
        manifest: The dataset.
        outer_folds: Those whose held-out patients may be scored.
    """

    manifest: Manifest
    outer_folds: tuple[Fold, ...]


def run_experiment(
    config: ExperimentConfig, ground: Ground, bench: Workbench, run: RunDir, progress: Progress
) -> ExperimentResult:
    """Run every cell that has not run yet; ``results.json`` is written after each.

    Raises:
        ConfigError: If a fold or class does not exist.
        DataError: If a training subset cannot be made.
        SplitLeakageError: If something would be trained and scored on both.
        TrainingError: If arms were not treated equally, or a training cannot go on.
    """
    planned = cells(config, ground.outer_folds)
    drawn = classes_to_draw(config, ground.manifest.classes)
    subsets = [
        _subset(config, ground.manifest, cell) for cell in planned
    ]  # every error of the design before any work
    plan = Plan(config, describe(config, ground.manifest, planned), ground.manifest.content_sha256)
    before = {
        cell.name: result for cell in planned if (result := _done(config, ground, cell, run)) is not None
    }
    done = list(before.values())
    clock = _Clock({cell.name: bench.trainings(cell.arm) for cell in planned}, before, progress)
    clock.announce(plan, drawn)
    for scope, members in groupby(zip(planned, subsets, strict=True), key=lambda pair: pair[0].scope):
        pending = [(c, s) for c, s in members if _done(config, ground, c, run) is None]
        if pending:
            bay = _Bay(config, ground, bench, run, progress)
            for result in bay.work(scope, pending, clock):
                done.append(result)
                _write(plan, done, run, complete=False)
                check_fairness([r.cost for r in done])
    check_fairness([result.cost for result in done])
    return _write(plan, done, run, complete=True)


def _subset(config: ExperimentConfig, manifest: Manifest, cell: Cell) -> TrainingSubset:
    return training_subset(manifest, cell.fold, config.limit_class, cell.n_annotated)


def _write(plan: Plan, done: Sequence[CellResult], run: RunDir, *, complete: bool) -> ExperimentResult:
    rows = tuple(row for result in done for row in result.rows)
    costs: tuple[ArmCost, ...] = tuple(result.cost for result in done)
    result = experiment_result(plan, rows, costs, complete=complete)
    result.write(run.path / RESULTS)
    return result


def merge(runs: Sequence[Path]) -> ExperimentResult:
    """One result of the finished cells of several run folders, such as shards of one experiment.

    A folder may be reduced to ``run.json``, ``context.json``, and ``run.json`` and ``rows.json`` of its cells.

    Raises:
        DataError: If a folder is no experiment, they are not of one, or two hold other rows of one cell.
        TrainingError: If arms were not treated equally.
    """
    records = [_experiment_in(run) for run in runs]
    for run, record in zip(runs, records, strict=True):
        if not record.asks_the_same(records[0]):
            changed = "config" if record.config != records[0].config else "dataset or folds"
            raise DataError(
                f"{run.name} has another {changed} than {runs[0].name}", hint="merge shards of one run"
            )
    plan = Plan(
        ExperimentConfig.model_validate(records[0].config),
        ExperimentContext.read(runs[0] / CONTEXT),
        records[0].inputs["dataset"],
    )
    found: dict[str, CellResult] = {}
    for run in runs:
        for name, result in _finished_cells(run, plan).items():
            if found.setdefault(name, result).rows != result.rows:
                raise DataError(
                    f"{run.name} holds other rows of {name} than another folder", hint="drop one of them"
                )
    done = [found[name] for name in plan.context.cells if name in found]
    costs = [result.cost for result in done]
    check_fairness(costs)
    rows = [row for result in done for row in result.rows]
    return experiment_result(plan, rows, costs, complete=len(done) == len(plan.context.cells))


def _experiment_in(run: Path) -> RunRecord:
    record = RunRecord.read(run / RUN_FILE)
    if record.step != STEP:
        raise DataError(
            f"{run.name} holds a run of {record.step}", expected="the --out of `medaug experiment`"
        )
    return record


def _finished_cells(run: Path, plan: Plan) -> dict[str, CellResult]:
    """The results of a folder by cell.

    Raises:
        DataError: If it holds a cell that was not planned, or one of another state of the dataset.
    """
    found = {}
    for path in sorted((run / CELLS).glob(f"*/{ROWS}")):
        name, record = path.parent.name, RunRecord.read(path.parent / RUN_FILE)
        if name not in plan.context.cells or record.inputs.get("dataset") != plan.dataset_sha256:
            raise DataError(f"{run.name} holds a cell {name} of another experiment", hint="delete that cell")
        if record.status == "done":
            found[name] = CellResult.read(path)
    return found


def _cell_run(config: ExperimentConfig, ground: Ground, cell: Cell) -> tuple[CellConfig, dict[str, str]]:
    """What identifies a cell: its settings, and the hashes of what it may see."""
    asked = CellConfig(
        arm=cell.arm,
        task=config.task,
        limit_class=config.limit_class,
        n_annotated=cell.n_annotated,
        fold=cell.fold.index,
        seed=cell.seed,
    )
    held_out = sha256_text("\n".join(sorted(cell.fold.held_out)))
    subset = _subset(config, ground.manifest, cell)
    return asked, {"dataset": ground.manifest.content_sha256, "subset": subset.sha256, "held_out": held_out}


def _done(config: ExperimentConfig, ground: Ground, cell: Cell, run: RunDir) -> CellResult | None:
    path = run.path / CELLS / cell.name
    asked, inputs = _cell_run(config, ground, cell)
    return CellResult.read(path / ROWS) if finished(path, CELL_STEP, asked, inputs) else None


@final
class _Clock:
    """Says how long the whole experiment will still take."""

    def __init__(self, work: Mapping[str, float], before: Collection[str], progress: Progress) -> None:
        self._total, self._progress = len(work), progress
        self._left = {name: amount for name, amount in work.items() if name not in before}
        self._begun, self._work_done = time.monotonic(), 0.0

    def announce(self, plan: Plan, drawn: Sequence[str]) -> None:
        """The line before the first cell."""
        shape = f"{len(plan.config.arms)} arms x {len(plan.config.n_annotated)} subset sizes x "
        n_folds = self._total // (
            len(plan.config.arms) * len(plan.config.n_annotated) * len(plan.config.seeds)
        )
        shape += f"{n_folds} folds x {len(plan.config.seeds)} seeds = {self._total} trainings"
        before = self._total - len(self._left)
        again = f"; {before} are done already" if before else ""
        made = any(arm.generator is not None for arm in plan.config.arms)
        self._progress.say(f"{shape}{again}" + (f"; synthetic lesions of {', '.join(drawn)}" if made else ""))

    def estimate(self, seconds_a_training: float) -> None:
        """The time estimate, from a probe."""
        minutes = sum(self._left.values()) * seconds_a_training / 60
        count = len(self._left)
        self._progress.say(f"about {minutes:.0f} min for {count} trainings, and the fitting of generators")

    def tick(self, cell: Cell, seconds: float) -> None:
        """The line after each cell."""
        self._work_done += self._left.pop(cell.name)
        remaining = (time.monotonic() - self._begun) / self._work_done * sum(self._left.values())
        done = self._total - len(self._left)
        self._progress.say(
            f"{done} of {self._total}: {cell.name} trained in {seconds:.0f} s; about {remaining / 60:.1f} min left"
        )

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has been timed yet."""
        return self._work_done == 0


@final
class _Bay:
    """The cells of one training subset: its cases are read once, its generators fitted once."""

    def __init__(
        self, config: ExperimentConfig, ground: Ground, bench: Workbench, run: RunDir, progress: Progress
    ) -> None:
        self._config, self._ground, self._bench = config, ground, bench
        self._run, self._progress = run, progress

    def work(
        self, scope: str, pending: Sequence[tuple[Cell, TrainingSubset]], clock: _Clock
    ) -> Iterator[CellResult]:
        """Run the cells in order, giving each result as it comes."""
        subset = pending[0][1]
        cases = tuple(self._bench.load(record) for record in subset.records)
        folder = self._run.path / SCOPES / scope
        self._keep_real(cases, folder)
        if clock.is_fresh:
            clock.estimate(self._bench.estimate_seconds(cases))
        for cell, _ in pending:
            source = self._source(cell.arm, subset, cases, folder)
            records = scored_records(self._ground.manifest, cell.fold)
            material = Material(subset.fold, cases, source)
            inputs = CellInputs(subset, material, records, self._bench.load)
            asked, hashes = _cell_run(self._config, self._ground, cell)
            with open_run(self._run.path / CELLS / cell.name, CELL_STEP, asked, hashes) as cell_run:
                result = run_cell(cell, inputs, self._bench.train, cell_run, self._progress)
            clock.tick(cell, result.cost.seconds)
            yield result

    def _source(
        self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], folder: Path
    ) -> CaseSource | None:
        if arm.generator is None:
            return None
        prepared = self._bench.prepare(arm, subset, cases, folder, self._progress)
        self._keep_synthetic(prepared, folder)
        return prepared.source(arm)

    def _keep_synthetic(self, prepared: Prepared, folder: Path) -> None:
        """Samples for the report, drawn apart from training."""
        path = folder / f"samples_{prepared.kind}" / GALLERY
        if path.is_file():
            return
        samples = prepared.samples(_SAMPLES_A_CLASS, SeedTree(0).child("samples", folder.name))
        tiles = [
            cut_tile(s.case, TileFacts("synthetic", prepared.kind, s.case.case_id, s.class_name), s.mask)
            for s in samples
        ]
        write_tiles(path, tiles)

    def _keep_real(self, cases: Sequence[Case], folder: Path) -> None:
        """Real training lesions for the report, a random few of each class."""
        path = folder / "real" / GALLERY
        if path.is_file():
            return
        tiles = []
        for name in self._ground.manifest.classes:
            order = SeedTree(0).child("real", folder.name, name).rng().permutation(len(cases))
            mixed = (cases[n] for n in order)
            masks = ((case, case.label_map.mask(name)) for case in mixed if case.label_map is not None)
            shown = [(case, mask) for case, mask in masks if mask.any()][:_SAMPLES_A_CLASS]
            tiles += [cut_tile(case, TileFacts("real", "", case.case_id, name), mask) for case, mask in shown]
        write_tiles(path, tiles)
