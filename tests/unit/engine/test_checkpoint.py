"""Checkpoints are whole, and never run code."""

import pickle
import resource
from pathlib import Path

import pytest
import torch

from medaug.core.errors import CheckpointError, StorageError
from medaug.engine.checkpoint import load_checkpoint, save_checkpoint


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"w": torch.arange(3), "step": 4, "names": ["a"]})
    state = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(torch.as_tensor(state["w"]), torch.arange(3))
    assert state["step"] == 4


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        save_checkpoint(tmp_path / name, {"w": torch.arange(3)})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_disk_that_takes_no_more_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageError, match=r"c\.pt"):
            save_checkpoint(tmp_path / "c.pt", {"w": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(print, protocol=2)])
def test_damaged_or_hostile_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found"):
        load_checkpoint(tmp_path / "c.pt")
