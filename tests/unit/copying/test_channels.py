"""Windows that speak for training tiles."""

from __future__ import annotations

import numpy as np
import torch

from medaug.copying.channels import Channel, Layout
from tests.unit.copying.textures import SIDE, texture

LAYOUT = Layout(2, SIDE)


def tiles_in_air() -> torch.Tensor:
    """(12, 1, SIDE, SIDE) textures that fill a corner; the rest is the same everywhere."""
    made = torch.as_tensor(np.stack([texture(n)[..., 0] for n in range(12)]))
    made[:, :, SIDE // 3 :], made[..., SIDE // 2 :] = -3.0, -3.0
    return made


def test_windows_of_air_resemble_nothing() -> None:
    tiles = tiles_in_air()
    channel = Channel(LAYOUT, tiles.half(), np.random.default_rng(0))
    lengths = channel.described_query(tiles[4]).vectors[:, 2].norm(dim=1)
    assert sorted(set(lengths.round(decimals=3).tolist())) == [0.0, 1.0]
    assert 0 < int((lengths == 0.0).sum()) < len(lengths)


def test_a_mirrored_corner_in_air_speaks_for_its_source() -> None:
    tiles = tiles_in_air()
    channel = Channel(LAYOUT, tiles.half(), np.random.default_rng(0))
    votes = channel.votes(channel.described_query(tiles[4].flip(1)), torch.ones(SIDE, SIDE))
    assert int(votes.wide.argmax()) == 4
