"""Arms x annotated patients x folds x seeds: cell by cell, resumable, shared by processes, readable at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from medaug.core.claims import CLAIMS, Claims
from medaug.core.errors import DataError
from medaug.core.results import DiceRow, ExperimentContext, ExperimentResult
from medaug.core.runs import RUN_FILE, Progress, RunRecord
from medaug.core.storage import require_free_space
from medaug.engine.crew import run_crew, threads_for
from medaug.experiments.bench import Workbench
from medaug.experiments.cell import ROWS, CellResult
from medaug.experiments.context import CONTEXT
from medaug.experiments.design import Cell, ExperimentConfig, name_of
from medaug.experiments.estimate import Clock, Estimate, estimate, training_work
from medaug.experiments.fairness import check_fairness
from medaug.experiments.outcome import Plan, experiment_result
from medaug.experiments.study import CELLS, Ledger, Study
from medaug.experiments.subset import SCOPES, SharedRun, SubsetRunner, fit_claim

__all__ = ["CELLS", "RESULTS", "SCOPES", "STEP", "forecast", "merge", "run_experiment"]

STEP, RESULTS = "experiment", "results.json"
_POLL_S = 0.3
_RESULTS_CLAIM = "results"


def forecast(
    study: Study, bench: Workbench, shared: SharedRun, workers: int
) -> tuple[Estimate, Mapping[str, float]]:
    """What is left to do and what it will take, and the seconds of each cell, from a short trial; writes nothing."""
    pending = Ledger(study, shared.path).pending
    if not pending:
        return Estimate(workers=workers), {}
    with threads_for(workers):
        rates = SubsetRunner(study, bench, shared, pending[0].scope).rates(pending[0])
    seconds = {cell.name: training_work(study, cell, rates).seconds for cell in study.mine}
    return estimate(study, pending, rates, workers), seconds


def run_experiment(study: Study, bench: Workbench, shared: SharedRun, workers: int = 1) -> ExperimentResult:
    """Run every cell of this call that has not run yet; ``results.json`` is written after each.

    Processes that work in one folder, started here or by other calls, claim cell by cell: first those of the training
    subset they have in memory, then of one where nobody works, then any. A cell's seed and material do not depend on who
    runs it. The call ends when all of its cells are done, those that others had claimed, too.

    Raises:
        DataError: If a case cannot be read.
        SplitLeakageError: If something would be trained and scored on both.
        TrainingError: If arms were not treated equally, or a training cannot go on.
        StorageError: If the disk is too full.
    """
    ledger, progress = Ledger(study, shared.path), shared.progress
    progress.say(_shape(study, ledger))
    if ledger.pending:
        expected, seconds = forecast(study, bench, shared, workers)
        progress.say(expected.line)
        require_free_space(shared.path, round(expected.disk_mib * 2**20))
        if workers == 1:
            _work(study, bench, shared, seconds)
        else:
            run_crew(partial(_join, study, bench, shared.path, seconds), workers, progress)
    return _publish(study, ledger, shared)


def _shape(study: Study, ledger: Ledger) -> str:
    """The line before the first cell."""
    config, total = study.config, len(study.planned)
    folds = len({cell.fold.index for cell in study.planned})
    kind = "inner folds" if config.inner_folds else "folds"
    said = f"{len(config.arms)} arms x {len(config.n_annotated)} subset sizes x {folds} {kind} x "
    said += f"{len(config.seeds)} seeds = {total} trainings"
    if len(study.mine) < total:
        said += f", of which {len(study.mine)} here"
    before = len(study.mine) - len(ledger.pending)
    said += f"; {before} are done already" if before else ""
    made = any(arm.generator is not None for arm in config.arms)
    return said + (f"; synthetic lesions of {', '.join(study.drawn)}" if made else "")


def _join(
    study: Study,
    bench: Workbench,
    path: Path,
    seconds: Mapping[str, float],
    progress: Progress,
    stopping: Callable[[], bool],
) -> None:
    """Work in a process of its own."""
    with Claims(path / CLAIMS) as claims:
        _work(study, bench, SharedRun(path, claims, progress), seconds, stopping)


def _work(
    study: Study,
    bench: Workbench,
    shared: SharedRun,
    seconds: Mapping[str, float],
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Run cells until all are done, here or elsewhere."""
    ledger = Ledger(study, shared.path)
    clock = Clock(seconds, ledger.results, shared.progress)
    runner: SubsetRunner | None = None
    while (cell := _next_cell(ledger, shared, runner.scope if runner else "", stopping)) is not None:
        try:
            if runner is None or runner.scope != cell.scope:
                runner = None  # its cases go before those of the next are read
                runner = SubsetRunner(study, bench, shared, cell.scope)
            result = runner.work(cell, ledger)
        finally:
            shared.claims.give_back(cell.name)
        _publish(study, ledger, shared)
        clock.tick(cell.name, result.cost.seconds, ledger.results)


def _next_cell(ledger: Ledger, shared: SharedRun, scope: str, stopping: Callable[[], bool]) -> Cell | None:
    """A cell that is this process's from now on; None where none is left. Waits while others hold the last ones."""
    waiting = False
    while not stopping():
        ledger.look()
        pending = ledger.pending
        cell = _claimed(ledger, shared.claims, scope)
        if cell is not None or not pending:
            return cell
        if not waiting:
            shared.progress.say(f"waiting for {len(pending)} trainings that are under way elsewhere")
        waiting = True
        time.sleep(_POLL_S)
    return None


def _claimed(ledger: Ledger, claims: Claims, scope: str) -> Cell | None:
    """The first pending cell that nobody has; it may have been finished since the ledger was read."""
    for cell in _in_order(ledger.pending, claims.taken(), scope):
        if not claims.take(cell.name):
            continue
        ledger.look()
        if cell.name not in ledger.results:
            return cell
        claims.give_back(cell.name)
    return None


def _in_order(pending: Sequence[Cell], taken: frozenset[str], scope: str) -> list[Cell]:
    """Those that wait for no fit, of the scope in memory, of one where nobody works; else as planned."""
    busy = {cell.scope for cell in pending if cell.name in taken}
    return sorted(
        pending, key=lambda cell: (fit_claim(cell) in taken, cell.scope != scope, cell.scope in busy)
    )


def _publish(study: Study, ledger: Ledger, shared: SharedRun) -> ExperimentResult:
    """Write what there is so far, whoever did it.

    Raises:
        TrainingError: If arms were not treated equally.
    """
    with shared.claims.held(_RESULTS_CLAIM):
        ledger.look()
        result = _result(study.plan, ledger.results)
        result.write(shared.path / RESULTS)
    return result


def _result(plan: Plan, done: Mapping[str, CellResult]) -> ExperimentResult:
    """The result of the cells that are done, in the order of the plan."""
    ordered = [done[name] for name in plan.context.cells if name in done]
    costs = [result.cost for result in ordered]
    check_fairness(costs)
    rows = [row for result in ordered for row in result.rows]
    return experiment_result(plan, rows, costs, complete=len(ordered) == len(plan.context.cells))


def merge(runs: Sequence[Path]) -> ExperimentResult:
    """One result of the finished cells of several run folders, such as shards of one experiment.

    A folder may be reduced to ``run.json``, ``context.json``, and ``run.json`` and ``rows.json`` of its cells; or, in
    their place, ``results.json``.

    Raises:
        DataError: If a folder is no experiment, they are not of one, two hold other rows of one cell, or no cell is done.
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
    if not found:
        where = ", ".join(run.name for run in runs)
        raise DataError(
            f"no training is done in {where}", hint="wait for the first one, or run `medaug experiment`"
        )
    return _result(plan, found)


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
    if not (run / CELLS).is_dir():
        return _published_cells(run, plan)
    found = {}
    for path in sorted((run / CELLS).glob(f"*/{ROWS}")):
        name, record = path.parent.name, RunRecord.read(path.parent / RUN_FILE)
        if name not in plan.context.cells or record.inputs.get("dataset") != plan.dataset_sha256:
            raise _foreign(run, name, "delete that cell")
        if record.status == "done":
            found[name] = CellResult.read(path)
    return found


def _published_cells(run: Path, plan: Plan) -> dict[str, CellResult]:
    """The same of a folder without cells: one that kept ``results.json`` alone, or in which nothing is done yet.

    Raises:
        DataError: If its results are packed, or those of another experiment.
    """
    if not (run / RESULTS).is_file():
        if (run / f"{RESULTS}.gz").is_file():
            raise DataError(f"{RESULTS} of {run.name} is packed", hint="unpack it: gunzip -k")
        return {}
    result = ExperimentResult.read(run / RESULTS)
    rows: dict[str, list[DiceRow]] = {}
    for row in result.rows:
        rows.setdefault(name_of(row), []).append(row)
    costs = {name_of(cost): cost for cost in result.costs}
    for name in costs:
        if name not in plan.context.cells or result.dataset_sha256 != plan.dataset_sha256:
            raise _foreign(run, name, f"take the {RESULTS} that belongs to its {RUN_FILE}")
    return {name: CellResult(rows=tuple(rows.get(name, ())), cost=cost) for name, cost in costs.items()}


def _foreign(run: Path, name: str, hint: str) -> DataError:
    return DataError(f"{run.name} holds a cell {name} of another experiment", hint=hint)
