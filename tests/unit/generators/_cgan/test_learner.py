"""Looking at the vital signs changes nothing, and they tell sick learners from sound ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.generators._cgan.learner import CganLearner
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.batches import TrainingSet, gather
from tests import made_lesions

CONFIG = Config(size=(16, 16), base=4, critic_base=4, batch_size=4, steps=8, device="cpu")


@pytest.fixture(scope="module")
def training() -> TrainingSet:
    return gather(made_lesions.bank(6, 6), CONFIG, NoProgress(), frozenset({"patient_000"}))


def learner(training: TrainingSet) -> CganLearner:
    return CganLearner(CONFIG, training, "level", SeedTree(0))


def test_a_look_has_no_effect_on_the_training(training: TrainingSet) -> None:
    looked, left = learner(training), learner(training)
    for step in range(3):
        first, second = looked.train_step(step), left.train_step(step)
        looked.vital_signs(step)
        assert first == second
    assert looked.vital_signs(3) == looked.vital_signs(3)


def test_lesions_that_differ_by_chance_are_varied(training: TrainingSet) -> None:
    signs = learner(training).vital_signs(0)
    assert signs.variety is not None
    assert signs.variety > 0.3
    assert signs.scores is not None


def test_nobody_held_back_no_scores(training: TrainingSet) -> None:
    assert learner(replace(training, unseen=None)).vital_signs(0).scores is None


def test_a_generator_that_ignores_its_noise_is_found_out(
    training: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = learner(training)
    fixed = torch.zeros(1, 1, 16, 16)
    monkeypatch.setattr(sick, "_refine", lambda scene, *_: fixed.expand(len(scene.batch.image), -1, -1, -1))
    assert sick.vital_signs(0).variety == 0
