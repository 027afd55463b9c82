"""One optimiser step of segmentation: forward, loss, backward, with its state for resuming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import nn
from torch.optim import Optimizer

from medaug.core.errors import CheckpointError
from medaug.engine.checkpoint import State
from medaug.engine.launch import autocast, average_gradients, averaged, memory_format, team, training_format
from medaug.tasks._segmentation.losses import Criterion, LossKind
from medaug.tasks._segmentation.sampling import BatchMaker

_CLIP = 12.0  # as in nnU-Net; only a bad batch is ever that steep


@final
@dataclass(frozen=True, slots=True)
class Terms:
    """What a training minimises and keeps.

    Attributes:
        loss: See :class:`~medaug.tasks._segmentation.losses.Criterion`.
        class_weights: Of the classes in the loss, the background weighing 1; None = all alike.
        ema: Share of the running average of the weights that a step keeps; 0 = the last weights are the model.
    """

    loss: LossKind = "dice_ce"
    class_weights: tuple[float, ...] | None = None
    ema: float = 0.0


@final
class SegmentationLearner:
    """Trains a network on the batches of a :class:`BatchMaker`; with others, on its part of each (``torchrun``).

    Args:
        network: On ``device`` already.
        optimiser: Over its parameters.
        rates: Learning rate of every step.
        batches: What to train on.
        device: Where the network is.
        terms: What is minimised and kept.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: Optimizer,
        rates: tuple[float, ...],
        batches: BatchMaker,
        device: torch.device,
        terms: Terms = Terms(),
    ) -> None:
        self._network, self._optimiser, self._rates = network, optimiser, rates
        self._batches, self._device = batches, device
        weights = terms.class_weights
        self._criterion = Criterion(
            terms.loss, None if weights is None else torch.tensor((1.0, *weights), device=device)
        )
        self._format = training_format(device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._format is torch.float16)
        self._average = Average(network, terms.ema) if terms.ema else None
        self._counts: tuple[float, ...] = ()

    def train_step(self, step: int) -> dict[str, float]:
        """Take optimiser step number ``step``."""
        batch = self._batches.batch(step, self._device)
        images = batch.patches.images
        images = images.to(memory_format=memory_format(images.ndim - 2))
        for group in self._optimiser.param_groups:
            group["lr"] = self._rates[step]
        self._optimiser.zero_grad(set_to_none=True)
        with autocast(self._device, self._format):
            scores = self._network(images)
        loss = self._criterion(scores.float(), batch.patches)
        self._scaler.scale(loss).backward()
        average_gradients(self._network.parameters())
        self._scaler.unscale_(self._optimiser)
        nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self._average is not None:
            self._average.take(self._network, step)
        self._count(len(images), batch.lesions, batch.synthetic, *batch.classes)
        return {"loss": float(loss.detach())}

    def _count(self, *fresh: int) -> None:
        """Patches, those with a lesion, synthetic ones, those with each class: of all processes."""
        named = averaged({str(n): float(count) for n, count in enumerate(fresh)})
        before = self._counts or (0.0,) * len(fresh)
        self._counts = tuple(old + new * team().size for old, new in zip(before, named.values(), strict=True))

    def finish(self) -> None:
        """Leave in the network what is to be kept."""
        if self._average is not None:
            self._average.give(self._network)

    @property
    def lesion_patch_share(self) -> float:
        """Share of all patches so far that held a lesion."""
        return self._shares[1]

    @property
    def synthetic_patch_share(self) -> float:
        """Share of all patches so far that came from synthetic cases."""
        return self._shares[2]

    @property
    def class_patch_shares(self) -> tuple[float, ...]:
        """Share of all patches so far that held each class."""
        return self._shares[3:]

    @property
    def _shares(self) -> tuple[float, ...]:
        counts = self._counts or (0.0,) * 3
        return tuple(count / max(1, counts[0]) for count in counts)

    def state(self) -> State:
        """Weights, their average, optimiser, scale of the loss and counts."""
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": None if self._average is None else self._average.weights,
            "counts": list(self._counts),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        parts = [state[name] for name in ("network", "optimiser", "scaler")]
        known = [part for part in parts if isinstance(part, dict)]
        counts, average = state["counts"], state["average"]
        if (
            len(known) < len(parts)
            or not isinstance(counts, list)
            or 0 < len(counts) < 4  # of a version that counted no classes
            or (self._average is None) != (average is None)
        ):
            hint = "delete the run folder and train again"
            raise CheckpointError("checkpoint is of another kind", hint=hint)
        network, optimiser, scaler = known
        self._network.load_state_dict(network)
        self._optimiser.load_state_dict(optimiser)
        self._scaler.load_state_dict(scaler)
        if self._average is not None and isinstance(average, list):
            self._average.restore(average)
        self._counts = tuple(float(count) for count in counts)


@final
class Average:
    """A running average of a network's weights (Polyak and Juditsky, SIAM J Control Optim 1992).

    Args:
        network: Whose.
        keep: Share of the average that a step keeps; less in the first steps, lest the first weights stay.
    """

    def __init__(self, network: nn.Module, keep: float) -> None:
        self._keep = keep
        self.weights = [parameter.detach().clone() for parameter in network.parameters()]

    @torch.no_grad()
    def take(self, network: nn.Module, step: int) -> None:
        """Move towards the weights after a step."""
        keep = min(self._keep, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, [*network.parameters()], 1 - keep)

    @torch.no_grad()
    def give(self, network: nn.Module) -> None:
        """Make the average the network's weights."""
        for parameter, weight in zip(network.parameters(), self.weights, strict=True):
            parameter.copy_(weight)

    def restore(self, weights: list[torch.Tensor]) -> None:
        """Go on from an average.

        Raises:
            CheckpointError: If it is of another network.
        """
        if [weight.shape for weight in weights] != [weight.shape for weight in self.weights]:
            raise CheckpointError(
                "average is of another network", hint="delete the run folder and train again"
            )
        for own, weight in zip(self.weights, weights, strict=True):
            own.copy_(weight)
