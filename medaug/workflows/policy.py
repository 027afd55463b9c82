"""The augmentation of a training: built from its settings, and learnt before where they say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from medaug.core.case import Case
from medaug.core.errors import ConfigError
from medaug.core.runs import NoProgress, Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.volume import Unit
from medaug.engine.augment import BatchAugment
from medaug.experiments.cell import Trained
from medaug.experiments.policy import Search, learn_policy
from medaug.tasks.base import FitReport, TaskConfig, TrainingData, load_model, parse_task, require_label_maps
from medaug.transforms.base import LearntConfig, TransformConfig


@final
@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """What an augmentation is chosen for.

    Attributes:
        data: Real training cases; a source of synthetic ones is left alone while a policy is learnt.
        fold: Its training patients are the only ones that may be looked at.
        modality: DICOM modality code of the images.
        task: What is trained.
        device: Where.
    """

    data: TrainingData
    fold: Fold
    modality: str
    task: TaskConfig
    device: str


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """An augmentation, ready to train with.

    Attributes:
        augment: What changes the batches.
        search_steps: Optimiser steps that were spent on choosing it.
    """

    augment: BatchAugment
    search_steps: int


def choose(
    transforms: TransformConfig, basis: Basis, run: RunDir, progress: Progress, seed: SeedTree
) -> Chosen:
    """The augmentation of a training; a policy is learnt inside the run folder, in the training patients alone.

    Raises:
        ConfigError: If the task cannot be trained for a share of its steps, or has no Dice to learn by.
        DependencyError: If the package of the search is missing.
        DataError: If there are too few patients to learn from.
        SplitLeakageError: If a case is of a patient who is not trained on.
    """
    unit, modality = basis.data.scheme.unit, basis.modality
    if not isinstance(transforms, LearntConfig):
        return Chosen(transforms.build(unit, modality), 0)
    require_label_maps(basis.task.model_dump(), "learning a policy")
    task = _shortened(basis.task, transforms.steps_share)
    steps = task.model_dump()["steps"]
    progress.say(
        f"learning an augmentation policy: {transforms.trials} trials of {steps} steps on an inner fold"
    )

    def train(transforms: TransformConfig, cases: Sequence[Case], run: RunDir, seed: SeedTree) -> Trained:
        data = replace(basis.data, cases=tuple(cases), source=None)
        augment = transforms.build(unit, modality)
        report = task.build(basis.device).fit(data, augment, run, NoProgress(), seed)
        return trained(report, run, basis.device)

    search = Search(transforms, unit, modality, basis.fold, basis.data.cases)
    learnt = learn_policy(search, train, run, progress, seed.child("policy"))
    return Chosen(learnt.transforms.build(unit, modality), learnt.report.steps)


def _shortened(task: TaskConfig, share: float) -> TaskConfig:
    """The task for a share of its steps.

    Raises:
        ConfigError: If the task knows no steps.
    """
    settings = task.model_dump(mode="json")
    steps = settings.get("steps")
    if not isinstance(steps, int):
        raise ConfigError(
            f"{task.kind} has no steps to train for a share of", where="task", hint="name a finished policy"
        )
    return parse_task(settings | {"steps": max(1, round(share * steps))})


def trained(report: FitReport, run: RunDir, device: str, search_steps: int = 0) -> Trained:
    """The model in a run folder with the figures of its training."""
    return Trained(
        load_model(run.path, device).predict_with_confidence,
        report.steps,
        report.patch_size,
        report.lesion_patch_share,
        report.synthetic_patch_share,
        report.seconds,
        search_steps,
        report.class_patch_shares,
    )


def starting(transforms: TransformConfig, unit: Unit, modality: str) -> TransformConfig:
    """The settings themselves, or the policy that their search begins with."""
    if not isinstance(transforms, LearntConfig):
        return transforms
    return transforms.policy(transforms.propose((), unit, modality, SeedTree(0)), unit, modality)


def check_packages(transforms: TransformConfig) -> None:
    """Raise DependencyError where learning needs a package that is missing: before hours of work, not after."""
    if isinstance(transforms, LearntConfig):
        transforms.check_packages()


def trainings(transforms: TransformConfig) -> float:
    """How many trainings one training with these settings amounts to: itself, and the trials of a search."""
    if not isinstance(transforms, LearntConfig):
        return 1.0
    return 1.0 + transforms.trials * transforms.steps_share
