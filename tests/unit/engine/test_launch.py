"""Devices by name."""

import pytest
import torch

from medaug.core.errors import ConfigError
from medaug.core.seeding import SeedTree
from medaug.engine.launch import (
    Team,
    average_gradients,
    averaged,
    joined,
    memory_format,
    pick_device,
    shared,
    team,
)


def test_names_that_are_understood() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    assert memory_format(2) is torch.channels_last
    assert memory_format(3) is torch.channels_last_3d


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:99", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        pick_device(name)


def test_a_process_alone_is_a_team_of_one() -> None:
    with joined() as alone:
        assert alone == Team() == team()
        assert alone.leads
        assert alone.share(7) == 7
        assert alone.rows(3).tolist() == [0, 1, 2]
        assert alone.stream(SeedTree(3)) == SeedTree(3)
    assert shared("word") == "word"
    assert averaged({"l1": 2.0}) == {"l1": 2.0}
    weight = torch.nn.Parameter(torch.ones(2))
    (3 * weight).sum().backward()
    average_gradients([weight])
    assert weight.grad is not None
    assert weight.grad.tolist() == [3, 3]


def test_a_batch_is_shared_evenly_and_each_draws_its_own() -> None:
    members = [Team(rank, 3) for rank in range(3)]
    assert [member.share(12) for member in members] == [4, 4, 4]
    assert torch.cat([member.rows(12) for member in members]).tolist() == list(range(12))
    assert len({member.stream(SeedTree(0)).seed for member in members}) == 3
    assert [member.leads for member in members] == [True, False, False]
    with pytest.raises(
        ConfigError, match="batch_size: a batch of 16 cannot be shared by 3 processes; expected a mult"
    ):
        members[0].share(16)
