"""One optimiser step of classification, with its state for resuming."""

from __future__ import annotations

from collections import Counter
from typing import Literal, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from medaug.core.errors import CheckpointError
from medaug.engine.checkpoint import State
from medaug.engine.launch import mixed_precision
from medaug.tasks._classification.sampling import BatchMaker

_CLIP = 5.0
_FOCUS = 2.0

LossKind = Literal["cross_entropy", "focal"]


def class_loss(scores: Float[Tensor, "B N"], targets: Int64[Tensor, "B"], kind: LossKind) -> Tensor:
    """Cross-entropy, or the focal loss with gamma 2 (Lin et al., ICCV 2017), meant over the batch."""
    each = cross_entropy(scores, targets, reduction="none")
    if kind == "focal":
        each = (1 - torch.exp(-each)) ** _FOCUS * each
    return each.mean()


@final
class ClassificationLearner:
    """Trains a network on the batches of a :class:`BatchMaker`.

    Args:
        network: On ``device`` already.
        optimiser: Over its parameters.
        rates: Learning rate of every step.
        batches: What to train on.
        device: Where the network is.
        loss: What is made small.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: Optimizer,
        rates: tuple[float, ...],
        batches: BatchMaker,
        device: torch.device,
        loss: LossKind,
    ) -> None:
        self._network, self._optimiser, self._rates = network, optimiser, rates
        self._batches, self._device, self._loss = batches, device, loss
        self._counts = Counter[str]()

    def train_step(self, step: int) -> dict[str, float]:
        """Take optimiser step number ``step``."""
        batch = self._batches.batch(step, self._device)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rates[step]
        self._optimiser.zero_grad(set_to_none=True)
        with mixed_precision(self._device):
            scores = self._network(batch.inputs)
        loss = class_loss(scores.float(), batch.targets, self._loss)
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP)
        self._optimiser.step()
        self._counts.update(patches=len(batch.targets), lesions=batch.lesions, synthetic=batch.synthetic)
        self._counts.update(f"class {number}" for number in batch.targets.tolist())
        right = (scores.detach().argmax(dim=1) == batch.targets).float().mean()
        return {"loss": float(loss.detach()), "right": float(right)}

    @property
    def lesion_patch_share(self) -> float:
        """Share of all patches so far that showed their lesion."""
        return self._share("lesions")

    @property
    def synthetic_patch_share(self) -> float:
        """Share of all patches so far that came from synthetic cases."""
        return self._share("synthetic")

    def class_patch_share(self, number: int) -> float:
        """Share of all patches so far that were of a class."""
        return self._share(f"class {number}")

    def _share(self, name: str) -> float:
        return round(self._counts[name] / max(1, self._counts["patches"]), 4)

    def state(self) -> State:
        """Weights, optimiser and counts."""
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "counts": dict(self._counts),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        network, optimiser, counts = state["network"], state["optimiser"], state["counts"]
        if not isinstance(network, dict) or not isinstance(optimiser, dict) or not isinstance(counts, dict):
            raise CheckpointError(
                "checkpoint is of another kind", hint="delete the run folder and train again"
            )
        self._network.load_state_dict(network)
        self._optimiser.load_state_dict(optimiser)
        self._counts = Counter(counts)
