"""A tiny dataset folder with folds, and a run trained on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medaug.core.case import RECIPES, SPLITS, Case, Manifest, Origin, read_manifest
from medaug.core.geometry import Grid
from medaug.core.plan import Recipe, write_lines
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, Splits
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.workflows.train import TrainOptions, TrainSummary, train
from tests.unit.tasks.cases import CLASSES, make_case

PATIENTS = tuple(f"patient_{n:03d}" for n in range(6))
CONFIG = """\
task:
  kind: segmentation
  patch_size: [16, 16]
  batch_size: 2
  steps: 2
  base_channels: 4
  levels: 2
transforms: {kind: none}
"""


def write_dataset(folder: Path, cases: list[Case], *, fold: Fold | None = None) -> Manifest:
    """A dataset folder with one fold: the last two patients are held out."""
    records = [write_case(folder, case, CaseFacts(modality="MR")) for case in cases]
    finish_dataset(folder, Manifest(name=folder.name, classes=CLASSES, cases=tuple(records)), ())
    manifest = read_manifest(folder)
    fold = fold or Fold(index=0, train=PATIENTS[:4], held_out=PATIENTS[4:])
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=(fold,)).write(folder / SPLITS)
    return manifest


def some_cases(count: int = 6, *, unit: Unit = Unit.ARBITRARY) -> list[Case]:
    """Labelled cases of one patient each."""
    return [make_case(n, shape=(16, 18, 3), unit=unit) for n in range(count)]


def write_synthetic(folder: Path, patient: str, donor: str, scope: str, *, fold: int = 0) -> None:
    """A set of one synthetic case, with its recipe."""
    case = replace(
        make_case(9, shape=(16, 18, 3)), case_id="syn_000", patient_id=patient, origin=Origin.SYNTHETIC
    )
    write_dataset(folder, [case])
    recipe = Recipe(
        case_id="syn_000", host_case_id="case_003", host_patient_id=patient, donor_patient_ids=(donor,),
        generator="copy_paste", generator_sha256="0" * 64, bank_sha256="0" * 64, fold=fold, training_scope_sha256=scope,
        class_name="dim", site_mm=(0, 0, 0), diameter_mm=3, seed=0, edit_mask="edits/syn_000.nii.gz",
    )  # fmt: skip
    write_lines(folder / RECIPES, (recipe,))


def trained(folder: Path, *, unit: Unit = Unit.ARBITRARY, config: str = CONFIG) -> TrainSummary:
    """``folder/set`` and, trained on it, ``folder/run``."""
    if not (folder / "set").exists():
        write_dataset(folder / "set", some_cases(unit=unit))
    return train(options(folder, config), NoProgress())


def options(folder: Path, config: str = CONFIG, **changes: Path | int) -> TrainOptions:
    """Options of the tiny training."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(config)
    asked = {
        "dataset": folder / "set",
        "config": folder / "config.yaml",
        "out": folder / "run",
        "device": "cpu",
    }
    return TrainOptions.model_validate(asked | changes)


def two_channels(case: Case) -> Case:
    """The case with a second channel, the first one negated."""
    volume = case.volume
    image = volume.image.repeat(2, axis=0)
    image[1] *= -1
    return replace(case, volume=Volume(image, volume.grid, volume.unit, ("T1", "FLAIR")))


def on_grid(case: Case, grid: Grid) -> Case:
    """The same voxels elsewhere."""
    volume = replace(case.volume, grid=grid)
    label_map = None if case.label_map is None else LabelMap(case.label_map.labels, grid, CLASSES)
    return replace(case, volume=volume, label_map=label_map)
