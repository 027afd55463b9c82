"""An experiment on its dataset: all of its cells, those of this call, and which of them are done."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from medaug.core.errors import ConfigError
from medaug.core.results import ExperimentContext
from medaug.core.runs import finished
from medaug.core.storage import sha256_text
from medaug.experiments.cell import ROWS, CellConfig, CellResult
from medaug.experiments.design import (
    Cell,
    ExperimentConfig,
    SplitDataset,
    TrainingSubset,
    cells,
    classes_to_draw,
    training_subset,
)
from medaug.experiments.outcome import Plan

CELLS, CELL_STEP = "cells", "experiment cell"


@final
@dataclass(frozen=True, slots=True)
class Shard:
    """One of several calls that divide an experiment among them, from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/4``.

        Raises:
            ConfigError: If it is no such thing.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"{text!r} is no shard", where="--shard", expected="I/N with I from 1 to N")
        return cls(int(found[1]), int(found[2]))

    def of(self, planned: Sequence[Cell]) -> tuple[Cell, ...]:
        """Every n-th training subset, so that its generators are fitted here alone; every n-th cell if those are few.

        Raises:
            ConfigError: If there are fewer cells than shards.
        """
        if len(planned) < self.count:
            raise ConfigError(
                f"{len(planned)} trainings cannot be shared by {self.count}",
                where="--shard",
                hint="use fewer shards",
            )
        scopes = list(dict.fromkeys(cell.scope for cell in planned))
        mine = scopes[self.number - 1 :: self.count]
        if len(scopes) < self.count:
            return tuple(planned[self.number - 1 :: self.count])
        return tuple(cell for cell in planned if cell.scope in mine)


@final
@dataclass(frozen=True, slots=True)
class Study:
    """What every process that works on an experiment has to know.

    Attributes:
        config: The experiment.
        dataset: The dataset and its folds.
        plan: The same for whoever has only the run folder.
        planned: All cells.
        mine: Those of this call, in the order in which they are run.
        subsets: The training subset of each scope.
        drawn: Classes that synthetic lesions have.
    """

    config: ExperimentConfig
    dataset: SplitDataset
    plan: Plan
    planned: tuple[Cell, ...]
    mine: tuple[Cell, ...]
    subsets: Mapping[str, TrainingSubset]
    drawn: tuple[str, ...]


def plan_study(
    config: ExperimentConfig, dataset: SplitDataset, context: ExperimentContext, shard: Shard | None = None
) -> Study:
    """Every error of the design, before any work.

    Raises:
        ConfigError: If a fold or class does not exist, or there are more shards than cells.
        DataError: If a training subset cannot be made.
    """
    manifest = dataset.manifest
    planned = cells(config, dataset)
    drawn = classes_to_draw(config, manifest.classes)
    subsets = {
        cell.scope: training_subset(manifest, cell.fold, config.limit_class, cell.n_annotated)
        for cell in planned[:: len(config.arms)]
    }
    plan = Plan(config, context, manifest.content_sha256)
    return Study(config, dataset, plan, planned, shard.of(planned) if shard else planned, subsets, drawn)


@final
class Ledger:
    """Which cells of a run folder are done, by whomever; a cell that is done stays so.

    Raises:
        ConfigError: If a cell lies there that was run on other data or with other settings.
    """

    def __init__(self, study: Study, path: Path) -> None:
        self._study, self._path = study, path
        self._asked = {cell.name: identity(study, cell) for cell in study.planned}
        self._done: dict[str, CellResult] = {}
        self.look()

    def look(self) -> None:
        """Read what was finished since."""
        for name, (asked, inputs) in self._asked.items():
            folder = self._path / CELLS / name
            if name not in self._done and finished(folder, CELL_STEP, asked, inputs):
                self._done[name] = CellResult.read(folder / ROWS)

    def identity(self, cell: Cell) -> tuple[CellConfig, dict[str, str]]:
        """What identifies a cell: its settings, and the hashes of what it may see."""
        return self._asked[cell.name]

    @property
    def results(self) -> Mapping[str, CellResult]:
        """Of the cells that are done, in the order of the plan."""
        return {cell.name: self._done[cell.name] for cell in self._study.planned if cell.name in self._done}

    @property
    def pending(self) -> tuple[Cell, ...]:
        """Cells of this call that are not done."""
        return tuple(cell for cell in self._study.mine if cell.name not in self._done)


def identity(study: Study, cell: Cell) -> tuple[CellConfig, dict[str, str]]:
    """What identifies a cell: its settings, and the hashes of what it may see."""
    asked = CellConfig(
        arm=cell.arm,
        task=study.config.task,
        limit_class=study.config.limit_class,
        n_annotated=cell.n_annotated,
        fold=cell.fold.index,
        seed=cell.seed,
        surface_tolerance_mm=cell.surface_tolerance_mm,
    )
    held_out = sha256_text("\n".join(sorted(cell.fold.held_out)))
    subset = study.subsets[cell.scope].sha256
    dataset = study.dataset.manifest.content_sha256
    return asked, {"dataset": dataset, "subset": subset, "held_out": held_out}
