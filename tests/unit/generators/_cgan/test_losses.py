from __future__ import annotations

import pytest
import torch

from medaug.generators._cgan import losses
from medaug.generators._patches.coarse import soft_cumulative


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ONES = torch.ones(4, 1, 8, 8)


def test_hinge_rests_beyond_the_margin() -> None:
    assert float(losses.critic_loss("hinge", torch.full((4,), 1.5), torch.full((4,), -1.5))) == 0
    assert float(losses.critic_loss("hinge", torch.zeros(4), torch.zeros(4))) == 2


@pytest.mark.parametrize("objective", ["hinge", "non_saturating", "minimax"])
def test_every_objective_rewards_both_players_for_their_own_side(objective: losses.Objective) -> None:
    low, high = torch.full((4,), -2.0), torch.full((4,), 2.0)
    assert losses.critic_loss(objective, high, low) < losses.critic_loss(objective, low, high)
    assert losses.generator_loss(objective, high) < losses.generator_loss(objective, low)


def test_minimax_falls_silent_where_the_generator_loses_and_non_saturating_does_not() -> None:
    slopes = {}
    for objective in ("minimax", "non_saturating"):
        score = torch.full((1,), -6.0, requires_grad=True)
        losses.generator_loss(objective, score).backward()
        assert score.grad is not None
        slopes[objective] = float(score.grad.abs())
    assert slopes["minimax"] < 0.01
    assert slopes["non_saturating"] > 0.99


def rims(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.arange(24.0) - 12
    return losses.by_depth(image, 8 - torch.hypot(rows[:, None], rows[None])[None, None])


def test_a_dimmed_rim_costs_and_noise_alone_costs_less() -> None:
    rows = torch.arange(24.0) - 12
    radius = torch.hypot(rows[:, None], rows[None])[None, None]
    lesion = (radius < 8).float()
    dimmed = lesion * (1 - 0.5 * (radius > 6).float())
    real, known = rims(lesion)
    assert float(losses.depth_distance(real, real, known)) == 0
    noisy = lesion + 0.02 * normal(1, 1, 24, 24)
    worse, better = (losses.depth_distance(rims(image)[0], real, known) for image in (dimmed, noisy))
    assert worse > 3 * better


def test_shells_that_a_lesion_lacks_do_not_count() -> None:
    distance = torch.full((1, 1, 8, 8), -24.0)
    distance[..., 4, 4] = 0.5
    image = normal(1, 1, 8, 8)
    figures, known = losses.by_depth(image, distance)
    assert known[0, 0].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert float(losses.depth_distance(figures + 5 * (1 - known), figures, known)) == 0


def test_lecam_costs_what_real_and_made_scores_are_apart() -> None:
    real, made = torch.full((4,), 2.0), torch.full((4,), -2.0)
    assert float(losses.lecam(real, made, real_mean=2.0, made_mean=-2.0)) == 32
    assert float(losses.lecam(real, made, real_mean=0.0, made_mean=0.0)) == 8
    assert float(losses.lecam(made, real, real_mean=0.0, made_mean=0.0)) == 0


def test_blurred_l1_minds_levels_more_than_grain() -> None:
    image = normal(4, 1, 8, 8)
    shifted = image + 0.8
    assert float(losses.blurred_l1(image, image, ONES).max()) == 0
    checker = image + 0.8 * ((torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2 - 1)
    assert (
        losses.blurred_l1(checker, image, ONES).mean() < 0.4 * losses.blurred_l1(shifted, image, ONES).mean()
    )


def test_feature_distance_ignores_where_things_are() -> None:
    features = [normal(4, 3, 8, 8)]
    moved = [torch.roll(features[0], 3, dims=2)]
    doubled = [2 * features[0]]
    real = losses.feature_statistics(features, ONES)
    assert float(losses.feature_distance(losses.feature_statistics(moved, ONES), real)) == pytest.approx(
        0, abs=1e-5
    )
    assert float(losses.feature_distance(losses.feature_statistics(doubled, ONES), real)) > 0.3


def test_histogram_distance_grows_with_the_shift_and_has_a_gradient() -> None:
    image, edges = normal(4, 1, 8, 8), torch.linspace(-3, 3, 24)[None]
    real = soft_cumulative(image, ONES, edges)
    moved = [image + step for step in (0.0, 0.5, 1.0)]
    moved[2].requires_grad_()
    found = [losses.histogram_distance(soft_cumulative(m, ONES, edges), real) for m in moved]
    assert float(found[0]) == 0
    assert found[0] < found[1] < found[2]
    found[2].backward()
    assert moved[2].grad is not None
    assert float(moved[2].grad.sum()) > 0


def test_diversity_asks_no_more_than_is_wanted() -> None:
    image, wanted = normal(4, 1, 8, 8), torch.full((4, 1), 0.5)
    assert float(losses.lack_of_diversity(image, image, ONES, wanted)) == 1
    assert float(losses.lack_of_diversity(image, image + 0.25, ONES, wanted)) == pytest.approx(0.5)
    assert float(losses.lack_of_diversity(image, image + 5, ONES, wanted)) == 0
