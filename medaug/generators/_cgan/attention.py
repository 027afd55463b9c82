"""Self-attention at the bottleneck, an option."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

_HEADS = 4


@final
class Attention(nn.Module):
    """Transformer blocks (Vaswani et al., NeurIPS 2017; norm first) over the places of a map.

    Args:
        channels: Of the map; a multiple of 4.
        shape: Of the map.
        depth: Number of blocks.
    """

    def __init__(self, channels: int, shape: tuple[int, ...], depth: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, math.prod(shape), channels))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels, _HEADS, 2 * channels, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to the same."""
        tokens = x.flatten(2).transpose(1, 2) + self.place
        for block in self.blocks:
            tokens = block(tokens)
        mixed: Tensor = tokens.transpose(1, 2).reshape(x.shape)
        return mixed
