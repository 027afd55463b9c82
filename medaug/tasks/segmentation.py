"""Segmentation: a network that labels every voxel, trained on 2D slices, slices with neighbours, or 3D patches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal, Self, final

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medaug.core.case import Case
from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image, LabelMap, Prediction, Probabilities, Unit, Volume
from medaug.engine.augment import BatchAugment
from medaug.engine.checkpoint import load_checkpoint, save_checkpoint
from medaug.engine.launch import pick_device, shared, team
from medaug.engine.loop import CHECKPOINT, fit_loop
from medaug.tasks._segmentation.contrast import Foreground, take_foreground
from medaug.tasks._segmentation.inference import predict_labels, predict_probabilities
from medaug.tasks._segmentation.learner import SegmentationLearner, Terms
from medaug.tasks._segmentation.losses import LossKind
from medaug.tasks._segmentation.network import (
    SWIN_WIDTHS,
    NetworkKind,
    build_network,
    initialise,
)
from medaug.tasks._segmentation.planning import (
    SpacingChoice,
    TrainingPlan,
    Wishes,
    choose_batch,
    choose_spacing,
    choose_topology,
    describe,
    median_shape,
    plan_widths,
    take_fingerprint,
)
from medaug.tasks._segmentation.resizing import resize_image, resize_shares, resized_shape
from medaug.tasks._segmentation.sampling import AS_IT_IS, BatchMaker, PatchPool, SyntheticPatches, View
from medaug.tasks._segmentation.slabs import stacked_channels
from medaug.tasks._segmentation.sliding import SlidingWindow
from medaug.tasks._training.dealing import Dealing, Shares
from medaug.tasks._training.optimiser import build_optimiser, learning_rate, parameter_count
from medaug.tasks.base import PLAN, REPORT, WEIGHTS, FitReport, Task, TaskConfig, TrainingData


@final
class Config(TaskConfig):
    """Settings of segmentation. Arms of an experiment share all of them."""

    shares_batches: ClassVar[bool] = True
    kind: Literal["segmentation"] = "segmentation"
    network: NetworkKind = Field(
        default="unet",
        description="unet is fast; dynunet is nnU-Net's; segresnet and swinunetr are for GPUs (swinunetr: the swin extra)",
    )
    dims: Literal[2, 3] = Field(default=2, description="2: slices along K; 3: volumes")
    context: int = Field(
        default=0,
        ge=0,
        le=8,
        description="2.5D: neighbouring slices on each side that are further channels; the first and last slice repeat",
    )
    spacing: SpacingChoice = Field(
        default="as_is",
        description="of the cases the network sees, labels come back on the image's grid. median: nnU-Net's target, unless "
        "all agree within 5% or are nominal; or mm along I, J (, K)",
    )
    normalisation: Literal["modality", "foreground"] = Field(
        default="modality",
        description="CT by one fixed rule, other images case by case; foreground: CT by the lesions' own grey values, as "
        "nnU-Net does",
    )
    patch_size: tuple[int, ...] | None = Field(
        default=None, description="I, J (, K); null: as much of the median case as voxel_budget allows"
    )
    batch_size: int | None = Field(
        default=12, ge=1, description="patches a step; null: what voxel_budget allows"
    )
    voxel_budget: int | None = Field(
        default=None,
        ge=256,
        description="voxels of a step, for a planned patch and batch; null: what two cores bear, 196 608 in 2D and 258 048 "
        "in 3D; nnU-Net gives a GPU of 10 GB about 3 million in 2D and 4 million in 3D",
    )
    steps: int = Field(default=900, ge=1)
    base_channels: int = Field(
        default=16,
        ge=2,
        description="of the first level; doubled on every further one; swinunetr: times of 12",
    )
    levels: int | None = Field(
        default=4,
        ge=2,
        le=7,
        description="of the network; null: by nnU-Net's rules from size and spacing; swinunetr always has 6",
    )
    full_resolution: bool = Field(
        default=False,
        description="unet: keep the first level at full resolution: finer, about four times slower; the others always do",
    )
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=5e-3, gt=0)
    schedule: Literal["poly", "cosine"] = "poly"
    loss: LossKind = Field(
        default="dice_ce",
        description="Dice and cross-entropy; for rare classes Dice and focal, or Tversky and cross-entropy",
    )
    class_weights: tuple[float, ...] | None = Field(
        default=None, description="of the classes in the loss, in their order; the background weighs 1"
    )
    deep_supervision: bool = Field(
        default=False, description="dynunet: learn from the answers of coarser levels, too"
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the weights' running average that a step keeps, such as 0.999; the average is the model. 0: off",
    )
    class_balance: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="how often a class's lesions are dealt: 1 equally often, 0 as often as cases hold it",
    )
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
        if isinstance(self.spacing, tuple) and (len(self.spacing) != self.dims or min(self.spacing) <= 0):
            raise ValueError(f"spacing needs {self.dims} numbers of mm above 0 for dims {self.dims}")
        if self.context and self.dims == 3:
            raise ValueError("context is for dims 2: a volume holds its neighbours")
        if self.class_weights is not None and min(self.class_weights, default=0) <= 0:
            raise ValueError("class_weights needs a number above 0 for every class")
        self._network_offers_it()
        return self

    def _network_offers_it(self) -> None:
        if self.network == "swinunetr" and self.base_channels % SWIN_WIDTHS:
            raise ValueError(
                f"base_channels needs a multiple of {SWIN_WIDTHS} for swinunetr (24 as published)"
            )
        if self.network == "dynunet" and self.levels == 2:
            raise ValueError("levels needs at least 3 for dynunet")
        if self.deep_supervision and self.network != "dynunet":
            raise ValueError(f"deep_supervision is offered by dynunet, not by {self.network}")
        if self.full_resolution and self.network != "unet":
            raise ValueError(f"full_resolution is a choice of unet; {self.network} always keeps it")

    def build(self, device: str = "auto") -> Task:
        """The task on that device."""
        return SegmentationTask(self, device)

    @property
    def wishes(self) -> Wishes:
        """What the plan is given; the rest follows from the cases."""
        return Wishes(
            self.dims,
            self.network,
            self.spacing,
            self.patch_size,
            self.batch_size,
            self.levels,
            self.full_resolution,
            self.voxel_budget,
        )

    @property
    def terms(self) -> Terms:
        """What is minimised and kept."""
        return Terms(self.loss, self.class_weights, self.ema)


@final
class SegmentationTask:
    """Trains a network on labelled cases; all processes of ``torchrun`` train one."""

    kind = "segmentation"

    def __init__(self, config: Config, device: str = "auto") -> None:
        self._config, self._device = config, device

    def fit(
        self, data: TrainingData, augment: BatchAugment, run: RunDir, progress: Progress, seed: SeedTree
    ) -> FitReport:
        """Train; see :meth:`medaug.tasks.base.Task.fit`."""
        done = (run.path / REPORT).is_file() and (run.path / WEIGHTS).is_file()
        before = shared(FitReport.read(run.path / REPORT) if done else None)
        if before is not None:
            return before
        device, config = pick_device(self._device), self._config
        labelled = tuple(case for case in data.cases if case.label_map is not None)
        plan = _plan(config, labelled, data)
        pool = PatchPool(labelled, data.scheme, data.classes, plan.patch_size, _view(plan))
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
        learner = SegmentationLearner(network, optimiser, rates, batches, device, config.terms)
        seconds = fit_loop(
            learner, steps=config.steps, run=run, progress=progress, label="train segmentation"
        )
        return _leave(learner, network, plan, run, seconds)


def _plan(config: Config, labelled: tuple[Case, ...], data: TrainingData) -> TrainingPlan:
    if not labelled:
        raise DataError("no training case has a label", hint="ingest label maps, or choose another fold")
    if config.class_weights is not None and len(config.class_weights) != len(data.classes):
        expected = f"one for each of {', '.join(data.classes)}"
        raise ConfigError(
            f"has {len(config.class_weights)} numbers", where="task.class_weights", expected=expected
        )
    found, wishes = take_fingerprint(labelled, data.classes), config.wishes
    target = choose_spacing(wishes, found)
    shape = median_shape(labelled, target)
    topology = choose_topology(wishes, shape, target or found.median_spacing_mm[: config.dims])
    batch = choose_batch(wishes, topology.patch, shape, found.cases)
    team().share(batch)
    plan = TrainingPlan(
        summary=(),
        classes=data.classes,
        scheme=data.scheme,
        fingerprint=found,
        patch_size=topology.patch,
        batch_size=batch,
        steps=config.steps,
        widths=plan_widths(config.network, config.base_channels, len(topology.strides)),
        strides=topology.strides,
        parameters=0,
        flips_at_prediction=config.flips_at_prediction,
        network=config.network,
        kernels=topology.kernels if config.network == "dynunet" else (),
        deep_supervision=config.deep_supervision,
        context=config.context,
        resampled_to_mm=target,
        foreground=_foreground(config, labelled, data),
    )
    plan = plan.model_copy(update={"parameters": parameter_count(_network(plan))})
    return plan.model_copy(update={"summary": describe(plan, wishes)})


def _foreground(config: Config, labelled: tuple[Case, ...], data: TrainingData) -> Foreground | None:
    if config.normalisation == "modality" or data.scheme.unit is not Unit.HU:
        return None
    return take_foreground(labelled, data.scheme)


def _network(plan: TrainingPlan) -> nn.Module:
    channels = stacked_channels(len(plan.scheme.channels), plan.context)
    return build_network(channels, len(plan.classes) + 1, plan.widths, plan.strides, plan.style)


def _view(plan: TrainingPlan) -> View:
    return View(plan.resampled_to_mm, plan.context, plan.foreground)


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
        source = SyntheticPatches(data.source, data.scheme, data.classes, plan.patch_size, _view(plan))
    drawn = () if data.source is None else data.source.classes
    natural = np.asarray(pool.cases_per_class, dtype=np.float64)
    shares = Shares(
        plan.batch_size,
        config.lesion_patch_share,
        tuple(config.synthetic_share if name in drawn else 0.0 for name in data.classes),
        config.null_share if source else 0.0,
        config.real_only_tail,
        weights=tuple(natural ** (1 - config.class_balance)),
    )
    return BatchMaker(pool, source, augment, Dealing(shares, config.steps), seed)


def _leave(
    learner: SegmentationLearner, network: nn.Module, plan: TrainingPlan, run: RunDir, seconds: float
) -> FitReport:
    """Write the weights, then the report that says the training is whole; the checkpoint has served its purpose."""
    learner.finish()
    save_checkpoint(run.path / WEIGHTS, dict(network.cpu().state_dict()))
    report = FitReport(
        steps=plan.steps,
        patch_size=plan.patch_size,
        batch_size=plan.batch_size,
        lesion_patch_share=round(learner.lesion_patch_share, 4),
        synthetic_patch_share=round(learner.synthetic_patch_share, 4),
        class_patch_shares={
            name: round(share, 4)
            for name, share in zip(plan.classes, learner.class_patch_shares, strict=True)
        },
        seconds=round(seconds, 2),
    )
    report.write(run.path / REPORT)
    (run.path / CHECKPOINT).unlink(missing_ok=True)
    return report


@final
class SegmentationModel:
    """A trained network with its plan."""

    def __init__(self, plan: TrainingPlan, network: nn.Module, device: torch.device) -> None:
        self._plan, self._network = plan, network
        self._window = SlidingWindow(network, plan.patch_size, device, plan.flips_at_prediction)

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

        Raises:
            ConfigError: If the network sees other than patches of the case itself.
        """
        if _view(self._plan) != AS_IT_IS:
            hint = "train it with context 0, spacing as_is and normalisation modality"
            raise ConfigError("sees other than the case itself", where="teacher", hint=hint)
        self._network.requires_grad_(requires_grad=False)
        found: Tensor = self._network(image)
        return found

    def predict(self, volume: Volume) -> LabelMap:
        """Label a whole volume; see :meth:`medaug.tasks.base.Model.predict`."""
        return self.predict_with_confidence(volume).label_map

    def predict_with_confidence(self, volume: Volume) -> Prediction:
        """The same with the probability of each label."""
        plan = self._plan
        if resized_shape(volume.grid, plan.resampled_to_mm) != volume.grid.shape:
            shares = self.probabilities(volume)
            labels, confidence = shares.argmax(axis=0).astype(np.uint8), shares.max(axis=0)
        else:
            labels, confidence = predict_labels(self._window, self._seen(volume), plan.context)
        return Prediction(LabelMap(labels, volume.grid, plan.classes), confidence)

    def probabilities(self, volume: Volume) -> Probabilities:
        """Of every class in every voxel; see :meth:`medaug.tasks.base.Model.probabilities`."""
        found = predict_probabilities(self._window, self._seen(volume), self._plan.context)
        return resize_shares(found, volume.grid.shape)

    def _seen(self, volume: Volume) -> Image:
        """The image as the network is shown it."""
        check_image(volume, self._plan.scheme)
        target = self._plan.resampled_to_mm
        if target is not None and not volume.spacing_known:
            raise DataError(
                "spacing of the image is nominal", expected=f"a known one: the network sees {target} mm"
            )
        image = self._plan.scheme.case_scale(volume).normalise(volume.image)
        return _view(self._plan).scale(resize_image(image, resized_shape(volume.grid, target)))


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
        raise CheckpointError(f"{WEIGHTS} does not fit {PLAN} in {run_path}", hint="train again") from error
    return SegmentationModel(plan, network.to(where).eval(), where)
