"""From the rows of the cells to ``results.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from medaug.core.case import Manifest
from medaug.core.results import ArmCost, DiceRow, ExperimentResult
from medaug.core.seeding import SeedTree
from medaug.experiments.design import Cell, ExperimentConfig
from medaug.experiments.statistics import FEWEST_PATIENTS, compare, summarise


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked, on what.

    Attributes:
        config: The experiment.
        manifest: The dataset.
        planned: All cells.
    """

    config: ExperimentConfig
    manifest: Manifest
    planned: tuple[Cell, ...]

    @property
    def n_folds(self) -> int:
        """Number of outer folds that are used."""
        return len({cell.fold.index for cell in self.planned})


def experiment_result(
    plan: Plan, rows: Sequence[DiceRow], costs: Sequence[ArmCost], *, complete: bool
) -> ExperimentResult:
    """Means, paired comparisons and notes over the rows there are so far."""
    config, manifest = plan.config, plan.manifest
    seed = SeedTree(0).child("statistics")
    return ExperimentResult(
        dataset=manifest.name,
        dataset_sha256=manifest.content_sha256,
        classes=manifest.classes,
        baseline=config.baseline,
        arms=tuple(arm.name for arm in config.arms),
        complete=complete,
        rows=tuple(rows),
        comparisons=compare(rows, config.baseline, manifest.classes, seed.child("compare")),
        costs=tuple(costs),
        scores=summarise(rows, manifest.classes, seed.child("summarise")),
        limit_class=config.limit_class,
        cells_done=len(costs),
        cells_planned=len(plan.planned),
        notes=(*_notes(plan, rows), *_search_notes(costs)),
        licences=tuple(sorted({record.licence for record in manifest.cases if record.licence})),
    )


def _notes(plan: Plan, rows: Sequence[DiceRow]) -> tuple[str, ...]:
    """What a reader has to know to judge the figures."""
    notes: list[str] = []
    for name in plan.manifest.classes:
        patients = {row.patient_id for row in rows if row.class_name == name and row.dice is not None}
        if not patients and rows:
            notes.append(f"No scored patient carries {name}: it has no Dice.")
        elif rows and len(patients) < FEWEST_PATIENTS:
            notes.append(
                f"Only {len(patients)} scored patients carry {name}: its comparisons are inconclusive."
            )
    held_out = {patient for cell in plan.planned for patient in cell.fold.held_out}
    trained = {patient for cell in plan.planned for patient in cell.fold.train}
    untested = len(trained - held_out)
    if untested:
        notes.append(f"{len(held_out)} patients were held out; {untested} were only trained on.")
    if len(plan.config.seeds) == 1:
        notes.append("One seed: the spread between trainings is not measured.")
    return tuple(notes)


def _search_notes(costs: Sequence[ArmCost]) -> tuple[str, ...]:
    """Which arms had a choice that the others had not."""
    spent: dict[str, list[int]] = {}
    for cost in costs:
        if cost.search_steps:
            spent.setdefault(cost.arm, []).append(cost.search_steps)
    return tuple(
        f"{arm} took {sum(steps) // len(steps)} further steps a training to choose its augmentation on an inner fold of "
        "the training patients; the other arms used theirs as set."
        for arm, steps in spent.items()
    )
