"""Candidates for what was turned or zoomed: which training tiles hold windows that a query's windows resemble.

What no turn, mirror image or inversion changes is compared, at five zooms. It is projected so that what planted
changes alter counts little (linear discriminant analysis), and reduced at once to the best window of each training
tile: nothing of the size of all pairs of windows is ever held.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from medaug.copying.balls import Balls
from medaug.copying.planting import moved
from medaug.engine.lanes import one_by_one

ZOOMS = (0.8, 0.9, 1.0, 1.12, 1.25)
BLOCK_TILES = 500
DESCRIBED_TILES = 50  # at once; blocks are made of whole ones
_LEARN_FROM = 500
_SHRINK = 0.02
_LEAST_SEEN = 0.5
_LEVELS = 127.0
_EMPTY = 1e-4  # of the mean energy of a tile's windows
_CHANCE_DEVIATIONS = 1.5


@final
@dataclass(frozen=True, slots=True)
class Grid:
    """Where windows lie, in voxels of a tile.

    Attributes:
        radius: Of a window.
        rings: Rings of a window.
        degree: Highest degree of its harmonics.
        inset: Of the first and last window.
        stride: Between windows of training tiles.
        query_stride: Between windows of a query: not a multiple, so that some of them fall near one of the source's.
        width: Numbers kept of a window.
    """

    radius: float
    rings: int
    degree: int
    inset: int
    stride: int
    query_stride: int
    width: int


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """Tiles of the training images and how they are compared.

    Attributes:
        dims: 2 for slices, 3 for volumes.
        side: Voxels of a tile along each axis.
    """

    dims: int
    side: int

    @property
    def grid(self) -> Grid:
        """Windows that are compared."""
        if self.dims == 2:
            return self._scaled(Grid(16.0, 5, 10, 14, 7, 9, 48), 64)
        return self._scaled(Grid(9.0, 3, 5, 8, 5, 9, 48), 32)

    def _scaled(self, grid: Grid, side: int) -> Grid:
        share = self.side / side
        inset, stride = max(2, round(grid.inset * share)), max(2, round(grid.stride * share))
        # the same places from both sides, so that a mirror image's windows fall on the source's
        while (self.side - 1 - 2 * inset) % stride and stride % 2:
            inset += 1
        return Grid(
            grid.radius * share,
            grid.rings,
            grid.degree,
            inset,
            stride,
            max(2, round(grid.query_stride * share)),
            grid.width,
        )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """What a query tile's windows say of each training tile.

    Attributes:
        wide: (N,) over all windows.
        few: (N,) where few windows that agree well count.
    """

    wide: Tensor
    few: Tensor


@final
@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of a query tile at all zooms.

    Attributes:
        coefficients: (W, Z, C, B) of the balls.
        vectors: (W, Z, D) unit vectors.
    """

    coefficients: Tensor
    vectors: Tensor


@final
class Channel:
    """The windows of all training tiles.

    Args:
        layout: Of the tiles.
        tiles: (N, C, *S) float16 training tiles.
        rng: For the changes that the projection learns to overlook.
    """

    def __init__(self, layout: Layout, tiles: Tensor, rng: np.random.Generator) -> None:
        grid = layout.grid
        self._grid, self._layout = grid, layout
        self.zoomed = [Balls.of(layout.dims, grid.radius * zoom, grid.rings, grid.degree) for zoom in ZOOMS]
        self.balls = self.zoomed[ZOOMS.index(1.0)]
        chosen = rng.permutation(len(tiles))[:_LEARN_FROM]
        self._mean, self._matrix = self._learnt(tiles[torch.as_tensor(chosen)].float(), rng)
        self._count = len(tiles)
        self._windows = self._described(tiles)

    def _raw(self, coefficients: Tensor) -> Tensor:
        """(N, W, C, B) to (N, W, F), free of the window's contrast."""
        energy = (coefficients**2).sum(dim=-1, keepdim=True)
        small = 0.05 * energy.mean() + 1e-9
        products = self.balls.invariants(coefficients) / (energy + small)
        return (torch.sign(products) * torch.sqrt(products.abs())).flatten(2)

    def _learnt(self, tiles: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Mean and projection: directions in which windows differ more than planted changes move them."""
        plain = self._raw(self.balls.coefficients(tiles, self._grid.inset, self._grid.stride))
        changed = np.stack([_jittered(tile, rng, self._grid.stride / 4) for tile in tiles.numpy()])
        other = self._raw(
            self.balls.coefficients(torch.as_tensor(changed), self._grid.inset, self._grid.stride)
        )
        flat, drift = plain.flatten(0, 1), (other - plain).flatten(0, 1)
        mean = flat.mean(dim=0)
        total = (flat - mean).T @ (flat - mean) / len(flat)
        within = drift.T @ drift / len(drift) + 0.5 * total
        within += torch.eye(len(within)) * within.diagonal().mean() * _SHRINK
        inverse = torch.linalg.inv(torch.linalg.cholesky(within.double()))
        _, vectors = torch.linalg.eigh(inverse @ total.double() @ inverse.T)
        kept = vectors.flip(1)[:, : self._grid.width]
        return mean, (inverse.T @ kept).float()

    def describe(self, coefficients: Tensor) -> Tensor:
        """(N, W, C, B) coefficients to (N, W, D) unit vectors; 0 for a window of air, which resembles every other."""
        projected: Tensor = (self._raw(coefficients) - self._mean) @ self._matrix
        unit: Tensor = projected / projected.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        energy = (coefficients**2).sum(dim=(2, 3))
        empty = energy <= _EMPTY * energy.mean(dim=1, keepdim=True)
        return unit.masked_fill(empty[..., None], 0.0)

    def _described(self, tiles: Tensor) -> Tensor:
        """(blocks, W, D, tiles of a block) int8 of all training tiles."""

        def described(some: Tensor) -> Tensor:
            found = self.balls.coefficients(some.float(), self._grid.inset, self._grid.stride)
            return self.describe(found)

        return in_blocks(one_by_one(described, tiles.split(DESCRIBED_TILES)), len(tiles))

    def places(self, stride: int) -> Tensor:
        """(W, d) middles of a grid's windows, from the middle of a tile."""
        side, inset = self._layout.side, self._grid.inset
        axis = torch.arange(inset, side - inset, stride, dtype=torch.float32) - (side - 1) / 2
        return torch.stack(torch.meshgrid(*[axis] * self._layout.dims, indexing="ij"), dim=-1).flatten(0, -2)

    def _shown(self, seen: Tensor, stride: int) -> Tensor:
        """(N, W) mean of what is shown in each window."""
        reach = int(self._grid.radius * 0.7)
        pool = torch.nn.functional.avg_pool2d if self._layout.dims == 2 else torch.nn.functional.avg_pool3d
        inset = self._grid.inset
        flat = seen[:, None]
        if reach > inset:
            flat = torch.nn.functional.pad(flat, [reach - inset] * 2 * self._layout.dims, mode="replicate")
        elif inset > reach:
            cut = inset - reach
            flat = flat[(slice(None), slice(None), *[slice(cut, -cut)] * self._layout.dims)]
        return pool(flat, 2 * reach + 1, stride).flatten(1)

    def described_query(self, tile: Tensor) -> Windows:
        """The windows of one query tile (C, *S)."""
        grid = self._grid
        zoomed = [
            balls.coefficients(tile[None].float(), grid.inset, grid.query_stride)[0] for balls in self.zoomed
        ]
        vectors = [self.describe(one[None])[0] for one in zoomed]
        return Windows(torch.stack(zoomed, dim=1), torch.stack(vectors, dim=1))

    def described(self, numbers: Tensor) -> Tensor:
        """(T, W, D) windows of some training tiles."""
        return from_blocks(self._windows, numbers)

    def votes(self, query: Windows, seen: Tensor) -> Votes:
        """How strongly one query tile, of which ``seen`` counts, resembles each training tile.

        Each window of the query is measured in deviations of what it reaches over all training tiles.
        """
        shown = self._shown(seen[None].float(), self._grid.query_stride)[0] >= _LEAST_SEEN
        if not bool(shown.any()):
            return Votes(torch.zeros(self._count), torch.zeros(self._count))
        best = best_windows(query.vectors[shown], self._windows)[:, : self._count]
        mean, spread = best.mean(dim=1), best.std(dim=1).clamp_min(1e-6)
        deviations = (best - mean[:, None]) / spread[:, None]
        few = (torch.relu(deviations - _CHANCE_DEVIATIONS) ** 2).sum(dim=0)
        return Votes(deviations.sum(dim=0), few)


def in_blocks(described: Iterable[Tensor], count: int) -> Tensor:
    """Windows of ``count`` tiles, laid out for products: (blocks, W, D, tiles of a block) int8, the last filled up with zeros.

    Args:
        described: (n, W, D) unit vectors of the next :data:`DESCRIBED_TILES` tiles each; read once, so that nothing is held twice.
        count: Of tiles.
    """
    block = min(BLOCK_TILES, count)
    laid, at = torch.zeros(0), 0
    for windows in described:
        if not at:
            laid = torch.zeros(math.ceil(count / block), *windows.shape[1:], block, dtype=torch.int8)
        number, first = divmod(at, block)
        laid[number, :, :, first : first + len(windows)] = _in_levels(windows).permute(1, 2, 0)
        at += len(windows)
    return laid


def from_blocks(laid: Tensor, numbers: Tensor) -> Tensor:
    """(T, W, D) windows of some tiles of :func:`in_blocks`."""
    block = laid.shape[-1]
    found: Tensor = laid[torch.div(numbers, block, rounding_mode="floor"), :, :, numbers % block]
    return found / _LEVELS


def _in_levels(vectors: Tensor) -> Tensor:
    """Unit vectors as int8, whose products take a third of the time and are off by 0.003."""
    return (vectors * _LEVELS).round().to(torch.int8)


def best_windows(queries: Tensor, windows: Tensor) -> Tensor:
    """(Q, Z, D) query windows at Z zooms against (B, W, D, n) int8 training windows: (Q, B * n) largest products."""
    count, zooms, _ = queries.shape
    flat = _in_levels(queries.reshape(count * zooms, -1))
    found = []
    for block in windows:
        best = _product(flat, block[0])
        for window in block[1:]:
            torch.maximum(best, _product(flat, window), out=best)
        found.append(best.reshape(count, zooms, -1).amax(dim=1))
    return torch.cat(found, dim=1) / _LEVELS**2


def _product(first: Tensor, second: Tensor) -> Tensor:
    """(Q, D) times (D, n), both int8, as int32: torch's only product of the kind, which its quantised models rest on too."""
    return torch._int_mm(first, second)  # noqa: SLF001


def _jittered(tile: np.ndarray, rng: np.random.Generator, reach: float) -> np.ndarray:
    """A small move between the windows of a grid, gamma and noise."""
    dims = tile.ndim - 1
    changed = moved(
        tile, np.eye(dims) * np.exp(rng.uniform(-0.06, 0.06, dims)).mean(), rng.uniform(-reach, reach, dims)
    )
    low = changed.min(axis=tuple(range(1, dims + 1)), keepdims=True)
    span = np.maximum(changed.max(axis=tuple(range(1, dims + 1)), keepdims=True) - low, 1e-6)
    graded = low + span * ((changed - low) / span) ** (2.0 ** rng.uniform(-0.8, 0.8))
    noise = rng.uniform(0.0, 0.08) * span * rng.standard_normal(changed.shape)
    return np.asarray(graded + noise, dtype=np.float32)


def top(votes: Sequence[Tensor], counts: Sequence[int], left_out: Tensor | None) -> list[int]:
    """Numbers of the tiles with the most votes, of each list so many, each once.

    Args:
        votes: (N,) each.
        counts: How many of each.
        left_out: (N,) True where a tile must not be found; None = nowhere.
    """
    chosen: dict[int, None] = {}
    for vote, count in zip(votes, counts, strict=True):
        ranked = vote if left_out is None else vote.masked_fill(left_out, -torch.inf)
        allowed = len(vote) if left_out is None else int((~left_out).sum())
        chosen.update(dict.fromkeys(ranked.topk(min(count, allowed)).indices.tolist()))
    return list(chosen)
