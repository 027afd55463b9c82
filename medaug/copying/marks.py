"""Candidates for what was neither turned nor zoomed: the points of a tile that stand out, and what surrounds them.

A grid of windows falls on a copied part in another place than on its source; points that stand out lie in the same
place of both. So the few of them inside a pasted quarter, or left over in a blend, agree to the voxel, and their
pairs say by how much it was moved (Hough).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medaug.copying.channels import DESCRIBED_TILES, Layout, best_windows, from_blocks, in_blocks
from medaug.copying.registration import Band, flattened
from medaug.engine.lanes import one_by_one

FINE = Band(0.7, 2.0, 5.0)
_RADIUS, _APART = 7.0, 2
_MOST, _MOST_ASKED = 80, 48
_WIDTH, _SHRINK, _GAUSS_SHARE = 48, 0.1, 0.6
_LEARN_FROM = 500
_CHANCE_DEVIATIONS = 2.5
_PAIRS, _NEAR = 24, 0.3


@final
@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """Points of tiles, at most so many each.

    Attributes:
        places: (N, K, d) whole voxels.
        vectors: (N, K, F) what surrounds them; 0 where a tile has fewer.
        strength: (N, K) how far they stand out; 0 where a tile has fewer.
    """

    places: Tensor
    vectors: Tensor
    strength: Tensor


@final
@dataclass(frozen=True, slots=True, eq=False)
class Agreeing:
    """What a query tile's points say of each training tile.

    Attributes:
        votes: (N,) how many points agree how well.
        places: (Q, d) of the query.
        vectors: (Q, D) of the query.
        mean: (Q,) what each point usually reaches.
        spread: (Q,) its deviation.
    """

    votes: Tensor
    places: Tensor
    vectors: Tensor
    mean: Tensor
    spread: Tensor


@final
class Marks:
    """The points of all training tiles.

    Args:
        layout: Of the tiles.
        tiles: (N, C, *S) float16 training tiles.
        share: Scale of the filters, 1 for tiles of 64 voxels.
        rng: For the tiles that the projection learns from.
    """

    def __init__(self, layout: Layout, tiles: Tensor, share: float, rng: np.random.Generator) -> None:
        self._layout, self._share = layout, share
        self._radius = max(2, int(_RADIUS * share))
        axis = torch.arange(-self._radius, self._radius + 1)
        self._around = torch.stack(torch.meshgrid(*[axis] * layout.dims, indexing="ij"), dim=-1).flatten(
            0, -2
        )
        distance = self._around.float().norm(dim=1) / (_GAUSS_SHARE * self._radius)
        self._window = torch.exp(-0.5 * distance**2)
        chosen = torch.as_tensor(rng.permutation(len(tiles))[:_LEARN_FROM])
        self._mean, self._matrix = self._learnt(tiles[chosen])
        self._count = len(tiles)
        self._places, self._vectors = self._described(tiles)

    def _marked(self, tiles: Tensor, seen: Tensor | None) -> Marked:
        """The points of tiles where an even image has a peak or a pit."""
        dims, side = self._layout.dims, self._layout.side
        flat = flattened(tiles.float(), seen, self._share, FINE)
        height, channel = flat.abs().max(dim=1)
        inside = functional.pad(torch.ones([side - 2 * self._radius] * dims), [self._radius] * 2 * dims)
        peak = (_highest(height, _APART) == height) * inside
        if seen is not None:
            peak = peak * (seen > 0)
        found = (height * peak).flatten(1).topk(min(_MOST, side**dims), dim=1)
        steps = torch.tensor([side**axis for axis in range(dims - 1, -1, -1)])
        places = torch.div(found.indices[..., None], steps, rounding_mode="floor") % side
        near = found.indices[:, :, None] + (self._around * steps).sum(dim=1)
        values = flat.flatten(2).gather(
            2, near.clamp(0, side**dims - 1).flatten(1)[:, None].expand(-1, flat.shape[1], -1)
        )
        windows = values.unflatten(2, near.shape[1:]) * self._window
        # by the sign of what stands out, so that an inverse has the same
        middle = flat.flatten(2).gather(2, found.indices[:, None].expand(-1, flat.shape[1], -1))
        strongest = channel.flatten(1).gather(1, found.indices)
        sign = torch.sign(middle.gather(1, strongest[:, None]))
        vectors = (windows * sign[..., None]).transpose(1, 2).flatten(2)
        return Marked(places, vectors, found.values)

    def _learnt(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and projection: what surrounds points, all directions alike."""
        marked = self._marked(tiles, None)
        known = _unit(marked.vectors[marked.strength > 0])
        mean = known.mean(dim=0)
        sizes, vectors = torch.linalg.eigh(((known - mean).T @ (known - mean) / len(known)).double())
        sizes, vectors = sizes.flip(0)[:_WIDTH], vectors.flip(1)[:, :_WIDTH]
        return mean, (vectors / torch.sqrt(sizes + _SHRINK * sizes.mean())).float()

    def _project(self, marked: Marked) -> Tensor:
        """(N, K, D) unit vectors, 0 where there is no point."""
        found = _unit((_unit(marked.vectors) - self._mean) @ self._matrix)
        return found * (marked.strength > 0)[..., None]

    def _described(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K, d) places and (blocks, K, D, tiles of a block) int8 of all training tiles' points."""

        def described(some: Tensor) -> tuple[Tensor, Tensor]:
            marked = self._marked(some, None)
            return marked.places, self._project(marked)

        def vectors() -> Iterator[Tensor]:
            for where, what in one_by_one(described, tiles.split(DESCRIBED_TILES)):
                places.append(where)
                yield what

        places: list[Tensor] = []
        blocks = in_blocks(vectors(), len(tiles))
        return torch.cat(places), blocks

    def votes(self, image: Tensor, seen: Tensor) -> Agreeing:
        """How strongly one query tile (C, *S) resembles each training tile.

        Each point of the query is measured in deviations of what it reaches over all training tiles.
        """
        marked = self._marked(image[None], seen[None])
        # the work grows with their number, and the strongest find enough
        there = torch.nonzero(marked.strength[0] > 0)[:_MOST_ASKED, 0]
        places, vectors = marked.places[0][there], self._project(marked)[0][there]
        if not len(places):
            none = torch.zeros(0)
            return Agreeing(torch.zeros(self._count), places, vectors, none, none)
        best = best_windows(vectors[:, None], self._vectors)[:, : self._count]
        mean, spread = best.mean(dim=1), best.std(dim=1).clamp_min(1e-6)
        deviations = (best - mean[:, None]) / spread[:, None]
        few = (torch.relu(deviations - _CHANCE_DEVIATIONS) ** 2).sum(dim=0)
        return Agreeing(few, places, vectors, mean, spread)

    def shifts(self, found: Agreeing, candidates: Tensor, count: int) -> Tensor:
        """(T, count, d) the shifts that most pairs of points speak for."""
        if not len(found.places):
            return torch.zeros(len(candidates), count, self._layout.dims)
        there = from_blocks(self._vectors, candidates)
        deviations = (found.vectors @ there.transpose(1, 2) - found.mean[:, None]) / found.spread[:, None]
        weights, pairs = (
            (torch.relu(deviations - _CHANCE_DEVIATIONS) ** 2)
            .flatten(1)
            .topk(min(_PAIRS, deviations[0].numel()), dim=1)
        )
        points = self._places.shape[1]
        to = self._places[candidates[:, None], pairs % points]
        apart = to - found.places[torch.div(pairs, points, rounding_mode="floor")]
        away = (apart[:, :, None] - apart[:, None]).abs().amax(dim=-1)
        # less from a neighbour than from the same place: a shift of whole voxels stays what it is
        support = (weights[:, None] * ((away == 0) + _NEAR * (away == 1))).sum(dim=-1)
        shifts = []
        for _ in range(count):
            best = support.argmax(dim=1)
            shifts.append(apart.gather(1, best[:, None, None].expand(-1, 1, apart.shape[2]))[:, 0])
            taken = away.gather(1, best[:, None, None].expand(-1, 1, away.shape[2]))[:, 0] <= 1
            support = support.masked_fill(taken, -1.0)
        return torch.stack(shifts, dim=1).float()


def _highest(images: Tensor, reach: int) -> Tensor:
    """(N, *S) the highest of what is at most so many voxels away, which pooling tells slowly."""
    side = images.shape[-1]
    for axis in range(1, images.ndim):
        beyond = torch.full_like(images.narrow(axis, 0, reach), -torch.inf)
        padded = torch.cat([beyond, images, beyond], dim=axis)
        images = padded.narrow(axis, 0, side)
        for start in range(1, 2 * reach + 1):
            images = torch.maximum(images, padded.narrow(axis, start, side))
    return images


def _unit(vectors: Tensor) -> Tensor:
    unit: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return unit
