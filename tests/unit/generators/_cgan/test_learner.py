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


def test_compiling_changes_no_name_and_no_figure(
    training: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    fast = CganLearner(CONFIG.model_copy(update={"compile": True}), training, "level", SeedTree(0))
    plain = learner(training)
    assert compiled == ["LesionNet", "Critic"]
    assert fast.averaged.state_dict().keys() == plain.averaged.state_dict().keys()
    assert fast.train_step(0) == plain.train_step(0)


@pytest.mark.parametrize("conditional", [True, False])
def test_the_class_is_told_after_the_ramp_or_never(training: TrainingSet, *, conditional: bool) -> None:
    config = CONFIG.model_copy(update={"conditional": conditional, "steps": 40, "swap_share": 0.0})
    asked = CganLearner(config, training, "level", SeedTree(0))
    assert [asked.class_weight(step) for step in (0, 1, 3, 39)] == (
        [0.25, 0.5, 1.0, 1.0] if conditional else [0.0] * 4
    )


def test_last_weights_are_kept_where_nothing_is_averaged(training: TrainingSet) -> None:
    config = CONFIG.model_copy(update={"ema": 0.0})
    asked = CganLearner(config, training, "level", SeedTree(0))
    asked.train_step(0)
    state = asked.state()
    kept, now = state["averaged"], state["net"]
    assert isinstance(kept, dict)
    assert isinstance(now, dict)
    assert all(torch.equal(kept[name], now[name]) for name in now)
