"""Classification: the class of a lesion whose place and outline are known, from a patch around it, in 2D or 3D."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import ClassVar, Literal, Self, final

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from medaug.core.candidates import ScoredLesion
from medaug.core.case import Case
from medaug.core.errors import CheckpointError, DataError, LabelError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.engine.augment import BatchAugment
from medaug.engine.checkpoint import load_checkpoint, save_checkpoint
from medaug.engine.launch import mixed_precision, pick_device
from medaug.engine.loop import CHECKPOINT, fit_loop
from medaug.lesions.candidates import Candidate
from medaug.lesions.parts import lesion_parts
from medaug.tasks._classification.learner import ClassificationLearner, LossKind
from medaug.tasks._classification.network import build_network, check_patch, initialise
from medaug.tasks._classification.planning import ClassificationPlan, NetworkKind, describe, plan_patch
from medaug.tasks._classification.sampling import (
    BatchMaker,
    CutLesion,
    LesionPool,
    SyntheticLesions,
    case_lesions,
    cut_lesion,
    shown,
)
from medaug.tasks._training.dealing import Dealing, Shares
from medaug.tasks._training.labels import checked_labels
from medaug.tasks._training.optimiser import build_optimiser, learning_rate, parameter_count
from medaug.tasks.base import PLAN, REPORT, WEIGHTS, Answer, FitReport, Task, TaskConfig, TrainingData
from medaug.tasks.segmentation import check_image


@final
class Config(TaskConfig):
    """Settings of classification."""

    answer: ClassVar[Answer] = "lesions"
    kind: Literal["classification"] = "classification"
    dims: Literal[2, 3] = Field(default=2, description="2: slices of a lesion; 3: whole lesions")
    network: NetworkKind = "resnet"
    patch_size: tuple[int, ...] | None = Field(
        default=None, description="I, J (, K); null: twice what nine of ten lesions measure"
    )
    shows_mask: bool = Field(
        default=True, description="the lesion's mask is a further channel: it tells which lesion is meant"
    )
    batch_size: int = Field(default=16, ge=2, description="batch norm needs two")
    steps: int = Field(default=600, ge=1)
    base_channels: int = Field(default=16, ge=2, description="of the first level")
    loss: LossKind = "cross_entropy"
    learning_rate: float = Field(default=2e-3, gt=0)
    schedule: Literal["poly", "cosine"] = "cosine"
    synthetic_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="of the patches of each class that a source of synthetic cases offers",
    )
    real_only_tail: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="last share of the steps without synthetic cases, after a linear fade",
    )
    flips_at_prediction: bool = Field(
        default=True, description="average over mirrored patches when predicting"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.patch_size is not None:
            if len(self.patch_size) != self.dims:
                raise ValueError(f"patch_size needs {self.dims} sizes for dims {self.dims}")
            check_patch(self.network, self.patch_size)
        return self

    def build(self, device: str = "auto") -> Task:
        """The task on that device."""
        return ClassificationTask(self, device)


@final
class ClassificationTask:
    """Trains a small network on patches around lesions, every class equally often."""

    kind = "classification"

    def __init__(self, config: Config, device: str = "auto") -> None:
        self._config, self._device = config, device

    def fit(
        self, data: TrainingData, augment: BatchAugment, run: RunDir, progress: Progress, seed: SeedTree
    ) -> FitReport:
        """Train; see :meth:`medaug.tasks.base.Task.fit`.

        Raises:
            ConfigError: If the augmentation mixes patches.
        """
        if (run.path / REPORT).is_file() and (run.path / WEIGHTS).is_file():
            return FitReport.read(run.path / REPORT)
        device, config = pick_device(self._device), self._config
        labelled = tuple(case for case in data.cases if case.label_map is not None)
        plan = _plan(config, labelled, data)
        pool = LesionPool(labelled, data.scheme, data.classes, plan.patch_size)
        plan.write(run.path / PLAN)
        network = _network(plan)
        initialise(network, torch.Generator().manual_seed(seed.child("weights").seed))
        network.to(device).train()
        rates = tuple(
            learning_rate(step, config.steps, config.learning_rate, config.schedule)
            for step in range(config.steps)
        )
        optimiser = build_optimiser(network, "adamw", config.learning_rate)
        batches = _batches(config, data, pool, augment, seed)
        learner = ClassificationLearner(network, optimiser, rates, batches, device, config.loss)
        seconds = fit_loop(
            learner, steps=config.steps, run=run, progress=progress, label="train classification"
        )
        return _leave(learner, network, plan, run, seconds)


def _plan(config: Config, labelled: tuple[Case, ...], data: TrainingData) -> ClassificationPlan:
    if not labelled:
        raise DataError("no training case has a label", hint="ingest label maps, or choose another fold")
    found = [
        (number, case.patient_id, part.box.shape)
        for case in labelled
        for part, number in case_lesions(checked_labels(case, data.classes))
    ]
    if not found:
        raise LabelError("no lesion in the training cases", hint="choose another fold or add annotations")
    patch = config.patch_size or plan_patch(np.array([shape for *_, shape in found]), config.dims)
    check_patch(config.network, patch)
    numbers = range(len(data.classes))
    plan = ClassificationPlan(
        summary=(),
        classes=data.classes,
        scheme=data.scheme,
        lesions_per_class=tuple(sum(number == n for number, *_ in found) for n in numbers),
        patients_per_class=tuple(len({who for number, who, _ in found if number == n}) for n in numbers),
        patch_size=patch,
        batch_size=config.batch_size,
        steps=config.steps,
        network=config.network,
        base_channels=config.base_channels,
        shows_mask=config.shows_mask,
        parameters=0,
        flips_at_prediction=config.flips_at_prediction,
    )
    plan = plan.model_copy(update={"parameters": parameter_count(_network(plan))})
    return plan.model_copy(update={"summary": describe(plan)})


def _network(plan: ClassificationPlan) -> nn.Module:
    channels = len(plan.scheme.channels) + plan.shows_mask
    return build_network(plan.network, len(plan.patch_size), channels, len(plan.classes), plan.base_channels)


def _batches(
    config: Config, data: TrainingData, pool: LesionPool, augment: BatchAugment, seed: SeedTree
) -> BatchMaker:
    source = None
    if data.source is not None:
        source = SyntheticLesions(data.source, data.scheme, data.classes, pool.size)
    drawn = () if data.source is None else data.source.classes
    shares = Shares(
        config.batch_size,
        lesion=1.0,
        synthetic=tuple(config.synthetic_share if name in drawn else 0.0 for name in data.classes),
        real_only_tail=config.real_only_tail,
    )
    dealing = Dealing(shares, config.steps)
    return BatchMaker(pool, source, augment, dealing, seed, shows_mask=config.shows_mask)


def _leave(
    learner: ClassificationLearner,
    network: nn.Module,
    plan: ClassificationPlan,
    run: RunDir,
    seconds: float,
) -> FitReport:
    """Write the weights, then the report that says the training is whole; the checkpoint has served its purpose."""
    save_checkpoint(run.path / WEIGHTS, {name: value.cpu() for name, value in network.state_dict().items()})
    report = FitReport(
        steps=plan.steps,
        patch_size=plan.patch_size,
        batch_size=plan.batch_size,
        lesion_patch_share=learner.lesion_patch_share,
        synthetic_patch_share=learner.synthetic_patch_share,
        class_patch_shares={name: learner.class_patch_share(n) for n, name in enumerate(plan.classes)},
        seconds=round(seconds, 2),
    )
    report.write(run.path / REPORT)
    (run.path / CHECKPOINT).unlink(missing_ok=True)
    return report


@final
class ClassificationModel:
    """A trained classifier with its plan."""

    judges_given_lesions = True

    def __init__(self, plan: ClassificationPlan, network: nn.Module, device: torch.device) -> None:
        self._plan, self._network, self._device = plan, network, device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of label ids 1, 2, ... in order."""
        return self._plan.classes

    @property
    def scheme(self) -> IntensityScheme:
        """Unit, channels and normalisation of the training images."""
        return self._plan.scheme

    def judge(self, case: Case) -> tuple[ScoredLesion, ...]:
        """The class of every lesion of the label map; see :meth:`medaug.tasks.base.LesionModel.judge`."""
        check_image(case.volume, self._plan.scheme)
        if case.label_map is None:
            raise LabelError(
                "has no lesions to judge", where=case.case_id, hint="name label maps of its lesions"
            )
        scale = self._plan.scheme.case_scale(case.volume)
        found = []
        for part in lesion_parts(case.label_map):
            lesion = cut_lesion(case.volume, scale, part, self._plan.patch_size, 0)
            found.append(self._named(Candidate(part, 1.0).scored(case), self._probabilities(lesion)))
        return tuple(found)

    def _named(self, lesion: ScoredLesion, probabilities: Float[np.ndarray, "N"]) -> ScoredLesion:
        """The lesion with the class that it was given."""
        told = {
            "class_name": self.classes[int(probabilities.argmax())],
            "probabilities": tuple(round(float(p), 6) for p in probabilities),
        }
        return lesion.model_copy(update=told)

    def _probabilities(self, lesion: CutLesion) -> Float[np.ndarray, "N"]:
        """Of each class; in 2D the mean over the slices, each weighing as much of the lesion as it shows."""
        images, masks = (
            torch.from_numpy(np.ascontiguousarray(a)) for a in lesion.middle(self._plan.patch_size)
        )
        inputs = shown(images, masks, shows_mask=self._plan.shows_mask).to(self._device)
        axes = range(2, inputs.ndim)
        mirrors: list[tuple[int, ...]] = [()]
        if self._plan.flips_at_prediction:
            mirrors = [chosen for n in range(len(axes) + 1) for chosen in combinations(axes, n)]
        with torch.no_grad(), mixed_precision(self._device):
            total: Tensor = torch.stack(
                [torch.softmax(self._network(torch.flip(inputs, m)).float(), dim=1) for m in mirrors]
            ).mean(dim=0)
        weights = lesion.areas if len(self._plan.patch_size) == 2 else np.ones(1)
        return np.asarray(np.average(total.cpu().numpy().astype(np.float64), axis=0, weights=weights))


def load(run_path: Path, device: str = "auto") -> ClassificationModel:
    """The model in a run folder, ready to judge.

    Raises:
        CheckpointError: If the weights are damaged or do not fit the plan.
    """
    plan, where = ClassificationPlan.read(run_path / PLAN), pick_device(device)
    network = _network(plan)
    try:
        network.load_state_dict(load_checkpoint(run_path / WEIGHTS))
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"{WEIGHTS} does not fit {PLAN} in {run_path}", hint="train again") from error
    return ClassificationModel(plan, network.to(where).eval(), where)
