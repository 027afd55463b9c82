"""One step of training."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from medaug.core.errors import CheckpointError
from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.tasks._segmentation import learner as learners
from medaug.tasks._segmentation.learner import (
    Average,
    SegmentationLearner,
    Terms,
)
from medaug.tasks._segmentation.sampling import Batch
from medaug.tasks._training.optimiser import build_optimiser

CPU, PLAIN = torch.device("cpu"), Terms()


@dataclass
class Fixed:
    """One and the same batch at every step."""

    scale: float = 1.0

    def batch(self, step, device):
        generator = torch.Generator().manual_seed(0)
        images = self.scale * torch.randn(2, 1, 8, 8, generator=generator)
        labels = (images[:, 0] > 0).to(torch.uint8)
        return Batch(PatchBatch(images, labels, ((1.0, 1.0),) * 2, Unit.ARBITRARY), 2, 1, (2, 0))


def make(terms=PLAIN, scale=1.0):
    network = nn.Conv2d(1, 2, 3, padding=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)
    optimiser = build_optimiser(network, "adamw", 0.05)
    return network, SegmentationLearner(network, optimiser, (0.05,) * 50, Fixed(scale), CPU, terms)  # type: ignore[arg-type]


def steps(learner, first, last):
    return [learner.train_step(step)["loss"] for step in range(first, last)]


def flat(network):
    return torch.cat([parameter.detach().ravel() for parameter in network.parameters()])


def test_the_average_follows_the_weights_and_is_what_is_kept():
    network, learner = make(Terms(ema=0.9))
    plain, other = make()
    seen = flat(network)
    for step in range(12):
        steps(learner, step, step + 1)
        seen = torch.lerp(seen, flat(network), 1 - min(0.9, (1 + step) / (10 + step)))
    steps(other, 0, 12)
    assert torch.equal(flat(network), flat(plain))
    learner.finish()
    assert torch.allclose(flat(network), seen, atol=1e-6)
    assert not torch.allclose(flat(network), flat(plain))


def test_an_average_of_another_network_is_refused():
    average = Average(nn.Linear(2, 2), 0.9)
    with pytest.raises(CheckpointError, match="average is of another network"):
        average.restore([torch.zeros(3, 2), torch.zeros(2)])


def test_a_checkpoint_without_average_does_not_go_on_with_one():
    _, without = make()
    _, averaging = make(Terms(ema=0.5))
    with pytest.raises(CheckpointError, match="of another kind"):
        averaging.restore(without.state())


def test_float16_scales_the_loss_and_goes_on_to_the_same_weights(monkeypatch):
    monkeypatch.setattr(learners, "training_format", lambda device: torch.float16)
    network, learner = make()
    losses = steps(learner, 0, 6)
    assert losses[-1] < losses[0]
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
    assert learner.state()["scaler"]["scale"] == 2.0**16
    _, second = make()
    steps(second, 0, 3)
    resumed, third = make()
    third.restore(second.state())
    steps(third, 3, 6)
    assert torch.equal(flat(resumed), flat(network))


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_falls(monkeypatch):
    monkeypatch.setattr(learners, "training_format", lambda device: torch.float16)
    network, learner = make(scale=3e4)
    before = flat(network)
    steps(learner, 0, 1)
    assert torch.equal(flat(network), before)
    assert learner.state()["scaler"]["scale"] == 2.0**15


def test_shares_are_of_all_patches():
    _, learner = make()
    steps(learner, 0, 2)
    assert (learner.lesion_patch_share, learner.synthetic_patch_share) == (1.0, 0.5)
    assert learner.class_patch_shares == (1.0, 0.0)
