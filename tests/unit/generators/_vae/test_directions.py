from __future__ import annotations

import torch

from medaug.generators._vae.directions import ATTRIBUTES, attributes, regress
from tests.made_lesions import ball


def disc(radius: float, level: float, *, soft: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """A disc in nothing, and the distance to its outline."""
    axis = torch.arange(32) - 15.5
    distance = (radius - (axis[:, None] ** 2 + axis**2).sqrt())[None, None]
    inside = torch.sigmoid(distance / (2.0 if soft else 0.2))
    return level * inside, distance


def measured(radius: float, level: float, *, soft: bool = False) -> dict[str, float]:
    image, distance = disc(radius, level, soft=soft)
    found = attributes(image, torch.zeros_like(image), distance)[0]
    return dict(zip(ATTRIBUTES, found.tolist(), strict=True))


def test_each_attribute_answers_to_its_own_cause() -> None:
    plain = measured(6, 1)
    assert measured(9, 1)["size"] > plain["size"] + 0.5
    assert abs(measured(6, 2)["contrast"] / plain["contrast"] - 2) < 0.05
    assert measured(6, 1, soft=True)["sharpness"] < 0.8 * plain["sharpness"]
    assert abs(measured(6, 2)["sharpness"] / plain["sharpness"] - 1) < 0.05


def test_attributes_of_volumes_are_finite() -> None:
    mask = torch.from_numpy(ball((16, 16, 4), 5))[None, None]
    found = attributes(mask.float(), torch.zeros(mask.shape), torch.where(mask, 1.0, -1.0))
    assert torch.isfinite(found).all()


def test_regression_finds_the_axis_within_groups_and_says_how_well() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(400, 4, generator=generator)
    group = torch.arange(400) % 2
    noise = torch.randn(400, 3, generator=generator)
    known = torch.stack([codes[:, 0], codes[:, 1], noise[:, 2]], dim=1) + 10 * group[:, None]
    found = regress(codes + group[:, None], known, group)
    assert found.explained[0] > 0.95
    assert found.explained[2] < 0.1
    torch.testing.assert_close(found.changes[:2], torch.eye(4)[:2], atol=0.15, rtol=0)
    torch.testing.assert_close(found.deviations, torch.ones(3), atol=0.15, rtol=0)


def test_a_direction_goes_where_codes_lie() -> None:
    generator = torch.Generator().manual_seed(2)
    first = torch.randn(600, generator=generator)
    codes = torch.stack([first, 0.9 * first + 0.1 * torch.randn(600, generator=generator)], dim=1)
    found = regress(codes, codes[:, :1].expand(-1, 3), torch.zeros(600, dtype=torch.long))
    # codes that differ in the first axis differ in the second as well
    torch.testing.assert_close(found.changes[0], torch.tensor([1.0, 0.9]), atol=0.06, rtol=0)


def test_shift_moves_an_attribute_by_so_many_deviations_and_not_beyond_the_lesions() -> None:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randn(400, 4, generator=generator)
    known = torch.stack([codes[:, 0], codes[:, 1], torch.randn(400, generator=generator)], dim=1)
    found = regress(codes, known, torch.zeros(400, dtype=torch.long))
    assert abs(float(found.shift("size", 2.0)[0]) - 2) < 0.3
    torch.testing.assert_close(found.shift("size", -2.0), -found.shift("size", 2.0))
    assert float(found.shift("sharpness", 2.0).norm()) < 3.3


def test_sharpness_moves_at_one_contrast_where_they_go_together() -> None:
    generator = torch.Generator().manual_seed(3)
    codes = torch.randn(800, 3, generator=generator)
    contrast, sharpness = codes[:, 0], 0.7 * codes[:, 0] + 0.7 * codes[:, 1]
    measured = torch.stack([codes[:, 2], contrast, sharpness], dim=1)
    found = regress(codes, measured, torch.zeros(800, dtype=torch.long))
    along = found.changes[2]
    assert abs(float(along[0])) < 0.05
    assert abs(float(0.7 * along[0] + 0.7 * along[1]) / float(found.deviations[2]) - 1) < 0.1
