"""Devices by name."""

import pytest
import torch

from medaug.core.errors import ConfigError
from medaug.core.seeding import SeedTree
from medaug.engine.launch import (
    Team,
    autocast,
    average_gradients,
    averaged,
    joined,
    memory_format,
    mixed_precision,
    pick_device,
    shared,
    team,
    training_format,
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


@pytest.mark.parametrize(
    ("device", "offers_bfloat16", "expected"),
    [("cpu", False, torch.float32), ("cuda", True, torch.bfloat16), ("cuda", False, torch.float16)],
)
def test_the_number_format_of_a_training(
    device: str, offers_bfloat16: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(*, including_emulation: bool) -> bool:
        return offers_bfloat16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", fake)
    assert training_format(torch.device(device)) is expected


def test_only_a_lower_format_changes_what_is_computed() -> None:
    cpu, x = torch.device("cpu"), torch.ones(2, 2)
    with mixed_precision(cpu):
        assert (x @ x).dtype is torch.float32
    for number_format in (torch.float32, torch.bfloat16):
        with autocast(cpu, number_format):
            assert (x @ x).dtype is number_format


def test_places_that_are_dealt_in_turns_are_shared_evenly() -> None:
    assert [list(Team(rank, 2).places(6)) for rank in (0, 1)] == [[0, 2, 4], [1, 3, 5]]
    assert list(Team().places(3)) == [0, 1, 2]
    with pytest.raises(ConfigError, match="cannot be shared by 2"):
        Team(0, 2).places(5)
