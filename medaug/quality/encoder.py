"""A self-supervised encoder of lesions: views of one lesion get like features, which are spread out and not redundant.

VICReg (Bardes et al., ICLR 2022) with a small network; its features say how like two sets of lesions are without
any figure being chosen by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from medaug.core.seeding import SeedTree
from medaug.quality.looks import Looks
from medaug.quality.networks import Dims, SmallNet, initialise, turned

_WIDTH = 32
_ALIKE, _SPREAD, _REDUNDANT = 25.0, 25.0, 1.0  # the paper's weights
_NEAR = 3  # in-plane voxels
_GRAIN = 4.0  # times
_CONTRAST, _LEVEL = 0.1, 0.1  # of a view, normalised units: small, since density tells lesions apart


@final
@dataclass(frozen=True, slots=True)
class SelfTraining:
    """How the encoder is trained."""

    steps: int = 300
    batch: int = 48
    learning_rate: float = 2e-3
    shift: int = 2


@final
class Encoder:
    """Turns lesions into 32 features."""

    def __init__(self, net: SmallNet) -> None:
        self._net = net.eval()

    def features(self, looks: Looks) -> Float[np.ndarray, "N 32"]:
        """Features of lesions, float64, not standardised."""
        with torch.inference_mode():
            rows = [self._net(some) for some in near_inputs(looks).split(64)]
        return torch.cat(rows).double().numpy()


def train_encoder(looks: Looks, seed: SeedTree, training: SelfTraining | None = None) -> Encoder:
    """Train an encoder on real lesions, without their classes.

    Args:
        looks: Lesions to learn from; at least two.
        seed: Root of all randomness.
        training: How.
    """
    how = training or SelfTraining()
    inputs = near_inputs(looks)
    dims: Dims = 2 if inputs.ndim == 4 else 3
    net = initialise(SmallNet(dims, inputs.shape[1], _WIDTH), seed).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=how.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=how.learning_rate, total_steps=how.steps)
    rng = seed.child("batches").rng()
    count = looks.images.shape[1]
    for _ in range(how.steps):
        chosen = inputs[torch.as_tensor(rng.choice(len(inputs), min(how.batch, len(inputs)), replace=False))]
        first, second = (_view(chosen, count, how, rng) for _ in range(2))
        loss = vicreg(net(first), net(second))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return Encoder(net)


def near_inputs(looks: Looks) -> Float[Tensor, "N C *S"]:
    """What the encoder sees: image, its grain, mask and nearness; image and grain no further than 3 voxels off the lesion.

    What lies beyond is the host's; it would tell where lesions were put, not what they look like. The grain, which is
    what a mean over 3 x 3 voxels of a slice takes away, is what generators lose most easily.
    """
    flat = np.ones((1, 3, 3, *(1,) * (looks.masks.ndim - 3)), dtype=bool)
    near = torch.from_numpy(ndimage.binary_dilation(looks.masks, flat, _NEAR).astype(np.float32))[:, None]
    masks = torch.from_numpy(looks.masks.astype(np.float32))[:, None]
    images = torch.from_numpy(looks.images)
    smooth = ndimage.uniform_filter(looks.images, (1, 1, 3, 3, *(1,) * (looks.images.ndim - 4)))
    grain = _GRAIN * (images - torch.from_numpy(smooth))
    return torch.cat([images * near, grain * near, masks, near], dim=1)


def vicreg(first: Float[Tensor, "N F"], second: Float[Tensor, "N F"]) -> Float[Tensor, ""]:
    """The loss: distance of views, features that vary by less than 1, covariance of different features."""
    loss = _ALIKE * functional.mse_loss(first, second)
    for side in (first, second):
        centred = side - side.mean(0)
        covariance = centred.T @ centred / max(1, len(side) - 1)
        loss = loss + _SPREAD / 2 * torch.relu(1 - (covariance.diagonal() + 1e-4).sqrt()).mean()
        off = covariance - torch.diag(covariance.diagonal())
        loss = loss + _REDUNDANT * off.square().sum() / side.shape[1]
    return loss


def _view(batch: Tensor, channels: int, how: SelfTraining, rng: np.random.Generator) -> Tensor:
    """Turned, moved, a little brighter and more contrasted, inside what the encoder may see.

    Nothing is added to the grain: features that bear noise are blind to the lack of it.
    """
    shape = (len(batch), *(1,) * (batch.ndim - 1))
    gain, level = (
        torch.from_numpy(rng.normal(0.0, spread, shape).astype(np.float32)) for spread in (_CONTRAST, _LEVEL)
    )
    views = turned(batch, rng, shift=how.shift, noise=0.0)
    image, grain, rest = views[:, :channels], views[:, channels : 2 * channels], views[:, 2 * channels :]
    return torch.cat([image * (1 + gain) + level * rest[:, -1:], grain * (1 + gain), rest], dim=1)
