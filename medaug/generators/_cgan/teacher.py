"""A frozen segmenter, trained on the same patients: a loss term asks that it recognise made lesions as their class."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medaug.core.errors import CheckpointError, ConfigError, SplitLeakageError
from medaug.core.intensity import IntensityScheme
from medaug.core.lesion import BankIndex
from medaug.core.plugins import load_plugin
from medaug.core.runs import RUN_FILE, RunRecord
from medaug.core.splits import training_scope
from medaug.generators._patches.coarse import feather
from medaug.generators._patches.layers import Conditions

_TASK = "segmentation"


class Segmenter(Protocol):
    """The part of a trained segmentation model that teaching needs."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of label ids 1, 2, ... in order."""
        ...

    @property
    def scheme(self) -> IntensityScheme:
        """Unit, channels and normalisation of the training images."""
        ...

    @property
    def step_voxels(self) -> tuple[int, ...]:
        """What the size of a patch must be a multiple of, an axis each."""
        ...

    def scores(self, image: Tensor) -> Tensor:
        """(B, C, *S) normalised to (B, 1 + classes, *S) logits; gradients flow to the image alone."""
        ...


@final
class Teacher:
    """Judges made lesions by the frozen segmenter of a run folder.

    Args:
        path: Run folder of ``medaug train`` of a segmentation on the same fold.
        index: Of the bank that the generator learns from.
        size: Of the generator's patches.
        device: Where they lie.

    Raises:
        CheckpointError: If the folder holds no finished training.
        SplitLeakageError: If it was trained on other patients than the bank's fold allows.
        ConfigError: If its classes, channels or axes are not the generator's.
    """

    def __init__(self, path: Path, index: BankIndex, size: tuple[int, ...], device: torch.device) -> None:
        _same_patients(path, index)
        self._model = cast(Segmenter, load_plugin("tasks", _TASK).load(path, str(device)))
        _suits(self._model, index, size)

    def loss(self, made: Float[Tensor, "B C *S"], told: Conditions) -> Tensor:
        """Cross-entropy of the lesion's class inside and of background outside, over the edited zone."""
        inside = told.distance[:, 0] > 0
        wanted = inside * (told.class_index.reshape(-1, *(1,) * (inside.ndim - 1)) + 1)
        zone = feather(told.distance)[:, 0]
        costs = functional.cross_entropy(self._model.scores(made).float(), wanted, reduction="none")
        return (costs * zone).sum() / zone.sum().clamp(min=1)


def _same_patients(path: Path, index: BankIndex) -> None:
    if not (path / RUN_FILE).is_file():
        raise CheckpointError(f"teacher {path.name} is no run folder", hint="train one with `medaug train`")
    record = RunRecord.read(path / RUN_FILE)
    if record.step != "train" or record.status != "done":
        raise CheckpointError(f"teacher {path.name} holds no finished training")
    if record.inputs.get("fold") != training_scope(index.training_patients):
        raise SplitLeakageError(
            f"teacher {path.name} was trained on other patients than the bank's",
            hint=f"train it with --fold {index.fold} of the same dataset",
        )


def _suits(model: Segmenter, index: BankIndex, size: tuple[int, ...]) -> None:
    if model.classes != index.classes or model.scheme.channels != index.scheme.channels:
        raise ConfigError("has other classes or channels than the bank", where="teacher")
    if len(model.step_voxels) != len(size):
        raise ConfigError(f"sees {len(model.step_voxels)} axes", where="teacher", expected=f"{len(size)}")
    if any(n % step for n, step in zip(size, model.step_voxels, strict=True)):
        steps = " x ".join(str(step) for step in model.step_voxels)
        raise ConfigError(f"size is {size}", where="teacher", expected=f"multiples of {steps} voxels")
