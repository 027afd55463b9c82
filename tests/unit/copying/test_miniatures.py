"""Whole tiles at half their size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.copying.miniatures import Miniatures
from tests.unit.copying.textures import texture


@pytest.fixture(scope="module", params=[(48, 48, 1), (24, 24, 24)], ids=["plane", "space"])
def tiles(request: pytest.FixtureRequest) -> torch.Tensor:
    made = np.stack([texture(n, request.param) for n in range(12)])
    return torch.as_tensor(made[..., 0] if request.param[2] == 1 else made)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_source_is_found_under_noise(tiles: torch.Tensor, sign: float) -> None:
    noise = np.random.default_rng(3).standard_normal(tiles[5].shape)
    query = (sign * tiles[5] + torch.as_tensor(noise)).float()
    votes = Miniatures(tiles.half(), 1.0).votes(query, torch.ones(query.shape[1:]))
    assert votes.shape == (12,)
    assert int(votes.argmax()) == 5


def test_only_what_is_seen_speaks(tiles: torch.Tensor) -> None:
    query, seen = tiles[2].clone(), torch.zeros(tiles.shape[2:])
    half = query.shape[1] // 2
    query[:, half:], seen[:half] = tiles[9][:, half:], 1.0
    known = Miniatures(tiles.half(), 1.0)
    assert int(known.votes(query, seen).argmax()) == 2
    assert int(known.votes(query, 1.0 - seen).argmax()) == 9
    assert float(known.votes(query, torch.zeros_like(seen)).max()) == 0.0
