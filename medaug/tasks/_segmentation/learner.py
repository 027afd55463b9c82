"""One optimiser step of segmentation: forward, Dice and cross-entropy, backward, with its state for resuming."""

from __future__ import annotations

import math
from typing import Literal, final

import torch
from jaxtyping import Float, Integer
from monai.losses.dice import DiceCELoss
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim import SGD, AdamW, Optimizer

from medaug.core.errors import CheckpointError
from medaug.engine.augment import PatchBatch, SecondLabels
from medaug.engine.checkpoint import State
from medaug.engine.launch import memory_format, mixed_precision
from medaug.tasks._segmentation.sampling import BatchMaker

_CLIP = 12.0  # as in nnU-Net; only a bad batch is ever that steep


def learning_rate(step: int, steps: int, peak: float, schedule: Literal["poly", "cosine"]) -> float:
    """The learning rate of a step: a warm-up of 3% of the steps, then down to zero.

    Args:
        step: From 0.
        steps: Of the whole training.
        peak: Largest rate.
        schedule: ``poly`` with power 0.9 (nnU-Net) or half a ``cosine``.
    """
    warm = max(1, round(0.03 * steps))
    if step < warm:
        return peak * (step + 1) / warm
    left = 1 - (step - warm) / max(1, steps - warm)
    return peak * (left**0.9 if schedule == "poly" else 0.5 * (1 - math.cos(math.pi * left)))


def build_optimiser(network: nn.Module, kind: Literal["adamw", "sgd"], peak: float) -> Optimizer:
    """AdamW, or SGD with Nesterov momentum 0.99 as in nnU-Net."""
    if kind == "sgd":
        return SGD(network.parameters(), lr=peak, momentum=0.99, nesterov=True, weight_decay=3e-5)
    return AdamW(network.parameters(), lr=peak, weight_decay=1e-2, fused=True)


def class_shares(
    labels: Integer[Tensor, "B *S"], second: SecondLabels, classes: int
) -> Float[Tensor, "B N *S"]:
    """How much of each voxel belongs to each class, where patches were averaged; sums to 1.

    Args:
        labels: Ids of the patches themselves, below ``classes``.
        second: Ids and shares of the others.
        classes: Number of classes, the background included.
    """
    own, other = (
        torch.moveaxis(one_hot(ids.long(), classes), -1, 1).to(second.share)
        for ids in (labels, second.labels)
    )
    return torch.lerp(own, other, second.share.view(-1, *([1] * (own.dim() - 1))))


@final
class SegmentationLearner:
    """Trains a network on the batches of a :class:`BatchMaker`.

    Args:
        network: On ``device`` already.
        optimiser: Over its parameters.
        rates: Learning rate of every step.
        batches: What to train on.
        device: Where the network is.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: Optimizer,
        rates: tuple[float, ...],
        batches: BatchMaker,
        device: torch.device,
    ) -> None:
        self._network, self._optimiser, self._rates = network, optimiser, rates
        self._batches, self._device = batches, device
        self._loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
        self._soft_loss = DiceCELoss(softmax=True, include_background=False, batch=True)
        self._patches = self._lesions = self._synthetic = 0

    def train_step(self, step: int) -> dict[str, float]:
        """Take optimiser step number ``step``."""
        batch = self._batches.batch(step, self._device)
        images = batch.patches.images
        images = images.to(memory_format=memory_format(images.ndim - 2))
        for group in self._optimiser.param_groups:
            group["lr"] = self._rates[step]
        self._optimiser.zero_grad(set_to_none=True)
        with mixed_precision(self._device):
            scores = self._network(images)
        loss = self._compare(scores.float(), batch.patches)
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP)
        self._optimiser.step()
        self._patches += len(images)
        self._lesions += batch.lesions
        self._synthetic += batch.synthetic
        return {"loss": float(loss.detach())}

    def _compare(self, scores: Float[Tensor, "B N *S"], patches: PatchBatch) -> Tensor:
        """Dice and cross-entropy against the label of every voxel, or against the shares of two labels."""
        if patches.second is None:
            return torch.as_tensor(self._loss(scores, patches.labels[:, None].long()))
        shares = class_shares(patches.labels, patches.second, scores.shape[1])
        return torch.as_tensor(self._soft_loss(scores, shares))

    @property
    def lesion_patch_share(self) -> float:
        """Share of all patches so far that held a lesion."""
        return self._lesions / max(1, self._patches)

    @property
    def synthetic_patch_share(self) -> float:
        """Share of all patches so far that came from synthetic cases."""
        return self._synthetic / max(1, self._patches)

    def state(self) -> State:
        """Weights, optimiser and counts."""
        counts = [self._patches, self._lesions, self._synthetic]
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "counts": counts,
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        network, optimiser, counts = state["network"], state["optimiser"], state["counts"]
        if not isinstance(network, dict) or not isinstance(optimiser, dict) or not isinstance(counts, list):
            raise CheckpointError(
                "checkpoint is of another kind", hint="delete the run folder and train again"
            )
        self._network.load_state_dict(network)
        self._optimiser.load_state_dict(optimiser)
        self._patches, self._lesions, self._synthetic = (int(n) for n in counts)
