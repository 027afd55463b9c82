"""Windows that speak for training tiles."""

from __future__ import annotations

import numpy as np
import torch

from medaug.copying.channels import DESCRIBED_TILES, Channel, Layout, best_windows, from_blocks, in_blocks
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


def test_laid_out_windows_are_those_that_were_described_and_give_their_products() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(30, 4, 48, generator=torch.manual_seed(1)), dim=2)
    queries = torch.nn.functional.normalize(torch.randn(5, 3, 48, generator=torch.manual_seed(2)), dim=2)
    laid = in_blocks(vectors.split(DESCRIBED_TILES), 30)
    torch.testing.assert_close(
        from_blocks(laid, torch.tensor([7, 29])), vectors[[7, 29]], atol=5e-3, rtol=0.0
    )
    exact = torch.einsum("qzd,twd->qtzw", queries, vectors).amax(dim=(2, 3))
    torch.testing.assert_close(best_windows(queries, laid), exact, atol=2e-2, rtol=0.0)
