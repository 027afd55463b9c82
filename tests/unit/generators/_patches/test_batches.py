from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.core.errors import DataError
from medaug.core.runs import NoProgress
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.batches import TrainingSet, gather, held_back
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


def test_few_patients_are_all_learnt_from() -> None:
    assert held_back(made_lesions.bank(20, 20)) == frozenset()


def test_of_many_patients_some_are_held_back_but_none_of_a_scarce_class() -> None:
    bank = made_lesions.bank(72, 6)  # two lesions a patient
    aside = held_back(bank)
    assert len(aside) == 3
    assert aside == held_back(bank)
    owners = {name: {entry.patient_id for entry in bank.entries(name)} for name in bank.index.classes}
    assert aside <= owners["faint"] - owners["bright"]


def test_lesions_held_back_are_never_drawn() -> None:
    bank = made_lesions.bank(6, 6)
    whole = gather(bank, Config(size=(16, 16)), NoProgress())
    part = gather(bank, Config(size=(16, 16)), NoProgress(), frozenset({"patient_000"}))
    assert part.unseen is not None
    assert whole.unseen is None
    assert len(part.patches.image) + len(part.unseen.image) == len(whole.patches.image)
    assert not part.unseen.class_index.any()
    assert [len(patients) for patients in part.owners] == [2, 3]
    for image in part.unseen.image:
        assert not any(torch.equal(image, other) for other in part.patches.image)
    alike = part.alike(part.unseen, np.random.default_rng(0))
    assert torch.equal(alike.class_index, part.unseen.class_index)


def test_a_class_of_patients_held_back_alone_is_refused() -> None:
    with pytest.raises(DataError, match="no lesion of class bright"):
        gather(made_lesions.bank(4, 2), Config(size=(16, 16)), NoProgress(), frozenset({"patient_002"}))
