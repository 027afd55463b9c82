"""What every task file offers: settings, training on cases, and a model that labels a volume or lists lesions.

A file ``medaug/tasks/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name and whose
``build(device)`` gives a :class:`Task`, and a module function ``load(run_path, device)`` that gives what that
task left in a run folder: a :class:`Model`, or, where the ``Config`` answers with lesions, a :class:`LesionModel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Literal, Protocol, cast, final

import numpy as np
from pydantic import Field

from medaug.core.candidates import ScoredLesion
from medaug.core.case import Case, CaseSource
from medaug.core.config import Document, Frozen, read_json
from medaug.core.errors import CheckpointError, ConfigError
from medaug.core.intensity import IntensityScheme
from medaug.core.plugins import load_plugin, parse_config
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Prediction, Probabilities, Volume
from medaug.engine.augment import BatchAugment

PLAN, WEIGHTS, REPORT = "plan.json", "model.pt", "fit.json"
TASK = "task.json"  # whose run it is, where the plan beside it is another task's
Answer = Literal["label maps", "lesions"]


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
    batch_size: int = Field(default=1, ge=1, description="patches of a step")
    lesion_patch_share: float = Field(description="measured share of training patches that held a lesion")
    synthetic_patch_share: float = Field(
        description="measured share of training patches from synthetic cases"
    )
    class_patch_shares: dict[str, float] = Field(
        default={}, description="measured share of training patches that held each class; empty: not counted"
    )
    seconds: float = Field(description="of all calls, where the training was interrupted")


class Model(Protocol):
    """A trained task that labels every voxel."""

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

    def probabilities(self, volume: Volume) -> Probabilities:
        """Of every class in every voxel, background first; they sum to 1.

        Raises:
            DataError: If unit or channels are not those of the training images.
        """
        ...


@final
class Ensemble:
    """Models that answer together: the mean of their probabilities decides.

    Raises:
        ConfigError: If classes, unit, channels or normalisation differ between them.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = tuple(models)
        for model in models[1:]:
            if model.classes != self.classes:
                raise ConfigError(
                    f"a run knows the classes {', '.join(model.classes)}", expected=", ".join(self.classes)
                )
            if model.scheme != self.scheme:
                raise ConfigError(f"a run takes {_words(model.scheme)}", expected=_words(self.scheme))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of label ids 1, 2, ... in order."""
        return self._models[0].classes

    @property
    def scheme(self) -> IntensityScheme:
        """Unit, channels and normalisation of the images they were trained on."""
        return self._models[0].scheme

    def predict(self, volume: Volume) -> LabelMap:
        """Label a whole volume; see :meth:`Model.predict`."""
        return self.predict_with_confidence(volume).label_map

    def predict_with_confidence(self, volume: Volume) -> Prediction:
        """The same with the mean probability of each label."""
        found = self.probabilities(volume)
        labels = found.argmax(axis=0).astype(np.uint8)
        return Prediction(LabelMap(labels, volume.grid, self.classes), found.max(axis=0))

    def probabilities(self, volume: Volume) -> Probabilities:
        """The mean over all models."""
        total = self._models[0].probabilities(volume)
        for model in self._models[1:]:
            total += model.probabilities(volume)
        total /= len(self._models)
        return total


def _words(scheme: IntensityScheme) -> str:
    maps = zip(scheme.channels, scheme.offset, scheme.factor, strict=True)
    return f"{scheme.unit}: {', '.join(f'{name} (x - {low:g}) / {by:g}' for name, low, by in maps)}"


class LesionModel(Protocol):
    """A trained task that answers with a list of lesions."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of label ids 1, 2, ... in order."""
        ...

    @property
    def scheme(self) -> IntensityScheme:
        """Unit, channels and normalisation of the images it was trained on."""
        ...

    @property
    def judges_given_lesions(self) -> bool:
        """Whether it judges the lesions of the case's label map, or finds lesions itself."""
        ...

    def judge(self, case: Case) -> tuple[ScoredLesion, ...]:
        """The lesions of a case, in the volume's space.

        Args:
            case: Its label map says which lesions to judge; a model that finds them itself never looks at it.

        Raises:
            DataError: If unit or channels are not those of the training images.
            LabelError: If lesions must be given and there is no label map.
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

    answer: ClassVar[Answer] = "label maps"
    kind: str
    shares_batches: ClassVar[bool] = False  # by the processes of `torchrun`

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


def require_label_maps(raw: Mapping[str, object], what: str) -> None:
    """Raise ConfigError where the settings are of a task without label maps, and so without a Dice.

    Args:
        raw: The task's settings.
        what: What rests on the Dice, as the subject of a sentence.
    """
    kind = raw.get("kind")
    if isinstance(kind, str) and _answer(load_plugin("tasks", kind)) != "label maps":
        hint = "use `medaug train`, `medaug predict` and `medaug evaluate` for it"
        raise ConfigError(f"{what} rests on the Dice, which {kind} has none of", where="task.kind", hint=hint)


def load_model(run_path: Path, device: str = "auto") -> Model:
    """The model that labels voxels, left by a task in a run folder.

    Raises:
        CheckpointError: If there is none, or it is damaged.
        ConfigError: If the device is not here, or the task answers with something else.
    """
    return cast(Model, _load(run_path, device, "label maps"))


def load_lesion_model(run_path: Path, device: str = "auto") -> LesionModel:
    """The model that lists lesions, left by a task in a run folder.

    Raises:
        CheckpointError: If there is none, or it is damaged.
        ConfigError: If the device is not here, or the task answers with something else.
    """
    return cast(LesionModel, _load(run_path, device, "lesions"))


def answer_of(run_path: Path) -> Answer:
    """What the model of a run folder answers with.

    Raises:
        CheckpointError: If there is no finished model.
    """
    return _module(run_path)[1]


def _load(run_path: Path, device: str, wanted: Answer) -> object:
    module, answer = _module(run_path)
    if answer != wanted:
        raise ConfigError(
            f"the task of {run_path} answers with {answer}", expected=f"one that gives {wanted}"
        )
    return cast(object, module.load(run_path, device))


def _module(run_path: Path) -> tuple[ModuleType, Answer]:
    """The file of the task whose model lies in a run folder, and what that answers with."""
    if not (run_path / PLAN).is_file() or not (run_path / WEIGHTS).is_file():
        hint = "run the same `medaug train` again; it goes on from where it stopped"
        raise CheckpointError(f"{run_path} holds no finished model", hint=hint)
    named = TASK if (run_path / TASK).is_file() else PLAN
    raw = read_json(run_path / named)
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if not isinstance(kind, str):
        raise CheckpointError(f"{named} in {run_path} names no task", hint="train again")
    module = load_plugin("tasks", kind)
    return module, _answer(module)


def _answer(module: ModuleType) -> Answer:
    config: type[TaskConfig] = module.Config
    return config.answer
