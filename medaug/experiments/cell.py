"""One cell of an experiment: train, predict the held-out cases, score them, keep a few tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, final

from medaug.core.case import Case, CaseRecord, CaseSource
from medaug.core.config import Document, Frozen
from medaug.core.gallery import GALLERY, Tile, TileFacts, cut_tile, write_tiles
from medaug.core.results import ArmCost, DiceRow
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, guard_donors, guard_evaluation, guard_training
from medaug.core.volume import Prediction, Volume
from medaug.experiments.design import Arm, Cell, Settings, TrainingSubset
from medaug.metrics.scoring import Scored, Terms, reference_of, score_case

ROWS = "rows.json"
_TILES_A_CLASS = 3


@final
@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained model with the figures that fairness is checked by.

    Attributes:
        predict: From an image to class ids on its grid, with their probabilities where known.
        optimiser_steps: Steps taken.
        patch_size: Voxels a side of a training patch.
        lesion_patch_share: Share of training patches with a lesion.
        synthetic_patch_share: Share of training patches from a synthetic case.
        seconds: Of training, in all calls.
        search_steps: Steps taken before, to choose the augmentation.
        class_patch_shares: Share of training patches with each class; empty where it was not counted.
    """

    predict: Callable[[Volume], Prediction]
    optimiser_steps: int
    patch_size: tuple[int, ...]
    lesion_patch_share: float
    synthetic_patch_share: float
    seconds: float
    search_steps: int = 0
    class_patch_shares: Mapping[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What an arm may be trained on.

    Attributes:
        fold: Its training patients are those of the subset.
        cases: Theirs.
        source: Streams synthetic cases; None for arms without a generator.
    """

    fold: Fold
    cases: Sequence[Case]
    source: CaseSource | None


class Trainer(Protocol):
    """What a cell needs of other rooms."""

    def load(self, record: CaseRecord) -> Case:
        """Read one case."""
        ...

    def train(self, arm: Arm, material: Material, run: RunDir, progress: Progress, seed: SeedTree) -> Trained:
        """Train one arm on its material, going on with what lies in the run folder; ``seed`` is all its randomness."""
        ...


@final
class CellConfig(Frozen):
    """What makes a cell the same cell."""

    arm: Arm
    task: Settings
    limit_class: str | None
    n_annotated: int | None
    fold: int
    seed: int
    surface_tolerance_mm: float


@final
class CellResult(Document):
    """``rows.json`` of a cell."""

    rows: tuple[DiceRow, ...]
    cost: ArmCost


@final
@dataclass(frozen=True, slots=True, eq=False)
class CellInputs:
    """What a cell works on.

    Attributes:
        subset: The training cases allowed.
        material: The same, in memory, and what streams synthetic ones.
        test_records: The held-out cases.
    """

    subset: TrainingSubset
    material: Material
    test_records: Sequence[CaseRecord]


def run_cell(cell: Cell, inputs: CellInputs, trainer: Trainer, run: RunDir, progress: Progress) -> CellResult:
    """Train and score one cell, and write ``rows.json`` and the tiles into its run folder.

    Raises:
        SplitLeakageError: If a training case, a donor or a test case stands on the wrong side of the fold.
    """
    guard_training(inputs.subset.records, cell.fold)
    source = inputs.material.source
    if source is not None:
        guard_donors(source.donor_patient_ids, inputs.subset.fold, where=f"arm {cell.arm.name}")
    guard_evaluation(inputs.test_records, cell.fold)
    trained = trainer.train(cell.arm, inputs.material, run, progress, first_seed(cell))
    rows: list[DiceRow] = []
    tiles: list[Tile] = []
    progress.start(f"scoring {cell.arm.name}", len(inputs.test_records))
    for record in inputs.test_records:
        case = trainer.load(record)
        prediction = trained.predict(case.volume)
        scored = score(cell, case, prediction)
        rows += scored
        tiles += _tiles(cell, case, prediction, scored)
        progress.advance(1)
    write_tiles(run.path / GALLERY, _worst_median_best(tiles))
    result = CellResult(rows=tuple(rows), cost=_cost(cell, inputs, trained))
    result.write(run.path / ROWS)
    return result


def first_seed(cell: Cell) -> SeedTree:
    """All randomness of a training; without the arm's name, so that arms share first weights and real patches."""
    return SeedTree(cell.seed).child("experiment", cell.scope)


def score(cell: Cell, case: Case, prediction: Prediction) -> tuple[DiceRow, ...]:
    """The rows of one held-out case, one a class."""
    of = Scored(cell.arm.name, cell.n_annotated, cell.fold.index, cell.seed, case.case_id, case.patient_id)
    terms = Terms(case.volume.spacing_known, cell.surface_tolerance_mm)
    return score_case(of, prediction, reference_of(case), terms)


def _tiles(cell: Cell, case: Case, prediction: Prediction, rows: Sequence[DiceRow]) -> list[Tile]:
    reference = reference_of(case)
    return [
        cut_tile(
            case,
            TileFacts("test", cell.arm.name, case.case_id, row.class_name, cell.n_annotated, row.dice),
            reference.mask(row.class_name),
            prediction.label_map.mask(row.class_name),
        )
        for row in rows
        if row.dice is not None
    ]


def _worst_median_best(tiles: Sequence[Tile]) -> list[Tile]:
    """Three tiles a class; the rest is not kept."""
    kept: list[Tile] = []
    for name in dict.fromkeys(tile.facts.class_name for tile in tiles):
        ranked = sorted((t for t in tiles if t.facts.class_name == name), key=lambda t: t.facts.dice or 0.0)
        chosen = (
            sorted({0, len(ranked) // 2, len(ranked) - 1})
            if len(ranked) >= _TILES_A_CLASS
            else range(len(ranked))
        )
        kept += [ranked[n] for n in chosen]
    return kept


def _cost(cell: Cell, inputs: CellInputs, trained: Trained) -> ArmCost:
    return ArmCost(
        arm=cell.arm.name,
        n_annotated=cell.n_annotated,
        fold=cell.fold.index,
        seed=cell.seed,
        optimiser_steps=trained.optimiser_steps,
        patch_size=trained.patch_size,
        lesion_patch_share=trained.lesion_patch_share,
        synthetic_patch_share=trained.synthetic_patch_share,
        training_cases=len(inputs.subset.records),
        training_patients=len(inputs.subset.fold.train),
        annotated_patients=inputs.subset.annotated_patients,
        class_patch_shares=dict(trained.class_patch_shares),
        first_seed=first_seed(cell).seed,
        seconds=trained.seconds,
        search_steps=trained.search_steps,
    )
