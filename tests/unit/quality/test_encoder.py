"""The encoder teaches itself without classes, and its features still tell unlike lesions apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from medaug.core.seeding import SeedTree
from medaug.quality.distances import kernel_distance
from medaug.quality.encoder import SelfTraining, train_encoder, vicreg
from medaug.quality.features import Standardiser
from tests.unit.quality.seen import discs

QUICK = SelfTraining(steps=25, batch=12)


def test_features_of_bright_and_dark_lesions_differ_more_than_within():
    encoder = train_encoder(discs(0, 24), SeedTree(0), QUICK)
    fresh = discs(100, 20)
    found = encoder.features(fresh)
    assert found.shape == (20, 32)
    dark, bright = found[fresh.class_index == 0], found[fresh.class_index == 1]
    between = np.linalg.norm(dark.mean(axis=0) - bright.mean(axis=0))
    assert between > 2 * np.sqrt(np.mean([dark.var(axis=0).sum(), bright.var(axis=0).sum()])) / np.sqrt(10)


def test_training_is_the_same_again():
    short = SelfTraining(steps=2, batch=4)
    first, second = (train_encoder(discs(0, 6), SeedTree(3), short) for _ in range(2))
    assert np.array_equal(first.features(discs(9, 3)), second.features(discs(9, 3)))


def test_the_loss_wants_views_alike_features_spread_and_not_redundant():
    rng = torch.Generator().manual_seed(0)
    spread = torch.randn(512, 4, generator=rng)
    spread = spread / spread.std(0)
    good = float(vicreg(spread, spread))
    collapsed = float(vicreg(torch.ones(512, 4), torch.ones(512, 4)))
    redundant = spread[:, :1].expand(512, 4)
    assert good == pytest.approx(0.0, abs=0.1)
    assert collapsed > 20
    assert float(vicreg(redundant, redundant)) > 2
    assert float(vicreg(spread, spread.roll(1, 0))) > 20


def test_lesions_without_grain_are_told_from_those_with_it():
    encoder = train_encoder(discs(0, 24), SeedTree(0), QUICK)
    fresh, other = discs(100, 20), discs(200, 20)
    smooth = replace(other, images=ndimage.gaussian_filter(other.images, (0, 0, 1, 1)))
    scale = Standardiser.fitted_on(encoder.features(discs(0, 24)))
    sharp, plain, soft = (scale.apply(encoder.features(looks)) for looks in (fresh, other, smooth))
    assert kernel_distance(soft, sharp) > 3 * abs(kernel_distance(plain, sharp))
