"""Reading images at places between their voxels, fast: whole batches in 2D, slabs of one image in 3D on a CPU.

``grid_sample`` reads a 2D image with vector instructions, a 3D one without. On a CPU a 3D image is therefore read as 2D: its
rows of all slices one below the other, once on each of the two slices around a place, and a straight line between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import grid_sample

from medaug.engine.lanes import is_watched, side_by_side
from medaug.engine.splines import basis_like

Interpolation = Literal["linear", "cubic", "nearest"]
Padding = Literal["border", "zeros", "reflection"]

# A 3D field is made slab by slab: this many voxels at a time stay within the cache of a core
SLAB_VOXELS = 1 << 17
_SHARES = 4
# float32 tells places on this many rows apart by a thousandth of a row
_ROWS = 1 << 15
_MODES = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Tensors (B, C, *S) that move together with others, and how each finds the values between voxels."""

    tensor: Tensor
    mode: Interpolation

    def only(self, members: list[int]) -> Layer:
        """Some images of the batch."""
        one = len(members) == 1
        return Layer(self.tensor[members[0] : members[0] + 1] if one else self.tensor[members], self.mode)

    def floating(self) -> Layer:
        """Integers as float32, which holds every id up to 2 ** 24."""
        return self if self.tensor.is_floating_point() else Layer(self.tensor.float(), self.mode)


@final
class Field:
    """Where each output voxel looks, as coefficients of cubic B-splines.

    Args:
        coefficients: (B, D + 1, *M) homogeneous places in input voxels.
        shape: Of the input.
        out: Of the output.
        like: Names the device.
    """

    def __init__(
        self,
        coefficients: Float64[np.ndarray, "B D1 *M"],
        shape: tuple[int, ...],
        out: tuple[int, ...],
        like: Tensor,
    ) -> None:
        dims = len(shape)
        self.is_projective = not bool((coefficients[:, -1] == 1).all())
        self.shape, self.out = shape, out
        # places are named from -1 to 1, those along the first two of three axes in voxels until the rows are known
        self.is_by_slab = dims == 3 and not like.is_cuda and not self.is_projective
        seen = coefficients.copy()
        for axis in range(dims - 1 if self.is_by_slab else 0, dims):
            size = shape[axis]
            # an axis of one voxel has no -1..1: every place on it is the voxel
            seen[:, axis] = 2 * seen[:, axis] / (size - 1) - seen[:, -1] if size > 1 else 0.0
        # grid_sample names the last axis first; the weight of a perspective stays last
        order = [*range(dims - 1, -1, -1), *([dims] if self.is_projective else [])]
        field = torch.from_numpy(seen[:, order]).to(like.device, torch.float32)
        lattice = coefficients.shape[2:]
        bases = [basis_like(n, m, field) for n, m in zip(out, lattice, strict=True)]
        field = field @ bases[-1].T
        if dims == 3:
            field = bases[1] @ field
        self._first, self._field = bases[0], field.flatten(3)

    def places(self, first: int, last: int) -> Float[Tensor, "B D rows *rest"]:
        """For these rows of the output, the last axis first."""
        places: Tensor = (self._first[first:last] @ self._field).unflatten(-1, self.out[1:])
        return places[:, :-1] / places[:, -1:] if self.is_projective else places


def sample_batch(layers: Sequence[Layer], field: Field, padding: Padding) -> list[Tensor]:
    """A whole batch read at once, integers as integers."""
    grid = field.places(0, field.out[0]).movedim(1, -1)
    return [read_places(layer.floating(), grid, padding).to(layer.tensor.dtype) for layer in layers]


def read_places(layer: Layer, grid: Tensor, padding: Padding) -> Tensor:
    """Read at places from -1 (the first voxel of an axis) to 1 (the last one), the last axis first."""
    mode = _MODES[layer.mode]
    return grid_sample(
        layer.tensor, grid.to(layer.tensor.dtype), mode=mode, padding_mode=padding, align_corners=True
    )


def sample_slabs(layers: Sequence[Layer], field: Field, padding: Padding) -> list[Tensor]:
    """One 3D image and what moves with it, read slab by slab on a CPU, integers as integers."""
    into = [layer.tensor.new_empty((1, layer.tensor.shape[1], *field.out)) for layer in layers]
    inputs = [layer.floating() for layer in layers]
    plain = padding != "border" or any(layer.tensor.dtype != torch.float32 for layer in inputs)
    inputs = [Layer(layer.tensor.contiguous(), layer.mode) for layer in inputs]
    # several at a time take no more memory than one
    voxels = SLAB_VOXELS // min(torch.get_num_threads(), _SHARES)
    depth = max(1, voxels // (field.out[1] * field.out[2]))

    def read(first: int) -> None:
        last = min(first + depth, field.out[0])
        places = field.places(first, last)[0]
        span = None if plain else _span(places[-1], field.shape)
        found = _slab(inputs, places, field.shape, padding) if span is None else _rows(inputs, places, span)
        for one, moved in zip(into, found, strict=True):
            one[:, :, first:last] = moved

    starts = range(0, field.out[0], depth)
    if is_watched(*(layer.tensor for layer in layers)):
        for first in starts:
            read(first)
    else:
        side_by_side(read, starts)
    return into


def _span(i: Float[Tensor, "n J K"], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The slices between which a slab looks, or None where they hold too many rows."""
    low, high = (int(min(max(float(end), 0), shape[0] - 1)) for end in i.aminmax())
    return (low, min(high + 1, shape[0] - 1)) if (high + 2 - low) * shape[1] <= _ROWS else None


def _slab(
    layers: Sequence[Layer], places: Float[Tensor, "D n J K"], shape: tuple[int, ...], padding: Padding
) -> list[Tensor]:
    """Trilinear, by ``grid_sample`` itself."""
    for place, size in ((places[2], shape[0]), (places[1], shape[1])):
        if size > 1:
            place.mul_(2 / (size - 1)).sub_(1)
        else:
            place.zero_()
    grid = places.movedim(0, -1)[None]
    return [read_places(layer, grid, padding)[0] for layer in layers]


def _rows(layers: Sequence[Layer], places: Float[Tensor, "D n J K"], span: tuple[int, int]) -> list[Tensor]:
    """Trilinear or nearest, by bilinear reading of the rows of all slices."""
    first, last = span
    size = tuple(places.shape[1:])
    rows = layers[0].tensor.shape[3]
    k, j, i = places
    i.clamp_(first, last)
    j.clamp_(0, rows - 1)
    below = i.floor()
    # all planes are written before the first is read: a gradient keeps them
    planes = torch.empty((4, *size))
    planes[0] = k
    scale = 2 / max((last - first + 1) * rows - 1, 1)
    torch.add(j, below - first, alpha=rows, out=planes[1])
    torch.add(j.round(), i.round().sub_(first), alpha=rows, out=planes[3])
    planes[1::2].mul_(scale).sub_(1)
    torch.add(planes[1], rows * scale, out=planes[2])
    grid = planes.view(4, 1, -1, size[2]).permute(1, 2, 3, 0)
    share = i.sub_(below)
    read = []
    for layer in layers:
        flat = Layer(layer.tensor[:, :, first : last + 1].flatten(2, 3), layer.mode)
        if layer.mode == "nearest":
            read.append(read_places(flat, grid[..., 0::3], "border").view(-1, *size))
            continue
        on, above = (read_places(flat, grid[..., 0 : n + 1 : n], "border").view(-1, *size) for n in (1, 2))
        read.append(torch.lerp(on, above, share))
    return read
