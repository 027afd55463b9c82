"""Runs the cells of one training subset: its cases are read once and its generators fitted once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from medaug.core.case import Case, CaseSource
from medaug.core.claims import Claims
from medaug.core.gallery import GALLERY, TileFacts, cut_tile, write_tiles
from medaug.core.runs import Progress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.storage import sha256_text
from medaug.core.volume import Mask
from medaug.experiments.bench import Predict, Prepared, Rates, Workbench
from medaug.experiments.cell import CellInputs, CellResult, Material, run_cell, score
from medaug.experiments.design import Arm, Cell, TrainingSubset, scored_records
from medaug.experiments.study import CELL_STEP, CELLS, Ledger, Study

SCOPES = "scopes"
_SAMPLES_A_CLASS = 6


def fit_claim(cell: Cell) -> str:
    """The claim on the fit of the generator that a cell needs; empty where it needs none."""
    if cell.arm.generator is None:
        return ""
    settings = json.dumps([cell.arm.generator, cell.arm.teacher], sort_keys=True)
    return f"fit_{cell.scope}_{sha256_text(settings)[:8]}"


@final
@dataclass(frozen=True, slots=True)
class SharedRun:
    """A run folder as one of the processes that share it sees it.

    Attributes:
        path: The run folder.
        claims: Of this process.
        progress: Told about every step.
    """

    path: Path
    claims: Claims
    progress: Progress


@final
class SubsetRunner:
    """The cells of one training subset."""

    def __init__(self, study: Study, bench: Workbench, shared: SharedRun, scope: str) -> None:
        self.scope = scope
        self._study, self._bench, self._shared = study, bench, shared
        self._subset: TrainingSubset = study.subsets[scope]
        self._cases = tuple(bench.load(record) for record in self._subset.records)
        self._folder = shared.path / SCOPES / scope

    def rates(self, cell: Cell) -> Rates:
        """What the parts of the experiment take here."""
        records = scored_records(self._study.dataset.manifest, cell.fold)
        ranked = sorted(records, key=lambda one: len(one.lesions))  # those with a lesion take longer

        def score_one(predict: Predict) -> None:
            for record in ranked[-1:]:
                case = self._bench.load(record)
                score(cell, case, predict(case.volume))

        return self._bench.rates(self._subset, self._cases, score_one)

    def work(self, cell: Cell, ledger: Ledger) -> CellResult:
        """Run a cell that this process holds.

        Raises:
            SplitLeakageError: If something would be trained and scored on both.
            TrainingError: If the training cannot go on.
        """
        self._keep_real()
        records = scored_records(self._study.dataset.manifest, cell.fold)
        material = Material(self._subset.fold, self._cases, self._source(cell))
        inputs = CellInputs(self._subset, material, records)
        asked, hashes = ledger.identity(cell)
        with open_run(self._shared.path / CELLS / cell.name, CELL_STEP, asked, hashes) as run:
            return run_cell(cell, inputs, self._bench, run, self._shared.progress)

    def _source(self, cell: Cell) -> CaseSource | None:
        if cell.arm.generator is None:
            return None
        with self._shared.claims.held(
            fit_claim(cell)
        ):  # one process fits, the others of this subset wait for it
            prepared = self._prepare(cell.arm)
            self._keep_synthetic(prepared)
        return prepared.source(cell.arm)

    def _prepare(self, arm: Arm) -> Prepared:
        return self._bench.prepare(arm, self._subset, self._cases, self._folder, self._shared.progress)

    def _keep_synthetic(self, prepared: Prepared) -> None:
        """Samples for the report, drawn apart from training."""
        path = self._folder / f"samples_{prepared.kind}" / GALLERY
        if path.is_file():
            return
        samples = prepared.samples(_SAMPLES_A_CLASS, SeedTree(0).child("samples", self.scope))
        tiles = [
            cut_tile(s.case, TileFacts("synthetic", prepared.kind, s.case.case_id, s.class_name), s.mask)
            for s in samples
        ]
        write_tiles(path, tiles)

    def _keep_real(self) -> None:
        """Real training lesions for the report, a random few of each class."""
        path = self._folder / "real" / GALLERY
        if path.is_file():
            return
        tiles = []
        for name in self._study.dataset.manifest.classes:
            shown = self._showing(name)
            tiles += [cut_tile(case, TileFacts("real", "", case.case_id, name), mask) for case, mask in shown]
        write_tiles(path, tiles)

    def _showing(self, class_name: str) -> Sequence[tuple[Case, Mask]]:
        """Random cases with a class, and where it is."""
        order = SeedTree(0).child("real", self.scope, class_name).rng().permutation(len(self._cases))
        mixed = (self._cases[n] for n in order)
        masks = ((case, case.label_map.mask(class_name)) for case in mixed if case.label_map is not None)
        return [(case, mask) for case, mask in masks if mask.any()][:_SAMPLES_A_CLASS]
