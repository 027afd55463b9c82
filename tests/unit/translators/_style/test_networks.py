from __future__ import annotations

import pytest
import torch

from medaug.core.seeding import SeedTree
from medaug.translators._style.networks import Critic, StyleNet, initialise


@pytest.fixture
def net() -> StyleNet:
    made = StyleNet(2, 4, 2, 3)
    initialise(made, SeedTree(0))
    return made


def images(count: int = 2, size: int = 16) -> torch.Tensor:
    return torch.randn(count, 2, size, size + 4, generator=torch.Generator().manual_seed(0))


def test_untrained_it_changes_nothing(net: StyleNet) -> None:
    assert net(images(), torch.ones(2, 3)).equal(images())


def test_a_style_changes_what_is_drawn(net: StyleNet) -> None:
    with torch.no_grad():
        net.last.weight.normal_(generator=torch.Generator().manual_seed(1))
        first, second = (net(images(), torch.full((2, 3), value)) for value in (0.0, 2.0))
    assert not torch.allclose(first, second, atol=1e-3)


def test_a_slice_does_not_depend_on_its_neighbours(net: StyleNet) -> None:
    with torch.no_grad():
        net.last.weight.normal_(generator=torch.Generator().manual_seed(1))
        together = net(images(), torch.ones(2, 3))
        torch.testing.assert_close(net(images()[:1], torch.ones(1, 3)), together[:1])


def test_a_style_is_read_from_what_there_is_and_not_from_where(net: StyleNet) -> None:
    with torch.no_grad():
        tiled = images(1, 16)[:, :, :16, :16].repeat(1, 1, 3, 3)
        first, second = net.code(tiled), net.code(tiled.roll((8, 4), (2, 3)))
        assert first.shape == (1, 3)
        torch.testing.assert_close(first, second, atol=0.2, rtol=0.2)
        assert not torch.allclose(net.code(3 * tiled), first, atol=0.2)


def test_a_critic_marks_places_and_starts_by_its_seed() -> None:
    critics = [Critic(2, 4) for _ in range(2)]
    for critic in critics:
        initialise(critic, SeedTree(5))
    marks = [critic(images(2, 32)) for critic in critics]
    assert marks[0].shape == (2, 1, 8, 9)
    assert marks[0].equal(marks[1])
