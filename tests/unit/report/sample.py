"""A finished experiment in memory, with tiles."""

from __future__ import annotations

import numpy as np

from medaug.core.gallery import Tile, TileFacts, TileKind
from medaug.core.results import (
    ArmCost,
    ArmScore,
    ClassCount,
    Comparison,
    DiceRow,
    ExperimentContext,
    ExperimentResult,
    FindingCount,
)
from medaug.core.runs import RunRecord

ARMS = ("real", "classical", "cgan")
CLASSES = ("solid", "ground_glass")


def comparison(
    arm: str, name: str, difference: float, verdict: str = "no evidence", n: int = 8
) -> Comparison:
    return Comparison.model_validate(
        {
            "arm": arm,
            "baseline": "classical",
            "n_annotated": 8,
            "class": name,
            "mean_difference": difference,
            "ci_low": difference - 0.04,
            "ci_high": difference + 0.04,
            "p": 0.02,
            "p_holm": 0.03,
            "n_patients": n,
            "mde": 0.061,
            "verdict": verdict,
        }
    )


def result(*comparisons: Comparison, complete: bool = True) -> ExperimentResult:
    rows = tuple(
        DiceRow(
            arm=arm,
            n_annotated=8,
            fold=0,
            seed=0,
            case_id=f"c{n}",
            patient_id=f"p{n}",
            class_name=name,
            dice=0.1 * n,
        )
        for arm in ARMS
        for name in CLASSES
        for n in range(8)
    )
    scores = tuple(
        ArmScore(
            arm=arm,
            n_annotated=8,
            class_name=name,
            mean_dice=0.35,
            ci_low=0.2,
            ci_high=0.5,
            n_patients=8,
            false_positive_voxels=0,
            n_empty=0,
        )
        for arm in ARMS
        for name in CLASSES
    )
    costs = tuple(
        ArmCost(
            arm=arm,
            n_annotated=8,
            fold=0,
            seed=0,
            optimiser_steps=1200,
            patch_size=(64, 64),
            lesion_patch_share=0.67,
            synthetic_patch_share=0.5 if arm == "cgan" else 0.0,
            seconds=10.0,
        )
        for arm in ARMS
    )
    return ExperimentResult(
        dataset="lungs <A&B>",
        dataset_sha256="0" * 64,
        classes=CLASSES,
        baseline="classical",
        arms=ARMS,
        complete=complete,
        rows=rows,
        comparisons=comparisons
        or (comparison("real", "solid", -0.2, "harm"), comparison("cgan", "ground_glass", 0.02)),
        costs=costs,
        scores=scores,
        limit_class="ground_glass",
        cells_done=2 if not complete else 3,
        cells_planned=3,
        notes=("One seed: the spread between trainings is not measured.",),
        licences=("CC BY 4.0",),
    )


def tile(kind: TileKind, arm: str, dice: float | None = None, case_id: str = "c1") -> Tile:
    image = np.arange(48 * 40, dtype=np.uint32).reshape(48, 40).astype(np.uint8)
    reference = np.zeros((48, 40), dtype=np.uint8)
    reference[10:20, 12:22] = 1
    prediction = np.roll(reference, 3, axis=1) if kind == "test" else np.zeros_like(reference)
    return Tile(TileFacts(kind, arm, case_id, "ground_glass", 8, dice), image, reference, prediction)


TILES = (
    *(tile("test", arm, dice, f"c{n}") for arm in ARMS for n, dice in enumerate((0.9, 0.1, 0.5))),
    tile("real", ""),
    tile("synthetic", "cgan"),
)
RECORD = RunRecord(
    step="experiment",
    status="done",
    config={"name": "trial", "seeds": [0]},
    inputs={"dataset": "a" * 64},
    environment={"torch": "2.13.0"},
    started=1_700_000_000.0,
)
CONTEXT = ExperimentContext(
    name="trial",
    command="medaug experiment lungs --config trial.yaml --out trial",
    n_cases=30,
    n_patients=20,
    classes=tuple(ClassCount(class_name=name, cases=10, patients=9, scored_patients=8) for name in CLASSES),
    findings=(FindingCount(code="flipped-axes", severity="fixed", count=4),),
    checks=("Only held-out patients were scored.",),
    licences=("CC BY 4.0",),
    terms=("no resale",),
)
