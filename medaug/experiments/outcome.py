"""From the rows of the cells to ``results.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from medaug.core.results import ArmCost, DiceRow, ExperimentContext, ExperimentResult
from medaug.core.seeding import SeedTree
from medaug.experiments.design import ExperimentConfig
from medaug.experiments.scores import summarise
from medaug.experiments.statistics import FEWEST_PATIENTS, Question, compare


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked, on what: as ``run.json`` and ``context.json`` of a run folder say it.

    Attributes:
        config: The experiment.
        context: The dataset and the design in figures, with the names of all cells.
        dataset_sha256: Content hash of the dataset.
    """

    config: ExperimentConfig
    context: ExperimentContext
    dataset_sha256: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The dataset's classes, in order."""
        return tuple(count.class_name for count in self.context.classes)


def experiment_result(
    plan: Plan, rows: Sequence[DiceRow], costs: Sequence[ArmCost], *, complete: bool
) -> ExperimentResult:
    """Means, paired comparisons and notes over the rows there are so far."""
    config, classes = plan.config, plan.classes
    seed = SeedTree(0).child("statistics")
    question = Question(config.baseline, config.comparisons, classes, config.limit_class)
    return ExperimentResult(
        dataset=plan.context.dataset,
        dataset_sha256=plan.dataset_sha256,
        classes=classes,
        baseline=config.baseline,
        arms=tuple(arm.name for arm in config.arms),
        complete=complete,
        rows=tuple(rows),
        comparisons=compare(rows, question, seed),
        costs=tuple(costs),
        scores=summarise(rows, classes, seed),
        limit_class=config.limit_class,
        cells_done=len(costs),
        cells_planned=len(plan.context.cells),
        notes=(*_notes(plan, rows), *_search_notes(costs)),
        licences=plan.context.licences,
    )


def _notes(plan: Plan, rows: Sequence[DiceRow]) -> tuple[str, ...]:
    """What a reader has to know to judge the figures."""
    notes: list[str] = []
    for name in plan.classes:
        patients = {row.patient_id for row in rows if row.class_name == name and row.dice is not None}
        if not patients and rows:
            notes.append(f"No scored patient carries {name}: it has no Dice.")
        elif rows and len(patients) < FEWEST_PATIENTS:
            notes.append(
                f"Only {len(patients)} scored patients carry {name}: its comparisons are inconclusive."
            )
    untested = plan.context.only_trained_patients
    if untested:
        notes.append(
            f"{plan.context.held_out_patients} patients were held out; {untested} were only trained on."
        )
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
