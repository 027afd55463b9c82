from __future__ import annotations

import pytest
import torch

from medaug.generators._patches.layers import initialise
from medaug.generators._vae.networks import LesionVae, Place, VaeSpec

SPECS = [VaeSpec(2, 1, 3, (16, 24), 4, 5), VaeSpec(3, 2, 3, (16, 16, 4), 4, 5)]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("spec", SPECS, ids=["2d", "3d"])
def test_one_definition_serves_2d_and_3d(spec: VaeSpec) -> None:
    net = LesionVae(spec)
    initialise(net, torch.Generator().manual_seed(1))
    image = normal(3, spec.channels, *spec.size)
    place = Place(image, normal(1, 1, *spec.size).expand(3, -1, *spec.size), net.embed(torch.arange(3)))
    mean, log_variance = net.encode(image + 1, place)
    assert mean.shape == log_variance.shape == (3, 5)
    assert net.decode(place, mean).shape == image.shape


@pytest.mark.parametrize("spec", SPECS, ids=["2d", "3d"])
def test_class_code_and_host_all_count(spec: VaeSpec) -> None:
    net = LesionVae(spec)
    initialise(net, torch.Generator().manual_seed(1))
    host, distance = normal(1, spec.channels, *spec.size), normal(1, 1, *spec.size)
    z, classes = normal(2, 5), net.embed(torch.arange(2))
    drawn = net.decode(Place(host, distance, classes[:1]), z[:1])
    assert not torch.allclose(net.decode(Place(host, distance, classes[1:]), z[:1]), drawn)
    assert not torch.allclose(net.decode(Place(host, distance, classes[:1]), z[1:]), drawn)
    residual = net.decode(Place(host + 1, distance, classes[:1]), z[:1]) - host - 1
    assert not torch.allclose(residual, drawn - host, atol=1e-4)
