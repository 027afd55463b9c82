"""Candidates for what stayed where it was: tiles at half their size, correlated as wholes.

Noise hides windows and points, and a blend halves them; the whole of a tile still agrees with its source.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from medaug.copying.channels import DESCRIBED_TILES
from medaug.copying.registration import flattened, halved


@final
class Miniatures:
    """All training tiles at half their size.

    Args:
        tiles: (N, C, *S) float16 training tiles.
        share: Scale of the filters, 1 for tiles of 64 voxels.
    """

    def __init__(self, tiles: Tensor, share: float) -> None:
        self._share = share
        self._vectors = torch.cat(
            [self._vector(some.float(), None).half() for some in tiles.split(DESCRIBED_TILES)]
        )

    def _vector(self, tiles: Tensor, seen: Tensor | None) -> Tensor:
        """(N, F) unit vectors; 0 for what shows nothing."""
        small = halved(flattened(tiles, seen, self._share)).flatten(1)
        unit: Tensor = small / small.norm(dim=1, keepdim=True).clamp_min(1e-6)
        return unit

    def votes(self, image: Tensor, seen: Tensor) -> Tensor:
        """(N,) how strongly one query tile (C, *S), of which ``seen`` counts, or its inverse resembles each training tile."""
        query = self._vector(image[None], seen[None])[0]
        return (self._vectors @ query.half()).abs().float()
