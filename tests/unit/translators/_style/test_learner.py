from __future__ import annotations

import torch

from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.translators._style.learner import StyleLearner
from medaug.translators._style.look import Look
from medaug.translators._style.settings import Config, Domain
from medaug.translators._style.slices import Reading, Slices, gather
from tests.made_scans import MadeCases, scan

CASES = MadeCases.of([scan(n) for n in range(2)])
CONFIG = Config.model_validate(
    {"base": 4, "blocks": 1, "patch": 16, "batch_size": 2, "steps": 4, "device": "cpu", "code_size": 3}
)


def slices(domain: Domain) -> Slices:
    return gather(Reading(domain, CASES, CASES.records, 8), NoProgress(), SeedTree(0))


DOMAINS = (slices(Domain(look=Look(gamma=2.5))), slices(Domain()))


def test_losses_are_named_and_both_networks_learn() -> None:
    learner = StyleLearner(CONFIG, DOMAINS, SeedTree(0))
    before = {name: weight.clone() for name, weight in learner.averaged.state_dict().items()}
    losses = [learner.train_step(step) for step in range(3)]
    assert set(losses[0]) == {"fooled", "cycle", "identity", "critic"}
    assert losses[0]["cycle"] == 0.0, "at first nothing is changed"
    assert losses[2]["cycle"] > 0.0
    after = learner.averaged.state_dict()
    assert not after["last.weight"].equal(before["last.weight"])


def test_a_restored_learner_goes_on_as_if_never_stopped() -> None:
    first, second = (StyleLearner(CONFIG, DOMAINS, SeedTree(0)) for _ in range(2))
    for step in range(2):
        first.train_step(step)
    second.restore(first.state())
    assert first.train_step(2) == second.train_step(2)


def test_codes_are_one_a_case_and_repeatable() -> None:
    learner = StyleLearner(CONFIG, DOMAINS, SeedTree(0))
    codes = learner.codes(1, SeedTree(3))
    assert codes.shape == (2, 3)
    assert codes.equal(learner.codes(1, SeedTree(3)))
    assert torch.isfinite(codes).all()
