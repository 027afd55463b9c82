"""The schedule and one step of training."""

from __future__ import annotations

import pytest
import torch

from medaug.engine.augment import SecondLabels
from medaug.tasks._segmentation.learner import class_shares, learning_rate


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_the_rate_rises_then_falls_to_almost_nothing(schedule):
    rates = [learning_rate(step, 200, 0.01, schedule) for step in range(200)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.01)
    assert top <= 6
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 2e-4


def test_a_single_step_has_a_rate():
    assert learning_rate(0, 1, 0.01, "poly") == pytest.approx(0.01)


def test_averaged_patches_belong_to_two_classes():
    own, other = torch.tensor([[[0, 2]], [[1, 1]]]), torch.tensor([[[1, 2]], [[0, 2]]])
    shares = class_shares(own, SecondLabels(other, torch.tensor([0.25, 0.0])), 3)
    assert shares.shape == (2, 3, 1, 2)
    assert torch.allclose(shares.sum(dim=1), torch.ones(2, 1, 2))
    assert shares[0, :, 0, 0].tolist() == [0.75, 0.25, 0.0]
    assert shares[0, :, 0, 1].tolist() == [0.0, 0.0, 1.0]
    assert shares[1, :, 0, 0].tolist() == [0.0, 1.0, 0.0]
