"""A small convolutional network for lesions, and how it is trained: the judge of recovery, seams and likeness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from medaug.core.seeding import SeedTree

Dims = Literal[2, 3]


@final
class SmallNet(nn.Module):
    """Three levels of convolutions with batch norm, then mean and maximum over space, then a linear map.

    A level has two convolutions in 2D and one in 3D, which costs more.

    Args:
        dims: Spatial axes; in 3D the first pooling leaves K alone, since slices lie further apart.
        channels: Of the input.
        outputs: Values a sample.
        base: Channels of the first level; doubled on every further one.
    """

    def __init__(self, dims: Dims, channels: int, outputs: int, base: int = 12) -> None:
        super().__init__()
        conv, norm, pool = (
            (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)
            if dims == 2
            else (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d)
        )
        layers: list[nn.Module] = []
        width = channels
        for level in range(3):
            for _ in range(2 if dims == 2 else 1):
                layers += [
                    conv(width, base << level, 3, padding=1, bias=False),
                    norm(base << level),
                    nn.ReLU(),
                ]
                width = base << level
            if level < 2:
                layers.append(pool(2 if dims == 2 or level else (2, 2, 1)))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * width, outputs)

    def forward(self, image: Float[Tensor, "N C *S"]) -> Float[Tensor, "N O"]:
        """One vector a sample."""
        deep = self.body(image).flatten(2)
        found: Tensor = self.head(torch.cat([deep.mean(2), deep.amax(2)], dim=1))
        return found


@final
@dataclass(frozen=True, slots=True)
class Training:
    """How a network is trained: AdamW with one cycle of the learning rate, classes in turn."""

    steps: int = 300
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    noise: float = 0.05
    shift: int = 2


@final
class Judge:
    """The mean opinion of several networks trained from different starts.

    Args:
        nets: Trained networks.
    """

    def __init__(self, nets: list[SmallNet]) -> None:
        self._nets = [net.eval() for net in nets]

    def probabilities(self, inputs: Float[Tensor, "N C *S"]) -> Float[np.ndarray, "N O"]:
        """Mean probability of each class, over the networks and over mirrored inputs."""
        with torch.inference_mode():
            rows = []
            for some in inputs.split(64):
                views = [some, some.flip(2), some.flip(3), some.flip(2, 3)]
                answers = [net(view).softmax(1) for net in self._nets for view in views]
                rows.append(torch.stack(answers).mean(0))
        return torch.cat(rows).double().numpy()


def train_judge(
    inputs: Float[Tensor, "N C *S"],
    classes: Int[np.ndarray, " N"],
    training: Training,
    seed: SeedTree,
    members: int = 2,
) -> Judge:
    """Train networks to tell classes apart; every class weighs the same, samples are flipped, turned and moved.

    Args:
        inputs: What the networks see.
        classes: (N,) 0, 1, ...; every number up to the largest occurs.
        training: How.
        seed: Root of all randomness.
        members: Networks.
    """
    return Judge([_train(inputs, classes, training, seed.child(n)) for n in range(members)])


def _train(inputs: Tensor, classes: np.ndarray, training: Training, seed: SeedTree) -> SmallNet:
    rng = seed.child("batches").rng()
    dims: Dims = 2 if inputs.ndim == 4 else 3
    count = int(classes.max()) + 1
    net = initialise(SmallNet(dims, inputs.shape[1], count), seed).train()
    rows = [np.flatnonzero(classes == number) for number in range(count)]
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=training.learning_rate, total_steps=training.steps
    )
    for _ in range(training.steps):
        wanted = np.arange(training.batch) % count
        chosen = torch.as_tensor([int(rng.choice(rows[number])) for number in wanted])
        views = turned(inputs[chosen], rng, shift=training.shift, noise=training.noise)
        loss = functional.cross_entropy(net(views), torch.as_tensor(wanted), label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return net


def initialise(net: SmallNet, seed: SeedTree) -> SmallNet:
    """Draw the first weights (He et al., ICCV 2015) from a seed."""
    source = torch.Generator().manual_seed(seed.child("weights").seed)
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=source)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return net


def turned(
    batch: Float[Tensor, "N C *S"], rng: np.random.Generator, *, shift: int, noise: float
) -> Float[Tensor, "N C *S"]:
    """Samples flipped and turned in plane, moved by a few voxels, with a little noise."""
    views = []
    for sample in batch:
        view = sample
        for axis in range(1, sample.ndim):
            if rng.random() < 0.5:
                view = view.flip(axis)
        if sample.shape[1] == sample.shape[2] and rng.random() < 0.5:
            view = view.transpose(1, 2)
        moves = [int(v) for v in rng.integers(-shift, shift + 1, 2)]
        views.append(view.roll(moves, dims=(1, 2)))
    stacked = torch.stack(views)
    grain = torch.from_numpy(rng.standard_normal(tuple(stacked.shape), dtype=np.float32))
    return stacked + noise * grain
