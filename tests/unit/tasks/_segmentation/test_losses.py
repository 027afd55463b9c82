"""Losses against their definitions, on one label a voxel and on shares of two."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch, SecondLabels
from medaug.tasks._segmentation import losses
from medaug.tasks._segmentation.losses import Criterion, class_shares

KINDS = ("dice_ce", "dice_focal", "tversky_ce")
DRAWN = torch.Generator().manual_seed(0)
SCORES = torch.randn(2, 3, 6, 5, generator=DRAWN)
LABELS = torch.randint(0, 3, (2, 6, 5), generator=DRAWN)
RIGHT = 30.0 * torch.nn.functional.one_hot(LABELS, 3).movedim(-1, 1)


def batch(second=None):
    return PatchBatch(torch.zeros(2, 1, 6, 5), LABELS, ((1.0, 1.0),) * 2, Unit.ARBITRARY, second)


def overlap(false_positive, false_negative):
    """Mean over the classes of 1 - tp / (tp + a fp + b fn), of the whole batch."""
    p, t = torch.softmax(SCORES, 1)[:, 1:], torch.nn.functional.one_hot(LABELS, 3).movedim(-1, 1)[:, 1:]
    tp, fp, fn = ((x).sum(dim=(0, 2, 3)) for x in (p * t, p * (1 - t), (1 - p) * t))
    return (1 - tp / (tp + false_positive * fp + false_negative * fn)).mean()


def test_averaged_patches_belong_to_two_classes():
    own, other = torch.tensor([[[0, 2]], [[1, 1]]]), torch.tensor([[[1, 2]], [[0, 2]]])
    shares = class_shares(own, SecondLabels(other, torch.tensor([0.25, 0.0])), 3)
    assert shares.shape == (2, 3, 1, 2)
    assert torch.allclose(shares.sum(dim=1), torch.ones(2, 1, 2))
    assert shares[0, :, 0, 0].tolist() == [0.75, 0.25, 0.0]
    assert shares[0, :, 0, 1].tolist() == [0.0, 0.0, 1.0]
    assert shares[1, :, 0, 0].tolist() == [0.0, 1.0, 0.0]


def test_dice_and_cross_entropy():
    expected = overlap(0.5, 0.5) + cross_entropy(SCORES, LABELS)
    assert Criterion("dice_ce")(SCORES, batch()) == pytest.approx(float(expected), abs=1e-4)


def test_tversky_and_cross_entropy():
    expected = overlap(0.3, 0.7) + cross_entropy(SCORES, LABELS)
    assert Criterion("tversky_ce")(SCORES, batch()) == pytest.approx(float(expected), abs=1e-4)


def test_dice_and_focal():
    log = torch.log_softmax(SCORES, 1).gather(1, LABELS[:, None])[:, 0]
    expected = overlap(0.5, 0.5) - ((1 - log.exp()) ** 2 * log).mean()
    assert Criterion("dice_focal")(SCORES, batch()) == pytest.approx(float(expected), abs=1e-4)


def test_with_gamma_0_the_focal_loss_is_cross_entropy(monkeypatch):
    monkeypatch.setattr(losses, "_GAMMA", 0.0)
    focal, plain = Criterion("dice_focal"), Criterion("dice_ce")
    assert torch.allclose(focal(SCORES, batch()), plain(SCORES, batch()), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_right_costs_nothing(kind):
    assert float(Criterion(kind)(RIGHT, batch())) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_shares_of_one_label_alone_are_that_label(kind):
    alone = SecondLabels(LABELS.roll(1), torch.zeros(2))
    criterion = Criterion(kind)
    assert torch.allclose(criterion(SCORES, batch(alone)), criterion(SCORES, batch()), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_shares_of_two_labels_are_learnt(kind):
    mixed = SecondLabels(LABELS.roll(1, dims=1), torch.tensor([0.4, 0.2]))
    scores = SCORES.clone().requires_grad_()
    loss = Criterion(kind)(scores, batch(mixed))
    loss.backward()
    assert loss > 0
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert scores.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_heavy_class_costs_more_where_it_is_wrong(kind):
    wrong = RIGHT.roll(1, dims=1)
    missed = torch.where((LABELS == 2)[:, None], wrong, RIGHT)
    heavy, light = (Criterion(kind, torch.tensor([1.0, 1.0, w])) for w in (3.0, 1.0))
    assert heavy(missed, batch()) > light(missed, batch()) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_1_change_nothing(kind):
    assert torch.allclose(Criterion(kind, torch.ones(3))(SCORES, batch()), Criterion(kind)(SCORES, batch()))


def test_coarser_levels_weigh_half_as_much_each():
    criterion = Criterion("dice_ce")
    answers = torch.stack([SCORES, SCORES.roll(1, dims=0), RIGHT], dim=1)
    parts = [float(criterion(answer, batch())) for answer in answers.unbind(1)]
    expected = (parts[0] + parts[1] / 2 + parts[2] / 4) / 1.75
    assert float(criterion(answers, batch())) == pytest.approx(expected, abs=1e-5)
