"""Training a tiny classifier, going on where it stopped, and judging lesions with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from medaug.core.errors import CheckpointError, ConfigError, DataError, LabelError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.engine import loop
from medaug.tasks._classification.learner import class_loss
from medaug.tasks._classification.network import build_network, initialise
from medaug.tasks._classification.planning import ClassificationPlan, plan_patch
from medaug.tasks.base import PLAN, WEIGHTS, TrainingData, load_lesion_model, load_model
from medaug.tasks.classification import ClassificationTask, Config, load
from tests.trained import Said
from tests.unit.tasks.cases import CLASSES, make_case, open_folder

CASES = tuple(make_case(n, shape=(20, 20, 8)) for n in range(6))
SCHEME = IntensityScheme.for_volume(CASES[0].volume)
TINY = Config(patch_size=(16, 16), batch_size=4, steps=4, base_channels=8)


def keep(batch, rngs):
    return batch


def fit(path, config=TINY, cases=CASES, progress=None, seed=0):
    data = TrainingData(tuple(cases), CLASSES, SCHEME)
    task = ClassificationTask(config, "cpu")
    return task.fit(data, keep, open_folder(path), progress or NoProgress(), SeedTree(seed))


def one_lesion_each(numbers):
    return [make_case(n, shape=(20, 20, 8), classes=(1 + n % 2,)) for n in numbers]


@pytest.mark.parametrize(("dims", "size"), [(2, (16, 16)), (3, (16, 16, 8))])
def test_learns_to_tell_lesions_apart(tmp_path, dims, size):
    config = Config(dims=dims, patch_size=size, batch_size=8, steps=30, base_channels=8, learning_rate=1e-2)
    report = fit(tmp_path, config, one_lesion_each(range(12)))
    assert (report.steps, report.patch_size, report.lesion_patch_share) == (30, size, 1.0)
    assert report.class_patch_shares == {"dim": 0.5, "bright": 0.5}
    model = load_lesion_model(tmp_path, "cpu")
    assert model.judges_given_lesions
    right = []
    for case in one_lesion_each(range(70, 80)):
        for lesion in model.judge(case):
            assert sum(lesion.probabilities) == pytest.approx(1.0, abs=1e-5)
            index = case.volume.grid.nearest_voxel((lesion.x_mm, lesion.y_mm, lesion.z_mm))
            assert case.label_map is not None
            right.append(CLASSES.index(lesion.class_name or "") + 1 == case.label_map.labels[index])
    assert np.mean(right) > 0.7


@pytest.mark.parametrize("kind", ["resnet", "densenet"])
def test_networks_take_patches_of_both_dimensions_and_follow_their_seed(kind):
    for size in ((16, 16), (16, 16, 16)):
        first, second = (build_network(kind, len(size), 2, 3, 8).eval() for _ in range(2))
        for network in (first, second):
            initialise(network, torch.Generator().manual_seed(1))
        image = torch.ones(1, 2, *size)
        assert first(image).shape == (1, 3)
        assert torch.equal(first(image), second(image))


def test_focal_loss_minds_hard_lesions_more():
    easy, hard = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    target = torch.tensor([0])
    chance = torch.softmax(hard, dim=1)[0, 0]
    expected = -((1 - chance) ** 2) * torch.log(chance)
    assert class_loss(hard, target, "focal").item() == pytest.approx(expected.item())
    ratios = [
        class_loss(scores, target, "focal") / class_loss(scores, target, "cross_entropy")
        for scores in (easy, hard)
    ]
    assert ratios[0] < 0.01
    assert ratios[1] > 0.3


def test_patches_hold_twice_what_most_lesions_measure():
    extents = np.array([[10, 14, 3]] * 9 + [[60, 60, 60]])
    assert plan_patch(extents[:9], 2) == (24, 32)
    assert plan_patch(extents[:9], 3) == (24, 32, 8)
    assert plan_patch(extents * 9, 3) == (64, 64, 48)


def test_the_plan_tells_what_was_learnt_from(tmp_path):
    fit(tmp_path, TINY.model_copy(update={"patch_size": None, "steps": 1}))
    plan = ClassificationPlan.read(tmp_path / PLAN)
    assert plan.lesions_per_class == plan.patients_per_class == (6, 6)
    assert plan.patch_size == (24, 24)
    assert "dim: 6 lesions of 6 patients" in plan.summary[0]


def test_an_interrupted_training_ends_as_if_it_had_not_stopped(tmp_path, monkeypatch):
    whole = fit(tmp_path / "whole")
    clock = iter(range(0, 10**6, 100))
    monkeypatch.setattr("medaug.engine.loop.time.monotonic", lambda: next(clock))
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", progress=Said(stop_after=3))
    assert (tmp_path / "parts" / loop.CHECKPOINT).is_file()
    parts = fit(tmp_path / "parts")
    assert parts.class_patch_shares == whole.class_patch_shares
    first, second = (torch.load(tmp_path / name / WEIGHTS, weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_wrong_settings_are_refused():
    with pytest.raises(ValidationError, match="2 sizes for dims 2"):
        Config(patch_size=(16, 16, 16))
    with pytest.raises(ConfigError, match="too small for a densenet"):
        Config(network="densenet", dims=3, patch_size=(16, 16, 8))


def test_what_cannot_be_judged_is_refused(tmp_path):
    fit(tmp_path, TINY.model_copy(update={"steps": 1}))
    model, case = load_lesion_model(tmp_path, "cpu"), CASES[0]
    with pytest.raises(DataError, match=r"image is in HU; expected a\.u"):
        model.judge(replace(case, volume=replace(case.volume, unit=Unit.HU)))
    with pytest.raises(LabelError, match="no lesions to judge"):
        model.judge(replace(case, label_map=None))
    with pytest.raises(ConfigError, match="answers with lesions; expected one that gives label maps"):
        load_model(tmp_path, "cpu")


def test_foreign_weights_are_refused(tmp_path):
    fit(tmp_path / "small", TINY.model_copy(update={"steps": 1}))
    fit(tmp_path / "large", TINY.model_copy(update={"steps": 1, "base_channels": 16}))
    (tmp_path / "small" / WEIGHTS).write_bytes((tmp_path / "large" / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match=r"does not fit plan\.json"):
        load(tmp_path / "small", "cpu")
