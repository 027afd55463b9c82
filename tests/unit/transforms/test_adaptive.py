"""The search for a policy: where it starts, what it may propose, and that it is the same again."""

from __future__ import annotations

import sys

import pytest

from medaug.core.errors import ConfigError, DependencyError
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.transforms import classical
from medaug.transforms.adaptive import Config
from medaug.transforms.base import Tried, parse_transforms

SEED = SeedTree(3)


def searched(count, seed=SEED, unit=Unit.HU, modality="CT"):
    """Trials whose score falls with the weight of geometry."""
    tried: list[Tried] = []
    for _ in range(count):
        parameters = Config().propose(tried, unit, modality, seed)
        tried.append(Tried(parameters=parameters, score=-parameters["geometry_weight"]))
    return tried


@pytest.mark.parametrize(("unit", "modality"), [(Unit.HU, "CT"), (Unit.ARBITRARY, "MR"), (Unit.SUV, "PT")])
def test_the_search_starts_from_the_classical_default(unit, modality):
    first = Config().propose((), unit, modality, SEED)
    policy = Config().policy(first, unit, modality)
    assert isinstance(policy, classical.Config)
    assert policy.steps == classical.default_chances("auto", unit, modality)


def test_only_groups_that_the_images_have_steps_of_are_searched():
    names = set(Config().propose((), Unit.SUV, "PT", SEED))
    assert {name.split("_")[0] for name in names} == {"geometry", "contrast", "detail", "noise"}
    assert len(names) == 8


def test_proposals_differ_stay_in_range_and_are_the_same_for_the_same_past():
    tried = searched(8)
    assert len({str(one.parameters) for one in tried}) == 8
    for one in tried:
        weights = [value for name, value in one.parameters.items() if name.endswith("weight")]
        strengths = [value for name, value in one.parameters.items() if name.endswith("strength")]
        assert min(weights) >= 0
        assert max(weights) <= 2
        assert min(strengths) >= 0.25
        assert max(strengths) <= 1.5
    # each proposal follows from the trials before it alone, so a search can be taken up again anywhere
    assert Config().propose(tried[:5], Unit.HU, "CT", SEED) == tried[5].parameters
    assert searched(3, SeedTree(4))[2] != tried[2]


def test_the_search_learns_what_scores():
    tried = searched(24)
    early, late = tried[1:5], tried[-8:]
    assert sum(one.score for one in late) / 8 > sum(one.score for one in early) / 4


def test_weights_scale_chances_and_strengths_scale_magnitudes():
    first = Config().propose((), Unit.HU, "CT", SEED)
    changed = first | {"geometry_weight": 2.0, "geometry_strength": 0.5, "noise_weight": 0.0}
    policy = classical.Config.model_validate(Config().policy(changed, Unit.HU, "CT").model_dump())
    steps = {chance.step: chance for chance in policy.steps or ()}
    assert steps["flip"].probability == 1.0
    assert steps["shear"].probability == 0.6
    assert steps["rotate"].magnitude == (0.0, 0.35)
    assert "low_dose_noise" not in steps
    assert steps["blur"].probability == 0.15


def test_a_learnt_policy_can_be_pasted():
    policy = Config().policy(searched(2)[1].parameters, Unit.HU, "CT")
    assert parse_transforms(policy.model_dump(mode="json")) == policy


def test_it_cannot_be_used_before_it_has_learnt():
    with pytest.raises(ConfigError, match=r"not learnt a policy yet.*policy\.yaml"):
        Config().build(Unit.HU)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DependencyError, match=r"needs optuna; .*medaug\[policy\]"):
        Config().check_packages()
