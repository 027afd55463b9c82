from __future__ import annotations

import pytest
import torch

from medaug.generators._cgan.networks import Critic, LesionNet, NetSpec
from medaug.generators._patches.layers import Conditions, initialise

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
