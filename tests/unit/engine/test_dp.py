"""Private gradients: what is clipped, what is drawn, what is spent, and what is refused."""

import copy
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from medaug.core.budget import PrivacyRequest
from medaug.core.errors import BudgetExceededError, ConfigError, DependencyError
from medaug.core.seeding import SeedTree
from medaug.engine import dp
from medaug.engine.dp import PrivacyPlan, PrivateGradients, plan_privacy
from medaug.engine.launch import Team

SEEDED = PrivacyRequest(epsilon=None, clip=0.7, randomness="seeded")


def plan(
    *, patients: int = 6, rate: float = 0.5, steps: int = 50, noise: float = 0.0, **changes: object
) -> PrivacyPlan:
    return PrivacyPlan(SEEDED.model_copy(update=changes), patients, rate, steps, noise)


def network(seed: int = 0) -> nn.Module:
    torch_rng = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(12, 1))
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(generator=torch_rng)
    return module


def losses_of(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return functional.softplus(module(images)).squeeze(1)


def flat(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def by_hand(module: nn.Module, parts: list[torch.Tensor], clip: float) -> torch.Tensor:
    """The sum of gradients of whole patients, each computed alone and clipped."""
    total = torch.zeros(sum(p.numel() for p in module.parameters()))
    for images in parts:
        twin = copy.deepcopy(module)
        losses_of(twin, images).sum().backward()
        gradient = flat(twin)
        total += gradient * min(1.0, clip / float(gradient.norm()))
    return total


def with_samples(private: PrivateGradients, module: nn.Module, images: list[torch.Tensor]) -> int:
    """One step in which every patient gives its images."""
    drawn = private.draw()
    if not len(drawn):
        private.fill(None, None)
        return 0
    parts = [images[int(n)] for n in drawn]
    owners = torch.cat([torch.full((len(part),), place) for place, part in enumerate(parts)])
    private.fill(losses_of(module, torch.cat(parts)), owners)
    return len(drawn)


def patients(count: int, rng: torch.Generator) -> list[torch.Tensor]:
    return [torch.randn(1 + n % 3, 1, 4, 4, generator=rng) * (1 + n) for n in range(count)]


def test_each_patient_is_clipped_as_a_whole_and_none_else():
    images = patients(5, torch.Generator().manual_seed(1))
    module = network()
    expected = by_hand(module, images, 0.7)
    assert float(by_hand(module, images, 1e9).norm()) > 2 * float(expected.norm())  # else nothing was clipped
    private = PrivateGradients(module, plan(patients=5, rate=1.0), SeedTree(0))
    assert with_samples(private, module, images) == 5
    torch.testing.assert_close(flat(module), expected / 5, rtol=1e-4, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 2.0), st.floats(-6, 6))
def test_one_patient_more_changes_the_sum_by_no_more_than_the_clip_norm(seed, clip, log_scale):
    rng = torch.Generator().manual_seed(seed)
    images = patients(4, rng)
    images[-1] = images[-1] * math.exp(log_scale)
    sums = []
    for count in (3, 4):
        module = network(seed)
        private = PrivateGradients(module, plan(patients=count, rate=1.0, clip=clip), SeedTree(0))
        with_samples(private, module, images[:count])
        sums.append(flat(module) * count)
    assert float((sums[1] - sums[0]).norm()) <= clip * 1.0001


def test_a_gradient_that_is_no_number_is_none():
    images = patients(3, torch.Generator().manual_seed(1))
    broken = [*images[:2], torch.full_like(images[2], math.inf)]
    module = network()
    private = PrivateGradients(module, plan(patients=3, rate=1.0), SeedTree(0))
    with_samples(private, module, broken)
    torch.testing.assert_close(flat(module), by_hand(network(), images[:2], 0.7) / 3, rtol=1e-4, atol=1e-6)


def test_every_patient_is_drawn_at_the_rate_and_on_its_own():
    private = PrivateGradients(network(), plan(patients=40, rate=0.2, steps=1000), SeedTree(0))
    drawn = np.zeros((400, 40), dtype=bool)
    for row in drawn:
        row[private.draw()] = True
    assert stats.binomtest(int(drawn.sum()), drawn.size, 0.2).pvalue > 1e-4
    counts = drawn.sum(axis=1)
    assert abs(counts.var() / (40 * 0.2 * 0.8) - 1) < 0.35  # a fixed batch size would have no variance


@pytest.mark.parametrize("empty", [False, True])
def test_noise_has_the_planned_deviation_also_where_nobody_was_drawn(empty):
    module = network()
    rate = 1e-9 if empty else 1.0
    private = PrivateGradients(module, plan(patients=4, rate=rate, noise=3.0, steps=400), SeedTree(0))
    images = [torch.zeros(1, 1, 4, 4)] * 4
    expected = 4 * rate
    found = []
    for _ in range(100):
        assert with_samples(private, module, images) == (0 if empty else 4)
        found.append(flat(module) * expected)
    spread = torch.stack(found).std(dim=0).mean()
    assert abs(float(spread) / (3.0 * 0.7) - 1) < 0.05


def test_no_step_goes_beyond_the_plan_and_a_resumed_training_goes_on_counting():
    first = PrivateGradients(network(), plan(steps=3), SeedTree(0))
    first.draw()
    first.draw()
    second = PrivateGradients(network(), plan(steps=3), SeedTree(0))
    second.restore(first.state())
    second.draw()
    with pytest.raises(BudgetExceededError, match="3 steps"):
        second.draw()


def test_steps_taken_under_another_promise_are_not_counted_as_ours():
    other = PrivateGradients(network(), plan(noise=2.0), SeedTree(0))
    with pytest.raises(ValueError, match="another promise"):
        PrivateGradients(network(), plan(noise=1.0), SeedTree(0)).restore(other.state())


def test_samples_must_be_of_the_drawn():
    module = network()
    private = PrivateGradients(module, plan(rate=1.0), SeedTree(0))
    losses = losses_of(module, torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match="drawn once"):
        private.fill(losses, torch.tensor([0, 1]))
    private.draw()
    with pytest.raises(ValueError, match="nobody"):
        private.fill(losses, torch.tensor([0, 6]))
    private.draw()
    with pytest.raises(ValueError, match="no sample"):
        private.fill(None, None)


def test_a_network_that_judges_gets_no_gradient_of_its_own_but_passes_them_on():
    module = network()
    private = PrivateGradients(module, plan(rate=1.0), SeedTree(0))
    image = torch.zeros(1, 1, 4, 4, requires_grad=True)
    with private.judging():
        losses_of(module, image).sum().backward()
    assert image.grad is not None
    assert all(p.grad is None and getattr(p, "grad_sample", None) is None for p in module.parameters())
    images = patients(6, torch.Generator().manual_seed(1))
    with_samples(private, module, images)
    torch.testing.assert_close(flat(module), by_hand(network(), images, 0.7) / 6, rtol=1e-4, atol=1e-6)


class Loose(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.layer = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), "batch norm"),
        (nn.BatchNorm2d(2, affine=False, track_running_stats=False), "batch norm"),
        (nn.Sequential(spectral_norm(nn.Conv2d(1, 2, 3))), "spectral norm"),
        (nn.Sequential(nn.utils.spectral_norm(nn.Linear(2, 2))), "spectral norm"),
        (nn.InstanceNorm2d(2, track_running_stats=True), "running statistics"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)), "in place"),
        (Loose(), "outside a layer"),
        (nn.MultiheadAttention(4, 2), "outside a layer"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.spectral_norm.*:FutureWarning")
def test_networks_that_mix_patients_are_refused_in_one_line(module, said):
    with pytest.raises(ConfigError, match=said) as caught:
        PrivateGradients(module, plan(), SeedTree(0))
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("request_", "figures", "said"),
    [
        (SEEDED, {"patients": 5, "batch_size": 6, "steps": 1}, "6 patients cannot be drawn from 5"),
        (SEEDED.model_copy(update={"delta": 0.2}), {"patients": 5, "batch_size": 2, "steps": 1}, "delta 0.2"),
    ],
)
def test_promises_that_cannot_be_kept_are_refused(request_, figures, said):
    with pytest.raises(ConfigError, match=said):
        plan_privacy(request_, **figures)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr(dp, "team", lambda: Team(rank=0, size=2))
    with pytest.raises(ConfigError, match="one process"):
        plan_privacy(SEEDED, patients=5, batch_size=2, steps=1)


@pytest.mark.parametrize("missing", ["opacus", "dp_accounting"])
def test_a_missing_package_is_told_with_its_extra(monkeypatch, missing):
    for name in list(sys.modules):
        if name == missing or name.startswith(f"{missing}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DependencyError, match=r"medaug\[dp\]"):
        dp.both_epsilons.__wrapped__(1.0, 0.1, 10, 1e-5)


GRID = [(0.9, 0.04, 300), (1.6, 0.04, 500), (4.0, 0.1, 500), (10.0, 0.3, 200), (2.0, 1.0, 3)]


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "rate", "steps"), GRID)
def test_two_accountants_agree_within_one_percent(noise, rate, steps):
    pld = dp.pld_epsilon(noise, rate, steps, 1e-5)
    prv = dp.prv_epsilon(noise, rate, steps, 1e-5, error=0.003 * pld)
    assert abs(prv / pld - 1) < 0.01


def test_one_whole_step_costs_what_the_gaussian_mechanism_does():
    """Balle and Wang (ICML 2018), theorem 8: an exact formula, as a third opinion."""
    noise, prv_pld = 2.0, dp.both_epsilons(2.0, 1.0, 1, 1e-5)

    def delta(epsilon: float) -> float:
        upper, lower = 0.5 / noise - epsilon * noise, -0.5 / noise - epsilon * noise
        return float(stats.norm.cdf(upper) - math.exp(epsilon) * stats.norm.cdf(lower))

    for found in prv_pld:
        assert delta(found * 1.001) < 1e-5 < delta(found * 0.99)


def test_the_noise_found_spends_almost_what_was_asked_and_not_more():
    found = plan_privacy(PrivacyRequest(epsilon=3), patients=50, batch_size=5, steps=40)
    budget = found.budget(40)
    assert budget is not None
    assert 0.97 * 3 < budget.epsilon <= 3
    assert budget.epsilon == max(budget.epsilon_prv, budget.epsilon_pld)
    fewer = found.budget(20)
    assert fewer is not None
    assert fewer.epsilon < budget.epsilon
    assert "epsilon 3" in found.statement


def test_accountants_that_disagree_are_not_believed(monkeypatch):
    dp.both_epsilons.cache_clear()
    monkeypatch.setattr(dp, "pld_epsilon", lambda *_: 1.5)
    with pytest.raises(ConfigError, match="two accountants"):
        dp.both_epsilons(2.0, 1.0, 1, 1e-5)
    dp.both_epsilons.cache_clear()


def test_without_noise_nothing_is_claimed():
    quiet = plan_privacy(SEEDED, patients=5, batch_size=2, steps=10)
    assert quiet.noise_multiplier == 0
    assert quiet.budget(10) is None
    assert "no privacy" in quiet.statement
