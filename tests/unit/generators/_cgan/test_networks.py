from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medaug.generators._cgan.attention import Attention
from medaug.generators._cgan.build import build_net
from medaug.generators._cgan.networks import Critic, LesionNet, NetSpec
from medaug.generators._cgan.plain import PlainNet
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.layers import Conditions, initialise
from medaug.generators.base import read_generator_config

CONFIGS = Path(__file__).parents[4] / "configs"
FULL_SIZES = {"cgan_2d_full": (96, 96), "cgan_3d_full": (64, 64, 64)}
SPECS = [NetSpec(2, 1, 3, (16, 24), 4, 4, 5), NetSpec(3, 2, 3, (16, 16, 4), 4, 4, 5)]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def conditions(spec: NetSpec, count: int) -> Conditions:
    return Conditions(torch.arange(count) % spec.classes, 1.0, normal(count, 1, *spec.size))


@pytest.mark.parametrize("spec", SPECS, ids=["2d", "3d"])
def test_one_definition_serves_2d_and_3d(spec: NetSpec) -> None:
    net, critic = LesionNet(spec), Critic(spec)
    image, told = normal(2, spec.channels, *spec.size), conditions(spec, 2)
    noise = [normal(2, 1, *shape) for shape in net.noise_shapes]
    residual = net(image, told, normal(2, spec.z_size), noise)
    assert residual.shape == image.shape
    scores, features = critic(image + residual, told, torch.ones(2, 1, *spec.size))
    assert scores.shape == (2,)
    assert len(features) == 3


@pytest.mark.parametrize("spec", SPECS, ids=["2d", "3d"])
def test_class_z_and_noise_all_count_but_an_untold_class_does_not(spec: NetSpec) -> None:
    net = LesionNet(spec)
    initialise(net, torch.Generator().manual_seed(1))
    image, told = normal(3, spec.channels, *spec.size)[:1].expand(3, -1, *spec.size), conditions(spec, 3)
    told = Conditions(told.class_index, 1.0, told.distance[:1].expand(3, *told.distance.shape[1:]))
    z = normal(3, spec.z_size)
    noise = [torch.zeros(3, 1, *shape) for shape in net.noise_shapes]
    same_z = z[:1].expand(3, -1)
    by_class = net(image, told, same_z, noise)
    untold = net(image, Conditions(told.class_index, 0.0, told.distance), same_z, noise)
    by_noise = net(
        image, Conditions(told.class_index, 0.0, told.distance), same_z, [n + normal(*n.shape) for n in noise]
    )
    by_z = net(image, Conditions(told.class_index, 0.0, told.distance), z, noise)
    assert not torch.allclose(by_class[0], by_class[1])
    torch.testing.assert_close(untold[0], untold[1])
    assert not torch.allclose(by_noise[0], by_noise[1])
    assert not torch.allclose(by_z[0], by_z[1])


def test_weights_come_from_the_generator_of_random_numbers_alone() -> None:
    spec = SPECS[0]
    first, second, other = Critic(spec), Critic(spec), Critic(spec)
    for critic, seed in ((first, 1), (second, 1), (other, 2)):
        initialise(critic, torch.Generator().manual_seed(seed))
    states = [critic.state_dict() for critic in (first, second, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize("spec", SPECS, ids=["2d", "3d"])
def test_a_plain_net_looks_at_class_mask_and_z_and_not_at_the_host(spec: NetSpec) -> None:
    net = PlainNet(spec)
    initialise(net, torch.Generator().manual_seed(1))
    host, told, z = normal(2, spec.channels, *spec.size), conditions(spec, 2), normal(2, spec.z_size)
    drawn = host + net(host, told, z, [])
    assert drawn.shape == host.shape
    torch.testing.assert_close(drawn, 3 * host + net(3 * host, told, z, []))
    for other in (replace(told, class_index=told.class_index + 1), replace(told, distance=-told.distance)):
        assert not torch.allclose(drawn, host + net(host, other, z, []))
    assert not torch.allclose(drawn, host + net(host, told, -z, []))


def test_attention_lets_far_places_meet() -> None:
    mix = Attention(8, (4, 4), 2)
    initialise(mix, torch.Generator().manual_seed(1))
    x = normal(1, 8, 4, 4).requires_grad_()
    mix(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None
    assert float(x.grad[0, :, 3, 3].abs().max()) > 0


@pytest.mark.parametrize("spec", SPECS, ids=["2d", "3d"])
def test_attention_stands_in_both_dimensions(spec: NetSpec) -> None:
    net = LesionNet(replace(spec, attention=2))
    noise = [torch.zeros(1, 1, *shape) for shape in net.noise_shapes]
    image = normal(1, spec.channels, *spec.size)
    assert net(image, conditions(spec, 1), normal(1, spec.z_size), noise).shape == image.shape


@pytest.mark.parametrize("name", sorted(p.stem for p in CONFIGS.glob("cgan_*.yaml")))
def test_every_preset_builds_networks_of_its_size(name: str) -> None:
    config = read_generator_config(CONFIGS / f"{name}.yaml")
    assert isinstance(config, Config)
    with torch.device("meta"):  # shapes without memory
        net, critic = build_net(config, 1, 4), Critic(config.net_spec(1, 4))
    assert net.spec.size == config.size == FULL_SIZES.get(name, config.size)
    millions = sum(p.numel() for part in (net, critic) for p in part.parameters()) / 1e6
    low, high = (3, 60) if name.endswith("full") else (0.2, 3)
    assert low < millions < high
    if name.endswith("full"):
        assert config.steps >= 30_000
        assert config.base >= 32


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="no bottleneck"):
        Config(backbone="dcgan", bottleneck="transformer")
    with pytest.raises(ValueError, match="multiple of 4 with dcgan"):
        Config(backbone="dcgan", base=6)
