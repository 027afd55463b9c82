"""How well one tile can be moved onto another, and which part of it agrees.

A turn and zoom come from the candidates; the shift from a cross-correlation (Fourier); then Gauss-Newton steps make
the move exact (Lucas and Kanade, IJCAI 1981). What is compared is free of slow shades and, but for one band, of contrast,
so that shared anatomy counts little and gamma less. Agreement is the correlation inside boxes of the whole, a half and a quarter,
each in deviations of chance, so that a pasted quarter counts as much as it should.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, final

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional


@final
class Band(NamedTuple):
    """What counts, in voxels of a tile of 64.

    Attributes:
        finest: Scale; what is finer is noise.
        coarsest: Scale; what is coarser is shade.
        contrast: Scale at which contrast is made even; infinite = it stays as it is.
    """

    finest: float
    coarsest: float
    contrast: float


STRUCTURE, TEXTURE, SHAPE = Band(1.2, 3.0, 5.0), Band(0.5, 1.2, 3.0), Band(2.0, 12.0, math.inf)
COARSE = Band(2.4, 6.0, 10.0)
BANDS = (STRUCTURE, TEXTURE, SHAPE)
_FLAT_SHARE = 0.3
BOXES = (1.0, 0.7, 0.5, 0.35)
_FEWEST_FREE, _COVERED = 6.0, 0.6
_FAINT = 0.1  # of a tile's usual energy
_CELLS = {2: 16, 3: 8}
_NEAR_SHARE = 0.12

_DAMPING = 0.02
_LARGEST = 0.9995
_RIM = 1.5  # slopes at the edge of what is read are of the edge


def smoothed(images: Tensor, sigma: float) -> Tensor:
    """(N, *S) images under a Gaussian, edges repeated; their mean for an infinite one."""
    if math.isinf(sigma):
        return images.flatten(1).mean(dim=1).reshape(-1, *[1] * (images.ndim - 1))
    return _along(images, _blur(images.shape[-1], sigma))


def _along(images: Tensor, matrix: Tensor) -> Tensor:
    """(N, *S) images times a matrix along each axis: here faster than a convolution or pooling."""
    images = images @ matrix
    for axis in range(images.ndim - 2, 0, -1):
        beyond = images.shape[axis + 1 :]
        images = (matrix.T @ images.flatten(axis + 1)).unflatten(axis + 1, beyond)
    return images


@cache
def _blur(side: int, sigma: float) -> Tensor:
    """(side, side): what each place gives to each."""
    plain = torch.eye(side, dtype=torch.float64).numpy()
    return torch.as_tensor(
        ndimage.gaussian_filter1d(plain, sigma, axis=1, mode="nearest"), dtype=torch.float32
    )


def flattened(tiles: Tensor, seen: Tensor | None, share: float, band: Band = STRUCTURE) -> Tensor:
    """(N, C, *S) tiles without slow shades and with even contrast; 0 where nothing is seen.

    Args:
        tiles: The tiles.
        seen: (N, *S) 0 to 1; None = all of them.
        share: Scale of the filters, 1 for tiles of 64 voxels.
        band: The scales that count.
    """
    n, channels = tiles.shape[:2]
    flat = tiles.reshape(n * channels, *tiles.shape[2:])
    shades = smoothed(flat, band.finest * share) - smoothed(flat, band.coarsest * share)
    spread = torch.sqrt(smoothed(shades**2, band.contrast * share).clamp_min(0.0))
    usual = spread.flatten(1).mean(dim=1).reshape(-1, *[1] * (flat.ndim - 1))
    even = shades / (spread + _FLAT_SHARE * usual + 1e-6)
    even = even.reshape(tiles.shape)
    return even if seen is None else even * seen[:, None]


def filled(images: Tensor, seen: Tensor) -> Tensor:
    """(N, C, *S) images whose voxels that are not seen, by (N, *S), are filled in smoothly from those that are."""
    n, channels = images.shape[:2]
    sigma, counts = images.shape[-1] / 8, seen[:, None]
    usual = (images * counts).flatten(2).sum(dim=2) / seen.flatten(1).sum(dim=1, keepdim=True).clamp_min(1.0)
    usual = usual.reshape(n, channels, *[1] * (images.ndim - 2))
    around = smoothed(((images - usual) * counts).flatten(0, 1), sigma).reshape(images.shape)
    around = around / (smoothed(seen, sigma)[:, None] + 1e-4) + usual
    return torch.where(counts > 0, images, around)


@cache
def _means(side: int, box: int, stride: int) -> Tensor:
    """(side, boxes): what each place gives to the mean of each box."""
    firsts = torch.arange(0, side - box + 1, stride)
    steps = torch.arange(side)[:, None] - firsts
    return ((steps >= 0) & (steps < box)).float() / box


@final
@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Affine moves: a query at x shows what a source shows at ``matrix @ x + shift``, x from the middle, in voxels.

    Attributes:
        matrix: (H, d, d).
        shift: (H, d).
    """

    matrix: Tensor
    shift: Tensor

    def at(self, numbers: Tensor) -> Moves:
        """Some of them."""
        return Moves(self.matrix[numbers], self.shift[numbers])

    def halved(self) -> Moves:
        """The same between tiles of half the size."""
        return Moves(self.matrix, self.shift / 2)

    def doubled(self) -> Moves:
        """The same between tiles of twice the size."""
        return Moves(self.matrix, self.shift * 2)


def halved(images: Tensor) -> Tensor:
    """(N, C, *S) images of an even side at half the size: a quarter or an eighth of the work."""
    pool = functional.avg_pool2d if images.ndim == 4 else functional.avg_pool3d
    return pool(images, 2)


def covered(moves: Moves, side: int, rim: float) -> Tensor:
    """(H, *S) 1 where a moved tile is read at least so many voxels from its edge."""
    inside = (_read_at(moves, side).abs() <= (side - 1) / 2 - rim).all(dim=1)
    return inside.float().reshape(-1, *[side] * moves.shift.shape[1])


def _read_at(moves: Moves, side: int) -> Tensor:
    """(H, d, P) where a source is read for each voxel of a query, from its middle."""
    return moves.matrix @ _places(moves.shift.shape[1], side) + moves.shift[..., None]


@cache
def _places(dims: int, side: int) -> Tensor:
    """(d, P) of all voxels, from the middle."""
    axis = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    return torch.stack(torch.meshgrid(*[axis] * dims, indexing="ij")).reshape(dims, -1)


def read_moved(images: Tensor, moves: Moves) -> Tensor:
    """(H, C, *S) images read at the moved places, linearly; 0 beyond their edges."""
    side = images.shape[-1]
    # grid_sample counts axes backwards and in half sides
    grid = (_read_at(moves, side) * (2.0 / side)).flip(1).unflatten(2, images.shape[2:]).movedim(1, -1)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def find_shift(query: Tensor, sources: Tensor, matrix: Tensor, near: Tensor) -> Moves:
    """The shift at which each turned and zoomed source agrees best with the query, or with its inverse.

    Args:
        query: (C, *S) flattened.
        sources: (H, C, *S) flattened.
        matrix: (H, d, d).
        near: (H, d) where the turned source is expected, in voxels; NaN = anywhere.
    """
    dims, side = query.ndim - 1, query.shape[-1]
    turned = read_moved(sources, Moves(matrix, torch.zeros(len(matrix), dims)))
    axes = tuple(range(2, 2 + dims))
    product = torch.fft.rfftn(query[None], dim=axes).conj() * torch.fft.rfftn(turned, dim=axes)
    agreements = torch.fft.irfftn(product.sum(dim=1), s=query.shape[1:], dim=tuple(range(1, 1 + dims))).abs()
    steps = torch.arange(side, dtype=torch.float32)
    for axis in range(dims):
        away = (steps - near[:, axis, None] + side / 2) % side - side / 2
        allowed = torch.isnan(away) | (away.abs() <= _NEAR_SHARE * side)
        shape = [len(matrix), *[1] * dims]
        shape[1 + axis] = side
        agreements = agreements * allowed.reshape(shape)
    best = agreements.flatten(1).argmax(dim=1)
    places = []
    for _ in range(dims):
        places.append(best % side)
        best = torch.div(best, side, rounding_mode="floor")
    move = torch.stack(places[::-1], dim=1).float()
    move = torch.where(move >= side / 2, move - side, move)
    return Moves(matrix, torch.einsum("hij,hj->hi", matrix, move))


def refined(query: Tensor, sources: Tensor, moves: Moves, steps: int) -> Moves:
    """Gauss-Newton steps of the whole affine move; the query's contrast is that of the source.

    A step is taken in the query's places and put before the move, so that slopes are those of what was read anyhow.
    """
    dims, side = query.ndim - 1, query.shape[-1]
    ones = torch.cat([_places(dims, side) / (side / 2), torch.ones(1, side**dims)])
    matrix, shift = moves.matrix, moves.shift
    for _ in range(steps):
        now = Moves(matrix, shift)
        moved = read_moved(sources, now)
        slopes = torch.stack(torch.gradient(moved, dim=tuple(range(2, 2 + dims))), dim=2).flatten(3)
        read = moved.flatten(2)
        scale = (read * query.flatten(1)).sum(dim=(1, 2)) / (read**2).sum(dim=(1, 2)).clamp_min(1e-6)
        sign = torch.where(scale < 0, -1.0, 1.0)[:, None, None]
        error = sign * query.flatten(1) - read
        # only where both agree already: a pasted part must not be pulled away by the rest
        weight = torch.exp(-(error**2)) * covered(now, side, _RIM).flatten(1)[:, None]
        jacobian = (slopes[:, :, :, None] * ones).flatten(2, 3)
        weighed = jacobian * weight[:, :, None]
        normal = torch.einsum("hcap,hcbp->hab", weighed, jacobian)
        right = torch.einsum("hcap,hcp->ha", weighed, error)
        damping = _DAMPING * normal.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1e-6)
        normal = normal + damping[:, None, None] * torch.eye(normal.shape[1])
        change = torch.linalg.solve(normal, right[..., None])[..., 0].reshape(-1, dims, dims + 1)
        change = change.clamp(-2.0, 2.0)
        shift = shift + (matrix @ change[..., dims:])[..., 0]
        matrix = matrix + matrix @ change[..., :dims] / (side / 2)
    return Moves(matrix, shift)


def agreement(query: Tensor, weight: Tensor, read: Tensor, share: float, band: Band = STRUCTURE) -> Tensor:
    """(H, P) how strongly the moved sources agree with the query inside boxes; below 0 where inverted.

    It is ``atanh(r) sqrt(n - 3)``, where n is the number of independent values that both show in a box, and 0 where
    the source shows too little of what the query does. Boxes of
    each size of :data:`BOXES` follow one another, see :func:`box_sizes`.

    Args:
        query: (C, *S) flattened.
        weight: (*S) 0 to 1: the part that counts.
        read: (H, C, *S) flattened and moved.
        share: Scale of the filters.
        band: The scales that count.
    """
    dims, side = query.ndim - 1, query.shape[-1]
    known = (read != 0).any(dim=1).float() * weight
    each = (4.0 * math.pi) ** (dims / 2) * (band.finest * share) ** dims / query.shape[0]
    product = (query * read).sum(dim=1) * weight
    first = (query**2).sum(dim=0) * known
    second = (read**2).sum(dim=1) * weight
    cell = max(1, side // _CELLS[dims])
    cells = _along(torch.cat([product, first, second, known, weight[None]]), _means(side, cell, cell))
    _, *energies, counted = (one.flatten(1).mean(dim=1) for one in cells[:-1].chunk(4))
    faint = [(_FAINT * one / counted.clamp_min(1e-6)).reshape(-1, *[1] * dims) for one in energies]
    columns = []
    for part in BOXES:
        box = max(1, round(cells.shape[-1] * part))
        means = _along(cells, _means(cells.shape[-1], box, 1))
        inner, here, there, shown = means[:-1].chunk(4)
        # traces of what lies beside a box of air agree with anything
        here, there = (torch.maximum(one, low * shown) for one, low in zip((here, there), faint, strict=True))
        r = (inner / torch.sqrt(here * there).clamp_min(1e-6)).clamp(-_LARGEST, _LARGEST)
        free = shown * ((box * cell) ** dims / each) - 3.0
        strength = torch.atanh(r) * torch.sqrt(free.clamp_min(0.0))
        # a rib at the rim, where nothing else of the source is left, agrees by chance
        counts = (free >= _FEWEST_FREE) & (shown >= _COVERED * means[-1:])
        columns.append(torch.where(counts, strength, torch.zeros(())).flatten(1))
    return torch.cat(columns, dim=1)


def box_sizes(dims: int, side: int) -> Tensor:
    """(P,) for each column of :func:`agreement` the place of its size in :data:`BOXES`."""
    cells = side // max(1, side // _CELLS[dims])
    counts = [(cells - max(1, round(cells * part)) + 1) ** dims for part in BOXES]
    return torch.repeat_interleave(torch.arange(len(BOXES)), torch.tensor(counts))


def leads(strength: Tensor, patients: Tensor, place: int) -> Tensor:
    """(H, P) how far each source is ahead, box by box, of what the third best other patient reaches there.

    An edge that runs through a box agrees with many; what is copied agrees with one. A blend of two patients has two
    sources, hence the third.

    Args:
        strength: (H, P) agreements.
        patients: (H,) of each source.
        place: Of the runner-up, from 1.
    """
    names, owner = torch.unique(patients, return_inverse=True)
    best = torch.zeros(len(names), strength.shape[1])
    best.scatter_reduce_(0, owner[:, None].expand_as(strength), strength.abs(), "amax")
    if len(names) <= 1:
        return strength.abs()
    ranked = best.topk(min(place + 1, len(names)), dim=0).values
    runner, after = ranked[min(place, len(ranked) - 1) - 1], ranked[-1]
    # one's own patient is no runner-up
    return strength.abs() - torch.where(best[owner] >= runner, after, runner)
