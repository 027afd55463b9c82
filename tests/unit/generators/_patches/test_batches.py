from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.core.runs import NoProgress
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.batches import TrainingSet, gather
from tests import made_lesions


@pytest.fixture(scope="module")
def training() -> TrainingSet:
    return gather(made_lesions.bank(9, 3), Config(size=(16, 16)), NoProgress())


def test_classes_and_patients_take_turns_whatever_their_number(training: TrainingSet) -> None:
    rng = np.random.default_rng(0)
    drawn = torch.cat([training.draw(8, rng).class_index for _ in range(20)])
    assert drawn.float().mean() == 0.5
    assert [len(patients) for patients in training.owners] == [5, 2]


def test_flips_and_turns_move_image_fill_and_distance_together(training: TrainingSet) -> None:
    batch = training.draw(8, np.random.default_rng(1))
    outside = batch.distance <= -3
    assert torch.equal(batch.image[outside], batch.filled[outside])
    assert not torch.equal(batch.image[~outside], batch.filled[~outside])


def test_patients_weigh_the_same_and_end_slices_nothing(training: TrainingSet) -> None:
    shares = training.shares
    assert not shares[~training.central].any()
    for patients in training.owners:
        weights = [float(shares[torch.as_tensor(numbers)].sum()) for numbers in patients]
        np.testing.assert_allclose(weights, 1 / len(patients), rtol=1e-5)


def test_figures_know_the_classes_apart(training: TrainingSet) -> None:
    level = training.patches.figures[:, 0, 0]
    faint, bright = (level[training.patches.class_index == n] for n in (0, 1))
    assert float(faint.max()) < float(bright.min())


def test_slices_are_limited_and_a_volume_is_one_patch() -> None:
    bank = made_lesions.bank(2, 2)
    few = gather(bank, Config(size=(16, 16), slices_per_lesion=2), NoProgress())
    assert len(few.patches.image) == 8
    deep = gather(bank, Config(dims=3, size=(16, 16, 8)), NoProgress())
    assert deep.patches.image.shape == (4, 1, 16, 16, 8)
