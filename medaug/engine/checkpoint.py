"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn, optim

from medaug.core.errors import CheckpointError
from medaug.core.storage import atomic_path

State = dict[str, object]
Parts = Mapping[str, nn.Module | optim.Optimizer]


def save_checkpoint(path: Path, state: State) -> None:
    """Write tensors and plain values atomically; the same state gives the same bytes.

    Serialised in memory first: torch's own file writer puts the file's name into the archive, and says
    nothing a user can act on when the disk is full.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path) -> State:
    """Read a checkpoint onto the CPU; only tensors and plain values are accepted.

    Raises:
        CheckpointError: If the file is missing, damaged, or would run code.
    """
    hint = "train again, or name the folder that `medaug fit` or `medaug train` wrote"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.name} not found in {path.parent}", hint=hint) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path.name} in {path.parent} is damaged", hint=hint) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds no state", hint=hint)
    return state


def states_of(parts: Parts) -> State:
    """The states of networks and optimisers, by name."""
    return {name: part.state_dict() for name, part in parts.items()}


def restore_states(parts: Parts, state: State) -> None:
    """Put states of :func:`states_of` back.

    Raises:
        KeyError: If a part has no state.
        RuntimeError: If a state is of another network.
    """
    for name, part in parts.items():
        part.load_state_dict(cast("dict[str, Any]", state[name]))
