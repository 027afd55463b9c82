from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.generators._patches.coarse import (
    CONTRAST,
    EDGE,
    GRAIN,
    KNOT,
    LEVEL,
    Anchor,
    CoarseInput,
    at_noise,
    bands,
    draw_coarse,
    energies,
    feather,
    fill,
    lesion_figures,
    profile,
    scan_noise,
    zone_of,
)
from medaug.generators._patches.window import signed_distance
from medaug.lesions import blend
from tests.made_lesions import ball


def distance_of(radius: float, shape: tuple[int, int, int] = (32, 32, 1)) -> torch.Tensor:
    mask = ball(shape, radius)
    return torch.from_numpy(signed_distance(mask[..., 0] if shape[2] == 1 else mask, 1.0))[None, None]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_critic_sees_the_feather_that_the_host_gets() -> None:
    mask = ball((32, 32, 1), 6)
    expected = blend.feather(mask, blend.Feather())[..., 0]
    found = feather(torch.from_numpy(signed_distance(mask[..., 0], 1.0))[None, None])
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(32, 32, 1), (20, 20, 8)])
def test_fill_keeps_what_is_known_and_continues_a_slope(shape: tuple[int, int, int]) -> None:
    distance = distance_of(5, shape)
    slope = torch.linspace(0, 1, shape[0]).reshape(1, 1, -1, *(1,) * (distance.ndim - 3)).expand_as(distance)
    zone = zone_of(distance)
    filled = fill(torch.where(zone > 0, torch.full_like(slope, 99.0), slope), zone)
    assert torch.equal(filled[zone == 0], slope[zone == 0])
    assert float((filled - slope)[zone > 0].abs().max()) < 0.25


def test_fill_of_a_patch_that_is_all_lesion_stays_finite() -> None:
    assert torch.isfinite(fill(normal(1, 1, 16, 16), torch.ones(1, 1, 16, 16))).all()


def test_bands_add_up_inside_the_mask_and_know_nothing_outside_it() -> None:
    image, mask = normal(1, 1, 32, 32), (distance_of(8) > 0).float()
    parts = bands(image, mask)
    inside = mask > 0
    torch.testing.assert_close(torch.stack(parts).sum(dim=0)[inside], image[inside])
    elsewhere = torch.where(inside, image, torch.full_like(image, 99.0))
    for part, other in zip(parts, bands(elsewhere, mask), strict=True):
        torch.testing.assert_close(part[inside], other[inside])


def test_figures_tell_level_contrast_slope_and_grain() -> None:
    distance = distance_of(8)
    lesion = 2 + 0.5 * profile(distance) + 0.3 * normal(1, 1, 32, 32)
    image = torch.where(distance > 0, lesion, torch.zeros(1, 1, 32, 32))
    figures = lesion_figures(image, torch.zeros_like(image), distance)[0, 0]
    assert figures[LEVEL] == pytest.approx(2, abs=0.1)
    assert figures[CONTRAST] == pytest.approx(figures[LEVEL])
    assert figures[EDGE] == pytest.approx(0.5 * float(profile(distance)[distance > 0].std()), abs=0.03)
    assert figures[GRAIN] == pytest.approx(0.3, abs=0.08)  # less the part that the local mean follows


def test_smooth_lesion_has_no_grain_whatever_its_contrast() -> None:
    distance = distance_of(8)
    image = torch.where(distance > 0, torch.full_like(distance, 5.0), torch.full_like(distance, -5.0))
    assert float(energies(image, distance).max()) < 0.05


@pytest.mark.parametrize(("anchor", "level"), [("level", 2.0), ("contrast", 2.5)])
def test_coarse_lesion_has_the_wanted_level(anchor: Anchor, level: float) -> None:
    distance = distance_of(8)
    figures = torch.tensor([[[2.0, 3.0, 0.0, 0.1, 0.1, 0.1, 0.1]]])
    filled = torch.full((1, 1, 32, 32), -0.5)
    source = CoarseInput(figures, anchor, normal(1, 1, 32, 32), normal(1, 1, 8, 8))
    coarse = draw_coarse(filled, distance, source)
    assert float(coarse[distance > 2].mean()) == pytest.approx(level, abs=0.1)
    assert torch.equal(coarse[zone_of(distance) == 0], filled[zone_of(distance) == 0])


def test_coarse_noise_has_the_wanted_energies() -> None:
    distance = distance_of(10)
    wanted = [0.3, 0.1, 0.2]
    figures = torch.tensor([[[0.0, 0.0, 0.0, *wanted, 0.1]]])
    source = CoarseInput(figures, "level", normal(1, 1, 32, 32), normal(1, 1, 8, 8))
    coarse = draw_coarse(torch.zeros(1, 1, 32, 32), distance, source)
    np.testing.assert_allclose(energies(coarse, distance)[0, 0].numpy(), wanted, rtol=0.35)


def test_texture_is_brought_to_the_level_and_liveliness_of_the_figures() -> None:
    distance = distance_of(8)
    covered = (distance > 0).float()
    stripes = torch.sin(torch.arange(32.0)).expand(1, 1, 32, 32)
    figures = torch.tensor([[[2.0, 0.0, 0.0, 0.6, 0.3, 0.2, 0.1]]])
    source = CoarseInput(figures, "level", normal(1, 1, 32, 32), normal(1, 1, 8, 8), 7 + stripes, covered)
    inside = draw_coarse(torch.zeros(1, 1, 32, 32), distance, source)[distance > 2]
    texture = stripes[distance > 2]
    assert float(inside.mean()) == pytest.approx(2, abs=0.2)
    assert float(inside.std()) == pytest.approx(0.7, abs=0.15)
    assert np.corrcoef(inside.numpy(), texture.numpy())[0, 1] > 0.6


def test_one_texture_gives_many_lesions_and_noise_stands_where_it_does_not_cover() -> None:
    distance, covered = distance_of(8), torch.zeros(1, 1, 32, 32)
    covered[..., :16] = 1
    figures, texture = torch.tensor([[[0.0, 0.0, 0.0, 0.5, 0.2, 0.2, 0.1]]]), normal(1, 1, 32, 32, seed=9)
    drawn = [
        draw_coarse(
            torch.zeros(1, 1, 32, 32),
            distance,
            CoarseInput(
                figures, "level", normal(1, 1, 32, 32, seed=n), normal(1, 1, 8, 8, seed=n), texture, covered
            ),
        )
        for n in (0, 1)
    ]
    for place, least, most in ((covered > 0, 0.4, 0.95), (covered == 0, -0.5, 0.5)):
        both = np.stack([image[(distance > 1) & place].numpy() for image in drawn])
        assert least < np.corrcoef(both)[0, 1] < most


def test_noise_of_the_scan_is_told_apart_from_what_is_in_it() -> None:
    distance = distance_of(6)
    image = 0.1 * normal(1, 1, 32, 32)
    image[..., 2, :] += 5  # a vessel
    image = torch.where(distance > 0, image + 9 * normal(1, 1, 32, 32, seed=1), image)
    assert float(scan_noise(image, distance)) == pytest.approx(0.1, rel=0.2)


def test_grain_is_carried_to_the_noise_of_another_scan_within_limits() -> None:
    figures = torch.tensor([[[1.0, 2.0, 3.0, 0.4, 0.2, 0.1, 0.1]]])
    louder = at_noise(figures, torch.tensor([[0.2]]))
    torch.testing.assert_close(louder[..., :4], figures[..., :4])
    assert float(louder[..., GRAIN]) == pytest.approx(0.2)
    assert 0.2 < float(louder[..., KNOT]) < 0.4
    assert float(at_noise(figures, torch.tensor([[100.0]]))[..., GRAIN]) == pytest.approx(0.4)
