"""From the rows of the cells to ``results.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from medaug.core.results import ArmCost, Comparison, DiceRow, ExperimentContext, ExperimentResult
from medaug.core.seeding import SeedTree
from medaug.experiments.curves import annotated, curves, savings
from medaug.experiments.design import ExperimentConfig
from medaug.experiments.fairness import equal_terms, unequal_classes
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
    comparisons = compare(rows, question, seed)
    scores = summarise(rows, classes, seed)
    patients = annotated(costs)
    return ExperimentResult(
        dataset=plan.context.dataset,
        dataset_sha256=plan.dataset_sha256,
        classes=classes,
        baseline=config.baseline,
        arms=tuple(arm.name for arm in config.arms),
        complete=complete,
        rows=tuple(rows),
        comparisons=comparisons,
        costs=tuple(costs),
        scores=scores,
        limit_class=config.limit_class,
        cells_done=len(costs),
        cells_planned=len(plan.context.cells),
        notes=(
            *_notes(plan, rows),
            *_pair_notes(plan.config, comparisons),
            *(_gaps(rows, question) if complete else ()),
            *_search_notes(costs),
            *unequal_classes(costs),
        ),
        licences=plan.context.licences,
        curves=curves(scores, patients),
        savings=savings(rows, config.baseline, patients, seed),
        equal_terms=equal_terms(costs),
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


def _pair_notes(config: ExperimentConfig, comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """What was chosen before and what after the scores were seen, and which pairs cannot be told apart at all."""
    notes: list[str] = []
    if len(config.arms) > 2 and comparisons:
        notes.append(
            "Which arm is best was read off the same scores that judge it, so its lead is somewhat too large, unless the "
            "pair was named beforehand."
        )
    if config.comparisons:
        pairs = ", ".join(f"{arm} against {against}" for arm, against in config.comparisons)
        notes.append(f"Named in the configuration, before any score: {pairs}.")
    same: dict[tuple[str, str], bool] = {}
    for one in comparisons:
        pair = (one.arm, one.baseline)
        same[pair] = same.get(pair, True) and one.ci_low == one.ci_high == 0.0
    notes += [
        f"{arm} and {against} gave the same Dice in every patient: look whether they do anything different."
        for (arm, against), always in same.items()
        if always
    ]
    return tuple(notes)


def _gaps(rows: Sequence[DiceRow], question: Question) -> tuple[str, ...]:
    """Which pairs of a finished experiment are not scored on the same cases."""
    scored: dict[str, set[tuple[int | None, int, int, str, str]]] = {}
    for row in rows:
        if row.dice is not None:
            key = (row.n_annotated, row.fold, row.seed, row.case_id, row.class_name)
            scored.setdefault(row.arm, set()).add(key)
    others = ((arm, question.baseline) for arm in scored if arm != question.baseline)
    found = []
    for arm, against in (*others, *question.further):
        odd = len(scored.get(arm, set()) ^ scored.get(against, set()))
        if odd:
            found.append(
                f"{odd} scores of {arm} or {against} have no partner in the other: they are not compared."
            )
    return tuple(found)


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
