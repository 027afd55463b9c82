"""Checkpoints are whole, and never run code."""

import pickle
from pathlib import Path

import pytest
import torch

from medaug.core.errors import CheckpointError
from medaug.engine.checkpoint import load_checkpoint, save_checkpoint


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"w": torch.arange(3), "step": 4, "names": ["a"]})
    state = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(torch.as_tensor(state["w"]), torch.arange(3))
    assert state["step"] == 4


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(print, protocol=2)])
def test_damaged_or_hostile_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found"):
        load_checkpoint(tmp_path / "c.pt")
