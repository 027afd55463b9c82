"""What every task file offers: settings, training on cases, and a model that labels a volume.

A file ``medaug/tasks/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name and whose
``build(device)`` gives a :class:`Task`, and a module function ``load(run_path, device)`` that gives the
:class:`Model` which that task left in a run folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast, final

from pydantic import Field

from medaug.core.case import Case, CaseSource
from medaug.core.config import Document, Frozen, read_json
from medaug.core.errors import CheckpointError, ConfigError
from medaug.core.intensity import IntensityScheme
from medaug.core.plugins import load_plugin, parse_config
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Prediction, Volume
from medaug.engine.augment import BatchAugment

PLAN, WEIGHTS, REPORT = "plan.json", "model.pt", "fit.json"


@final
@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What a task is trained on; the caller has made sure that it all belongs to training patients.

    Attributes:
        cases: Real cases; those without a label map are left out.
        classes: Names of label ids 1, 2, ... in order.
        scheme: How cases are normalised.
        source: Where synthetic cases come from, or None.
    """

    cases: tuple[Case, ...]
    classes: tuple[str, ...]
    scheme: IntensityScheme
    source: CaseSource | None = None


@final
class FitReport(Document):
    """``fit.json``: what a training took and what it was shown, so that arms can be compared fairly."""

    steps: int = Field(ge=0, description="optimiser steps")
    patch_size: tuple[int, ...]
    lesion_patch_share: float = Field(description="measured share of training patches that held a lesion")
    synthetic_patch_share: float = Field(
        description="measured share of training patches from synthetic cases"
    )
    seconds: float = Field(description="of the last, possibly resumed, call")


class Model(Protocol):
    """A trained task."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of label ids 1, 2, ... in order."""
        ...

    @property
    def scheme(self) -> IntensityScheme:
        """Unit, channels and normalisation of the images it was trained on."""
        ...

    def predict(self, volume: Volume) -> LabelMap:
        """Label a whole volume; the answer is on the volume's grid.

        Raises:
            DataError: If unit or channels are not those of the training images.
        """
        ...

    def predict_with_confidence(self, volume: Volume) -> Prediction:
        """The same labels, each with its probability.

        Raises:
            DataError: If unit or channels are not those of the training images.
        """
        ...


class Task(Protocol):
    """Something a model can be trained for."""

    kind: str

    def fit(
        self, data: TrainingData, augment: BatchAugment, run: RunDir, progress: Progress, seed: SeedTree
    ) -> FitReport:
        """Train inside an open run folder, going on from a checkpoint that lies there.

        Leaves ``plan.json``, ``model.pt`` and ``fit.json``; a run that holds all three is not trained again.

        Raises:
            DataError: If no case is labelled, there is no lesion, or a class is missing.
            TrainingError: If the loss diverges or the checkpoint is of another training.
        """
        ...


class TaskConfig(Frozen, ABC):
    """Settings of a task; the device is no setting, since it must not change what a run means."""

    kind: str

    @abstractmethod
    def build(self, device: str = "auto") -> Task:
        """The task, to be run on that device (see :func:`medaug.engine.launch.pick_device`)."""


def parse_task(raw: Mapping[str, object]) -> TaskConfig:
    """The settings that a mapping (a part of a YAML file) describes; its ``kind`` chooses the file.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown or out of range.
    """
    config = parse_config("tasks", raw)
    if not isinstance(config, TaskConfig):
        raise ConfigError(f"{raw['kind']} offers no task", where="tasks")
    return config


def load_model(run_path: Path, device: str = "auto") -> Model:
    """The model that a task left in a run folder.

    Raises:
        CheckpointError: If there is none, or it is damaged.
        ConfigError: If the device is not here.
    """
    if not (run_path / PLAN).is_file() or not (run_path / WEIGHTS).is_file():
        hint = "run the same `medaug train` again; it goes on from where it stopped"
        raise CheckpointError(f"{run_path.name} holds no finished model", hint=hint)
    raw = read_json(run_path / PLAN)
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if not isinstance(kind, str):
        raise CheckpointError(f"{PLAN} in {run_path.name} names no task", hint="train again")
    return cast(Model, load_plugin("tasks", kind).load(run_path, device))
