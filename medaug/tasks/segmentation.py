"""Segmentation: a U-Net that labels every voxel, trained on 2D slices or 3D patches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, Self, final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medaug.core.case import Case
from medaug.core.errors import CheckpointError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image, LabelMap, Prediction, Probabilities, Volume
from medaug.engine.augment import BatchAugment
from medaug.engine.checkpoint import load_checkpoint, save_checkpoint
from medaug.engine.launch import pick_device
from medaug.engine.loop import CHECKPOINT, fit_loop
from medaug.tasks._segmentation.dealing import Dealing, Shares
from medaug.tasks._segmentation.inference import predict_labels, predict_probabilities
from medaug.tasks._segmentation.learner import SegmentationLearner, build_optimiser, learning_rate
from medaug.tasks._segmentation.network import build_network, initialise, parameter_count, plan_strides
from medaug.tasks._segmentation.planning import TrainingPlan, describe, plan_patch, take_fingerprint
from medaug.tasks._segmentation.sampling import BatchMaker, PatchPool, SyntheticPatches
from medaug.tasks.base import PLAN, REPORT, WEIGHTS, FitReport, Task, TaskConfig, TrainingData


@final
class Config(TaskConfig):
    """Settings of segmentation. Arms of an experiment share all of them."""

    kind: Literal["segmentation"] = "segmentation"
    dims: Literal[2, 3] = Field(default=2, description="2: slices along K; 3: volumes")
    patch_size: tuple[int, ...] | None = Field(
        default=None, description="I, J (, K); null: from the median case"
    )
    batch_size: int = Field(default=12, ge=1)
    steps: int = Field(default=900, ge=1)
    base_channels: int = Field(
        default=16, ge=2, description="of the first level; doubled on every further one"
    )
    levels: int = Field(default=4, ge=2, le=7)
    full_resolution: bool = Field(
        default=False, description="keep the first level at full resolution: finer, about four times slower"
    )
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=5e-3, gt=0)
    schedule: Literal["poly", "cosine"] = "poly"
    lesion_patch_share: float = Field(default=0.67, ge=0, le=1, description="patches cut around a lesion")
    synthetic_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="of the lesion patches of each class that a source of synthetic cases offers",
    )
    null_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="of the other patches: healthy tissue, pasted as synthetic lesions are, and not labelled",
    )
    real_only_tail: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="last share of the steps without synthetic cases, after a linear fade",
    )
    flips_at_prediction: bool = Field(
        default=False, description="average over mirrored images when predicting"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.patch_size is not None and (len(self.patch_size) != self.dims or min(self.patch_size) < 4):
            raise ValueError(f"patch_size needs {self.dims} sizes of at least 4 for dims {self.dims}")
        return self

    def build(self, device: str = "auto") -> Task:
        """The task on that device."""
        return SegmentationTask(self, device)

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels of every level."""
        return tuple(min(self.base_channels * 2**level, 320) for level in range(self.levels))


@final
class SegmentationTask:
    """Trains a U-Net on labelled cases (Dice and cross-entropy; Isensee et al., Nat Methods 2021)."""

    kind = "segmentation"

    def __init__(self, config: Config, device: str = "auto") -> None:
        self._config, self._device = config, device

    def fit(
        self, data: TrainingData, augment: BatchAugment, run: RunDir, progress: Progress, seed: SeedTree
    ) -> FitReport:
        """Train; see :meth:`medaug.tasks.base.Task.fit`."""
        if (run.path / REPORT).is_file() and (run.path / WEIGHTS).is_file():
            return FitReport.read(run.path / REPORT)
        device, config = pick_device(self._device), self._config
        labelled = tuple(case for case in data.cases if case.label_map is not None)
        plan = _plan(config, labelled, data)
        pool = PatchPool(labelled, data.scheme, data.classes, plan.patch_size)
        plan.write(run.path / PLAN)
        network = _network(plan)
        initialise(network, torch.Generator().manual_seed(seed.child("weights").seed))
        batches = _batches(config, data, pool, augment, plan, seed)
        network.to(device).train()
        rates = tuple(
            learning_rate(step, config.steps, config.learning_rate, config.schedule)
            for step in range(config.steps)
        )
        optimiser = build_optimiser(network, config.optimiser, config.learning_rate)
        learner = SegmentationLearner(network, optimiser, rates, batches, device)
        seconds = fit_loop(
            learner, steps=config.steps, run=run, progress=progress, label="train segmentation"
        )
        return _leave(learner, network, plan, run, seconds)


def _plan(config: Config, labelled: tuple[Case, ...], data: TrainingData) -> TrainingPlan:
    if not labelled:
        raise DataError("no training case has a label", hint="ingest label maps, or choose another fold")
    found = take_fingerprint(labelled, data.classes)
    patch = config.patch_size or plan_patch(found.median_shape, config.dims, config.levels)
    plan = TrainingPlan(
        summary=(),
        classes=data.classes,
        scheme=data.scheme,
        fingerprint=found,
        patch_size=patch,
        batch_size=config.batch_size,
        steps=config.steps,
        widths=config.widths,
        strides=plan_strides(patch, config.levels, full_resolution=config.full_resolution),
        parameters=0,
        flips_at_prediction=config.flips_at_prediction,
    )
    plan = plan.model_copy(update={"parameters": parameter_count(_network(plan))})
    return plan.model_copy(update={"summary": describe(plan)})


def _network(plan: TrainingPlan) -> nn.Module:
    return build_network(len(plan.scheme.channels), len(plan.classes) + 1, plan.widths, plan.strides)


def _batches(
    config: Config,
    data: TrainingData,
    pool: PatchPool,
    augment: BatchAugment,
    plan: TrainingPlan,
    seed: SeedTree,
) -> BatchMaker:
    source = None
    if data.source is not None:
        source = SyntheticPatches(data.source, data.scheme, data.classes, plan.patch_size)
    drawn = () if data.source is None else data.source.classes
    shares = Shares(
        config.batch_size,
        config.lesion_patch_share,
        tuple(config.synthetic_share if name in drawn else 0.0 for name in data.classes),
        config.null_share if source else 0.0,
        config.real_only_tail,
    )
    return BatchMaker(pool, source, augment, Dealing(shares, config.steps), seed)


def _leave(
    learner: SegmentationLearner, network: nn.Module, plan: TrainingPlan, run: RunDir, seconds: float
) -> FitReport:
    """Write the weights, then the report that says the training is whole; the checkpoint has served its purpose."""
    save_checkpoint(run.path / WEIGHTS, {name: value.cpu() for name, value in network.state_dict().items()})
    report = FitReport(
        steps=plan.steps,
        patch_size=plan.patch_size,
        lesion_patch_share=round(learner.lesion_patch_share, 4),
        synthetic_patch_share=round(learner.synthetic_patch_share, 4),
        seconds=round(seconds, 2),
    )
    report.write(run.path / REPORT)
    (run.path / CHECKPOINT).unlink(missing_ok=True)
    return report


@final
class SegmentationModel:
    """A trained U-Net with its plan."""

    def __init__(self, plan: TrainingPlan, network: nn.Module, device: torch.device) -> None:
        self._plan, self._network, self._device = plan, network, device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of label ids 1, 2, ... in order."""
        return self._plan.classes

    @property
    def scheme(self) -> IntensityScheme:
        """Unit, channels and normalisation of the training images."""
        return self._plan.scheme

    @property
    def plan(self) -> TrainingPlan:
        """What it was trained on and how."""
        return self._plan

    @property
    def step_voxels(self) -> tuple[int, ...]:
        """What the size of a patch must be a multiple of, an axis each."""
        return tuple(math.prod(steps) for steps in zip(*self._plan.strides, strict=True))

    def scores(self, image: Tensor) -> Tensor:
        """Logits of patches, for another training that this model judges; gradients flow to the image alone.

        Args:
            image: (B, C, *S) normalised, on the model's device.

        Returns:
            (B, 1 + classes, *S), background first.
        """
        self._network.requires_grad_(requires_grad=False)
        found: Tensor = self._network(image)
        return found

    def predict(self, volume: Volume) -> LabelMap:
        """Label a whole volume; see :meth:`medaug.tasks.base.Model.predict`."""
        return self.predict_with_confidence(volume).label_map

    def predict_with_confidence(self, volume: Volume) -> Prediction:
        """The same with the probability of each label."""
        plan, image = self._plan, self._seen(volume)
        labels, confidence = predict_labels(
            self._network, image, plan.patch_size, self._device, flips=plan.flips_at_prediction
        )
        return Prediction(LabelMap(labels, volume.grid, plan.classes), confidence)

    def probabilities(self, volume: Volume) -> Probabilities:
        """Of every class in every voxel; see :meth:`medaug.tasks.base.Model.probabilities`."""
        plan, image = self._plan, self._seen(volume)
        return predict_probabilities(
            self._network, image, plan.patch_size, self._device, flips=plan.flips_at_prediction
        )

    def _seen(self, volume: Volume) -> Image:
        """The image as the network is shown it."""
        check_image(volume, self._plan.scheme)
        return self._plan.scheme.case_scale(volume).normalise(volume.image)


def check_image(volume: Volume, scheme: IntensityScheme) -> None:
    """Refuse an image that is not of the kind the model was trained on.

    Raises:
        DataError: If the unit, the number of channels, or (with several) their names differ.
    """
    if len(volume.channels) != len(scheme.channels):
        expected = f"{len(scheme.channels)} ({', '.join(scheme.channels)})"
        raise DataError(f"image has {len(volume.channels)} channels", expected=expected)
    if len(scheme.channels) > 1 and volume.channels != scheme.channels:
        raise DataError(
            f"image has channels {', '.join(volume.channels)}", expected=", ".join(scheme.channels)
        )
    if volume.unit is not scheme.unit:
        hint = "predict on images of the modality the model was trained on"
        raise DataError(f"image is in {volume.unit}", expected=str(scheme.unit), hint=hint)


def load(run_path: Path, device: str = "auto") -> SegmentationModel:
    """The model in a run folder, ready to predict.

    Raises:
        CheckpointError: If the weights are damaged or do not fit the plan.
    """
    plan, where = TrainingPlan.read(run_path / PLAN), pick_device(device)
    network = _network(plan)
    try:
        network.load_state_dict(load_checkpoint(run_path / WEIGHTS))
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"{WEIGHTS} does not fit {PLAN} in {run_path.name}", hint="train again"
        ) from error
    return SegmentationModel(plan, network.to(where).eval(), where)
