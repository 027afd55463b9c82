"""One definition draws slices and volumes; each image is its own map's, whatever else is in the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.translators._whole_image.frames import one_hot
from medaug.translators._whole_image.networks import (
    Chance,
    ImageNet,
    NetSpec,
    PatchCritic,
    draw_fields,
    initialise,
    pyramid,
)


def spec_of(size: tuple[int, ...]) -> NetSpec:
    return NetSpec(3 if len(size) == 3 else 2, 2, 5, size, 4, 4, 3)


def net_of(spec: NetSpec) -> ImageNet:
    net = ImageNet(spec, torch.arange(10.0).reshape(5, 2))
    initialise(net, torch.Generator().manual_seed(0))
    return net.eval()


def batch(spec: NetSpec, count: int) -> tuple[torch.Tensor, Chance]:
    generator = torch.Generator().manual_seed(1)
    maps = one_hot(torch.randint(0, 5, (count, *spec.size), generator=generator), 5)
    rng = np.random.default_rng(0)
    z, grain = torch.randn(count, 3, generator=generator), torch.randn(count, 2, generator=generator)
    return maps, Chance(z, grain, draw_fields(spec, count, 0.0, rng))


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (32, 32, 6)])
def test_an_image_for_a_map(size: tuple[int, ...]) -> None:
    spec = spec_of(size)
    maps, chance = batch(spec, 2)
    with torch.no_grad():
        image = net_of(spec)(maps, chance)
        scores, features = PatchCritic(spec)(image, maps)
    assert image.shape == (2, 2, *size)
    assert torch.isfinite(image).all()
    assert scores.shape[:2] == (2, 1)
    assert len(features) == 3


def test_an_image_does_not_depend_on_its_batch() -> None:
    spec = spec_of((32, 32))
    net, (maps, chance) = net_of(spec), batch(spec, 3)
    alone = Chance(chance.z[1:2], chance.grain[1:2], tuple(field[1:2] for field in chance.fields))
    with torch.no_grad():
        together, apart = net(maps, chance)[1:2], net(maps[1:2], alone)
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


def test_z_changes_the_image() -> None:
    spec = spec_of((32, 32))
    net, (maps, chance) = net_of(spec), batch(spec, 1)
    with torch.no_grad():
        first = net(maps, chance)
        second = net(maps, Chance(chance.z + 1, chance.grain, chance.fields))
    assert float((first - second).abs().mean()) > 1e-4


def test_neighbouring_slices_share_noise_but_for_the_finest() -> None:
    spec = spec_of((32, 32))
    fields = draw_fields(spec, 400, 0.8, np.random.default_rng(0))
    coarse, fine = fields[0].flatten(1), fields[-1].flatten(1)
    assert float((coarse[1:] * coarse[:-1]).mean()) == pytest.approx(0.8, abs=0.05)
    assert float((fine[1:] * fine[:-1]).mean()) == pytest.approx(0.0, abs=0.05)
    assert float(coarse.var()) == pytest.approx(1.0, abs=0.1)


def test_thin_axes_are_halved_no_further_than_four() -> None:
    assert pyramid((32, 32, 8)) == ((4, 4, 4), (4, 4, 4), (8, 8, 4), (16, 16, 4), (32, 32, 8))
