"""``medaug train``: a task on the training patients of one fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, final

import numpy as np
from pydantic import Field

from medaug.core.case import AUGMENTATIONS, Case, CaseRecord, CaseSource, Manifest, read_manifest
from medaug.core.config import Frozen, load_yaml
from medaug.core.errors import ConfigError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.plan import Recipe
from medaug.core.runs import Progress, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, guard_training, read_splits
from medaug.core.storage import require_free_space
from medaug.core.summary import Summary
from medaug.core.synthetic import SyntheticSet, read_synthetic
from medaug.engine.launch import Team, joined, own_folder, shared
from medaug.engine.stored_source import StoredSource
from medaug.io.dataset import load_case
from medaug.tasks.base import REPORT, FitReport, TaskConfig, TrainingData, parse_task
from medaug.transforms import Journal
from medaug.transforms.base import LearntConfig, TransformConfig, parse_transforms
from medaug.workflows.policy import Basis, check_packages, choose

STEP = "train"
_KEEP = "synthetic.keep"
_RUN_BYTES = 256 << 20  # checkpoint with optimiser state, weights and log of the largest preset


@final
class SyntheticChoice(Frozen):
    """Which cases of a synthetic set are learnt from."""

    keep: str | None = Field(
        default=None, description="rule over the scores of an assessment, as for `medaug filter`"
    )


@final
class TrainConfig(Frozen):
    """The YAML file of ``--config``."""

    task: dict[str, object] = Field(description="kind and settings of a file in medaug/tasks")
    transforms: dict[str, object] = Field(
        default={"kind": "classical"}, description="kind and settings of a file in medaug/transforms"
    )
    record_augmentations: bool = Field(
        default=False, description="write what was drawn for every patch to augmentations.jsonl"
    )
    synthetic: SyntheticChoice = SyntheticChoice()


@final
class TrainSettings(Frozen):
    """What makes a training the same training; all defaults written out, no path."""

    task: dict[str, object]
    transforms: dict[str, object]
    record_augmentations: bool
    fold: int
    seed: int


@final
class TrainOptions(Frozen):
    """Options of `medaug train`."""

    dataset: Path
    config: Path = Field(description="YAML file with task and transforms")
    out: Path
    fold: int = 0
    seed: int = 0
    device: str = "auto"
    synthetic: Path | None = Field(default=None, description="folder that `medaug synthesize` wrote")
    assessment: Path | None = Field(
        default=None, description="folder of `medaug assess` for that set; for synthetic.keep"
    )


@final
class TrainSummary(Summary):
    """What was trained."""

    out: Path
    fold: int
    n_cases: int
    n_patients: int
    n_synthetic: int
    n_left_out: int = Field(default=0, description="synthetic cases that broke the rule")
    keep: str | None = Field(default=None, description="that rule")
    report: FitReport
    skipped: bool = Field(description="the run folder held this training already")

    def lines(self) -> tuple[str, ...]:
        """The training in short lines."""
        patch = " x ".join(str(n) for n in self.report.patch_size)
        synthetic = f" and {self.n_synthetic} synthetic cases" if self.n_synthetic else ""
        synthetic += f" ({self.n_left_out} left out)" if self.n_left_out else ""
        done = "trained before, nothing to do" if self.skipped else f"trained in {self.report.seconds:.0f} s"
        shares = f"{self.report.lesion_patch_share:.0%} held a lesion, {self.report.synthetic_patch_share:.0%} synthetic"
        return (
            f"fold {self.fold}: {self.n_cases} cases of {self.n_patients} patients{synthetic}, {done}",
            f"{self.report.steps} steps, patches of {patch}; {shares}",
            f"model and plan.json in {self.out}",
            "the held-out patients are not scored yet: `medaug predict`, then `medaug evaluate`",
        )


def train(options: TrainOptions, progress: Progress) -> TrainSummary:
    """Train a task on a fold's training patients and leave the model in a run folder; ``torchrun`` shares the batches.

    Raises:
        ConfigError: If the configuration is wrong, the fold is not there, ``out`` holds another run, several processes
            are to train what one alone can, or a rule comes without a set or an assessment.
        DependencyError: If the augmentation is learnt and the package for that is missing.
        DataError: If no training case is labelled, there is no lesion, a class is missing, the assessment is of another
            set, or no synthetic case is kept.
        SplitLeakageError: If a synthetic case has a host or donor outside the training patients.
        TrainingError: If the training diverges.
        StorageError: If the disk is too full.
    """
    with joined() as team, own_folder(options.out, team) as folder:
        summarise = _train(options.model_copy(update={"out": folder}), progress, team)
        return cast(TrainSummary, shared(summarise() if team.leads else None))


def _train(options: TrainOptions, progress: Progress, team: Team) -> Callable[[], TrainSummary]:
    """Train; returns what tells the summary."""
    config = load_yaml(options.config, TrainConfig)
    task, transforms = parse_task(config.task), parse_transforms(config.transforms)
    if team.size > 1:
        _check_shared(task, transforms)
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    records = _labelled(manifest.of_patients(frozenset(fold.train)))
    guard_training(records, fold)
    synthetic, left_out = _synthetic(options, config.synthetic, manifest, fold)
    settings = TrainSettings(
        task=task.model_dump(mode="json"),
        transforms=transforms.model_dump(mode="json"),
        record_augmentations=config.record_augmentations,
        fold=options.fold,
        seed=options.seed,
    )
    inputs = {"dataset": manifest.content_sha256, "fold": fold.scope_sha256}
    inputs |= {} if synthetic is None else {"synthetic": synthetic.manifest.content_sha256}
    skipped = shared(finished(options.out, STEP, settings, inputs))
    if not skipped:
        require_free_space(options.out, _RUN_BYTES)
        check_packages(transforms)
        built = task.build(options.device)
        data = _training_data(options, manifest, records, synthetic, progress)
        basis = Basis(data, fold, manifest.modality, task, options.device)
        with open_run(options.out, STEP, settings, inputs) as run:
            if left_out:
                run.log("left out", cases=left_out, rule=config.synthetic.keep or "")
            seed = SeedTree(options.seed).child("train", options.fold)
            augment = choose(transforms, basis, run, progress, seed).augment
            if config.record_augmentations:
                augment = Journal(augment, run.path / AUGMENTATIONS)
            built.fit(data, augment, run, progress, seed)
    return lambda: TrainSummary(
        out=options.out,
        fold=options.fold,
        n_cases=len(records),
        n_patients=len({record.patient_id for record in records}),
        n_synthetic=0 if synthetic is None else len(_labelled(synthetic.manifest.cases)),
        n_left_out=left_out,
        keep=config.synthetic.keep,
        report=FitReport.read(options.out / REPORT),
        skipped=skipped,
    )


def _check_shared(task: TaskConfig, transforms: TransformConfig) -> None:
    """Refuse several processes where one alone can learn the task or the augmentation."""
    if not task.shares_batches or isinstance(transforms, LearntConfig):
        what = transforms.kind if task.shares_batches else task.kind
        raise ConfigError(
            f"{what} is learnt by one process", where="torchrun", hint="run `medaug train` alone"
        )


def _labelled(records: Sequence[CaseRecord]) -> tuple[CaseRecord, ...]:
    return tuple(record for record in records if record.label is not None)


def _synthetic(
    options: TrainOptions, choice: SyntheticChoice, manifest: Manifest, fold: Fold
) -> tuple[SyntheticSet | None, int]:
    """The synthetic cases that are learnt from, and how many were left out."""
    _check_choice(options, choice)
    if options.synthetic is None:
        return None, 0
    synthetic = read_synthetic(options.synthetic, manifest, where="--synthetic")
    synthetic.guard(fold)
    if choice.keep is None or options.assessment is None:
        return synthetic, 0
    broken = synthetic.broken(choice.keep, options.assessment, where=_KEEP, fold=fold)
    return synthetic.without(one.case_id for one in broken), len(broken)


def _check_choice(options: TrainOptions, choice: SyntheticChoice) -> None:
    """Refuse a rule, an assessment and a set that do not come together."""
    if choice.keep is not None and options.synthetic is None:
        raise ConfigError("speaks of no set", where=_KEEP, hint="name one with --synthetic, or leave it out")
    if choice.keep is not None and options.assessment is None:
        hint = "name the folder of `medaug assess` with --assessment"
        raise ConfigError("rests on the scores of an assessment", where=_KEEP, hint=hint)
    if choice.keep is None and options.assessment is not None:
        raise ConfigError(f"goes with {_KEEP} alone", where="--assessment", hint="leave it out")


def _training_data(
    options: TrainOptions,
    manifest: Manifest,
    records: Sequence[CaseRecord],
    synthetic: SyntheticSet | None,
    progress: Progress,
) -> TrainingData:
    if not records:
        raise DataError(
            f"no training patient of fold {options.fold} has a label", hint="choose another fold or annotate"
        )
    cases = _load(options.dataset, manifest, records, progress)
    scheme = IntensityScheme.for_volume(cases[0].volume)
    source: CaseSource | None = None
    if synthetic is not None:
        made = _load(synthetic.folder, synthetic.manifest, _labelled(synthetic.manifest.cases), progress)
        drawn = _as_drawn(made, synthetic.recipes)
        source = StoredSource(drawn, scheme, frozenset(synthetic.manifest.patient_ids))
    return TrainingData(cases, manifest.classes, scheme, source)


def _as_drawn(
    cases: Sequence[Case], recipes: Sequence[Recipe]
) -> tuple[tuple[Case, tuple[str | None, ...]], ...]:
    """The cases with the place and class of their new lesion, as their recipes tell it.

    Other tools' sets tell neither: such a case stands for every class that it holds.
    """
    told = {recipe.case_id: recipe for recipe in recipes}
    drawn: list[tuple[Case, tuple[str | None, ...]]] = []
    for case in cases:
        recipe = told.get(case.case_id)
        if recipe is None:
            drawn.append((case, _held(case)))
        else:
            site = case.volume.grid.nearest_voxel(recipe.site_mm)
            drawn.append((replace(case, site=site), (None if recipe.use == "null" else recipe.class_name,)))
    return tuple(drawn)


def _held(case: Case) -> tuple[str, ...]:
    """Classes of which the case has a lesion."""
    if case.label_map is None:
        return ()
    names, labels = case.label_map.class_names, case.label_map.labels
    return tuple(names[number - 1] for number in np.unique(labels).tolist() if number)


def _load(
    dataset: Path, manifest: Manifest, records: Sequence[CaseRecord], progress: Progress
) -> tuple[Case, ...]:
    progress.start("read cases", len(records))
    cases = []
    for record in records:
        cases.append(load_case(dataset, record, manifest.classes))
        progress.advance()
    return tuple(cases)
