"""Moving images: an affine (or projective) map and a B-spline displacement a sample, resampled once.

The whole map is written as coefficients of cubic B-splines on a coarse lattice, which reproduce affine maps exactly, and
brought to full size by one small matrix product an axis; the field is never stored for a whole 3D batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float, Float64, Integer
from torch import Tensor
from torch.nn.functional import grid_sample

from medaug.core.errors import GeometryError

Interpolation = Literal["linear", "cubic", "nearest"]
Padding = Literal["border", "zeros", "reflection"]
LabelMode = Literal["nearest", "argmax"]

# Control points of a map without displacement: one cell of a cubic B-spline, exact for affine maps
_PLAIN = 4
# A 3D field is made slab by slab: this many voxels at a time stay within the cache of a CPU
_SLAB_VOXELS = 1 << 19
# Of the inversion of a displacement: each one at least halves what is left for the fields that are drawn
_ITERATIONS = 12


@final
@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """For one sample: from each voxel of the output to the place in the input that it shows.

    ``input = matrix @ (output + displacement(output))``, in voxel indices.

    Attributes:
        matrix: (D + 1, D + 1) homogeneous, float64; the last row is that of a perspective in 2D.
        control: (D, *M) displacement at the control points in output voxels, or None. Point (1, 1, ...) lies on the first
            voxel, point (M - 2, ...) on the last one.
    """

    matrix: Float64[np.ndarray, "D1 D1"]
    control: Float64[np.ndarray, "D *M"] | None = None

    @staticmethod
    def identity(dims: int) -> Warp:
        """The map that moves nothing."""
        return Warp(np.eye(dims + 1))

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.matrix) - 1

    @property
    def is_affine(self) -> bool:
        """Whether there is neither displacement nor perspective."""
        return self.control is None and bool(np.array_equal(self.matrix[-1], np.eye(self.dims + 1)[-1]))

    def turn(
        self, shape: Sequence[int], out_shape: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The order of axes and the axes to flip, where the map is exactly that; None where voxels must be resampled."""
        linear = self.matrix[:-1, :-1]
        if not self.is_affine or not np.array_equal(np.abs(linear).sum(axis=0), np.ones(self.dims)):
            return None
        if not np.isin(linear, (-1.0, 0.0, 1.0)).all() or not (np.abs(linear).sum(axis=1) == 1).all():
            return None
        order = tuple(int(np.flatnonzero(column)[0]) for column in linear.T)
        flips = tuple(axis for axis in range(self.dims) if linear[order[axis], axis] < 0)
        shift = [shape[order[axis]] - 1.0 if axis in flips else 0.0 for axis in range(self.dims)]
        fits = tuple(shape[axis] for axis in order) == tuple(out_shape)
        moved = [self.matrix[order[axis], -1] for axis in range(self.dims)]
        return (order, flips) if fits and np.array_equal(moved, shift) else None


@final
@dataclass(frozen=True, slots=True)
class Resampling:
    """How values between voxels are found.

    Attributes:
        image: Cubic is Keys' kernel with a = -0.75 (Keys, IEEE TASSP 1981), 2D only.
        labels: The nearest voxel, or the class with most weight under linear interpolation.
        padding: What lies outside the input.
    """

    image: Interpolation = "linear"
    labels: LabelMode = "nearest"
    padding: Padding = "border"


def warp_images(
    images: Float[Tensor, "B C *S"],
    warps: Sequence[Warp],
    how: Resampling,
    out_shape: tuple[int, ...] | None = None,
) -> Float[Tensor, "B C *T"]:
    """Resample every image by its own map; gradients flow to the images. See :func:`warp_pairs`."""
    (moved,) = _warp((_Layer(images, how.image),), warps, how.padding, out_shape)
    return moved


def warp_pairs(
    images: Float[Tensor, "B C *S"],
    labels: Integer[Tensor, "B *S"],
    warps: Sequence[Warp],
    how: Resampling,
    out_shape: tuple[int, ...] | None = None,
) -> tuple[Float[Tensor, "B C *T"], Integer[Tensor, "B *T"]]:
    """Resample every image and its label map by one map; the field is made once for both.

    Images whose map only turns or flips the grid are copied voxel by voxel, bit for bit; where that is true of a whole
    batch and nothing moves, the inputs themselves are returned.

    Args:
        images: 2D or 3D, any device; a batch in channels_last stays so.
        labels: Ids; the result holds no other ones. Outside the input, ``zeros`` padding gives background.
        warps: One a sample.
        how: Interpolation and padding.
        out_shape: Size of the result; None keeps that of the input.

    Raises:
        GeometryError: If there is not one map a sample, of the images' dimensions, or cubic is asked for in 3D.
    """
    if how.labels == "argmax":
        ids = torch.stack(
            [_argmax(one, warp, how, out_shape) for one, warp in zip(labels, warps, strict=True)]
        )
        return warp_images(images, warps, how, out_shape), ids
    # float32 holds every id up to 2 ** 24
    layers = (_Layer(images, how.image), _Layer(labels.unsqueeze(1).float(), "nearest"))
    moved, ids = _warp(layers, warps, how.padding, out_shape)
    return moved, ids.squeeze(1).to(labels.dtype)


def _argmax(
    labels: Integer[Tensor, "*S"], warp: Warp, how: Resampling, out_shape: tuple[int, ...] | None
) -> Integer[Tensor, "*T"]:
    """The id with most weight at each place under linear interpolation; the smaller id of those that tie."""
    present = torch.unique(labels)
    ids = present if bool((present == 0).any()) else torch.cat([present.new_zeros(1), present])
    shares = torch.stack([labels == number for number in ids]).float()[None]
    linear = Resampling("linear", "nearest", how.padding)
    shares = warp_images(shares, [warp], linear, out_shape)[0]
    # what lies outside is background
    outside = (1 - shares.sum(dim=0)).clamp(min=0)
    return ids[torch.cat([(shares[0] + outside)[None], shares[1:]]).argmax(dim=0)]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """Tensors (B, C, *S) that move together, and how each finds the values between voxels."""

    tensor: Tensor
    mode: Interpolation


def _warp(
    layers: Sequence[_Layer], warps: Sequence[Warp], padding: Padding, out_shape: tuple[int, ...] | None
) -> list[Tensor]:
    images = layers[0].tensor
    dims, shape = images.dim() - 2, tuple(images.shape[2:])
    out = out_shape or shape
    if len(warps) != len(images) or any(warp.dims != dims for warp in warps):
        what = f"{len(warps)} maps for {len(images)} images of {dims} dimensions"
        raise GeometryError(what, expected="one map an image")
    if dims == 3 and any(layer.mode == "cubic" for layer in layers):
        raise GeometryError("cubic interpolation is for 2D", expected="linear or nearest in 3D")
    if all(_is_identity(warp, shape, out) for warp in warps):
        return [layer.tensor for layer in layers]
    groups = _groups(warps, shape, out)
    moved = [_warp_group(layers, [warps[n] for n in group], group, padding, out) for group in groups]
    place = torch.tensor([n for group in groups for n in group]).argsort()
    joined = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*moved, strict=True)]
    ordered = [one if len(groups) == 1 else one[place.to(one.device)] for one in joined]
    return [_like(layer.tensor, one) for layer, one in zip(layers, ordered, strict=True)]


def _is_identity(warp: Warp, shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    return shape == out and warp.control is None and bool(np.array_equal(warp.matrix, np.eye(warp.dims + 1)))


def _like(before: Tensor, after: Tensor) -> Tensor:
    """The result in the memory format of the input."""
    for layout in (torch.channels_last, torch.channels_last_3d):
        fits = before.dim() == (4 if layout is torch.channels_last else 5)
        if fits and before.is_contiguous(memory_format=layout) and not before.is_contiguous():
            return after.contiguous(memory_format=layout)
    return after.contiguous()


def _groups(warps: Sequence[Warp], shape: tuple[int, ...], out: tuple[int, ...]) -> list[list[int]]:
    """Samples that are sampled in one call: those whose axes only turn are alone, 2D ones of one lattice together."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for n, warp in enumerate(warps):
        alone = warp.dims == 3 or warp.turn(shape, out) is not None
        lattice = None if warp.control is None else warp.control.shape
        groups.setdefault((n,) if alone else (lattice,), []).append(n)
    return list(groups.values())


def _warp_group(
    layers: Sequence[_Layer],
    warps: Sequence[Warp],
    members: list[int],
    padding: Padding,
    out: tuple[int, ...],
) -> list[Tensor]:
    images = layers[0].tensor
    shape = tuple(images.shape[2:])
    whole = len(members) == len(images)
    inputs = [layer if whole else _Layer(layer.tensor[members], layer.mode) for layer in layers]
    turn = warps[0].turn(shape, out)
    if turn is not None and len(members) == 1:
        order, flips = turn
        axes = [0, 1, *(axis + 2 for axis in order)]
        return [one.tensor.permute(axes).flip([axis + 2 for axis in flips]) for one in inputs]
    field = _Field(warps, shape, out, images)
    if len(shape) == 2 or images.is_cuda:
        return [_sample(one, field.slab(0, out[0]), padding) for one in inputs]
    return _in_slabs(inputs, field, padding, out)


def _in_slabs(
    layers: Sequence[_Layer], field: _Field, padding: Padding, out: tuple[int, ...]
) -> list[Tensor]:
    """One 3D image on a CPU, slab by slab; the parts of a slab run side by side."""
    depth = max(1, _SLAB_VOXELS // (out[1] * out[2]))
    slabs: list[list[Tensor]] = [[] for _ in layers]
    for first in range(0, out[0], depth):
        rows = min(depth, out[0] - first)
        lanes = torch.get_num_threads()
        parts = lanes if rows % lanes == 0 else 1
        grid = field.slab(first, first + rows).unflatten(1, (parts, rows // parts)).squeeze(0)
        for layer, done in zip(layers, slabs, strict=True):
            # grid_sample runs a thread a batch item: one image, seen several times, lets all cores work on it
            seen = _Layer(layer.tensor.expand(parts, *layer.tensor.shape[1:]), layer.mode)
            done.append(_sample(seen, grid, padding).transpose(0, 1).flatten(1, 2))
    return [torch.cat(done, dim=1)[None] for done in slabs]


def _sample(layer: _Layer, grid: Tensor, padding: Padding) -> Tensor:
    kind = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}[layer.mode]
    return grid_sample(
        layer.tensor, grid.to(layer.tensor.dtype), mode=kind, padding_mode=padding, align_corners=True
    )


@final
class _Field:
    """Where each output voxel looks, in ``grid_sample``'s coordinates: -1 the first voxel of an axis, 1 the last one."""

    def __init__(
        self, warps: Sequence[Warp], shape: tuple[int, ...], out: tuple[int, ...], like: Tensor
    ) -> None:
        self._is_projective = any(not np.array_equal(w.matrix[-1], np.eye(w.dims + 1)[-1]) for w in warps)
        lattice = next((w.control.shape[1:] for w in warps if w.control is not None), (_PLAIN,) * len(shape))
        coefficients = np.stack([_coefficients(warp, shape, out, lattice) for warp in warps])
        # grid_sample names the last axis first; the weight of a perspective stays last
        order = [*range(len(shape) - 1, -1, -1), *([len(shape)] if self._is_projective else [])]
        field = torch.from_numpy(coefficients[:, order]).to(like.device, torch.float32)
        bases = [
            torch.from_numpy(_basis(n, m)).to(like.device, torch.float32)
            for n, m in zip(out, lattice, strict=True)
        ]
        field = field @ bases[-1].T
        if len(shape) == 3:
            field = bases[1] @ field
        self._first, self._field, self._rest = bases[0], field.flatten(3), out[1:]

    def slab(self, first: int, last: int) -> Tensor:
        """(B, last - first, *rest, D) for these rows of the output."""
        grid = (self._first[first:last] @ self._field).unflatten(-1, self._rest).movedim(1, -1)
        weighted: Tensor = grid[..., :-1] / grid[..., -1:] if self._is_projective else grid
        return weighted


def _coefficients(
    warp: Warp, shape: tuple[int, ...], out: tuple[int, ...], lattice: tuple[int, ...]
) -> Float64[np.ndarray, "D1 *M"]:
    """The map at the control points, homogeneous: each axis scaled to -1..1 of the input, and the weight last."""
    axes = [(np.arange(m) - 1.0) * ((n - 1) / (m - 3)) for n, m in zip(out, lattice, strict=True)]
    places = np.stack([*np.meshgrid(*axes, indexing="ij"), np.ones(lattice)])
    if warp.control is not None:
        places[:-1] += warp.control
    seen = np.tensordot(warp.matrix, places, axes=1)
    for axis, size in enumerate(shape):
        # an axis of one voxel has no -1..1: every place on it is the voxel
        seen[axis] = 2 * seen[axis] / (size - 1) - seen[-1] if size > 1 else 0.0
    return np.asarray(seen)


def unwarp_images(
    images: Float[Tensor, "B C *T"], warps: Sequence[Warp], how: Resampling, shape: tuple[int, ...]
) -> Float[Tensor, "B C *S"]:
    """Bring images back that :func:`warp_images` moved (predictions of a moved image, say), one resampling.

    An affine map is inverted exactly. A displacement is inverted by fixed-point iteration, which converges because folding-free
    fields contract (Chen et al., Med Phys 35, 2008).

    Args:
        images: As moved.
        warps: The maps that moved them.
        how: Interpolation and padding.
        shape: Size before they were moved.
    """
    out = tuple(images.shape[2:])
    back = [np.linalg.inv(warp.matrix) for warp in warps]
    plain = [warp.control is None for warp in warps]
    affine = warp_images(images, [Warp(matrix) for matrix in back], how, shape) if any(plain) else None
    moved = []
    for n, (warp, matrix) in enumerate(zip(warps, back, strict=True)):
        if affine is not None and plain[n]:
            moved.append(affine[n])
            continue
        places = _unmoved(warp, matrix, shape, out).to(images)
        moved.append(_sample(_Layer(images[n : n + 1], how.image), places[None], how.padding)[0])
    return torch.stack(moved)


def _unmoved(
    warp: Warp, back: Float64[np.ndarray, "D1 D1"], shape: tuple[int, ...], out: tuple[int, ...]
) -> Float[Tensor, "*S D"]:
    """For each voxel before the move, where it is afterwards, in ``grid_sample``'s coordinates: x + v(x) = back(y)."""
    if warp.control is None:
        raise GeometryError("map has no displacement to invert", expected="a control lattice")
    field = smooth_field(torch.from_numpy(warp.control), out)
    places = torch.stack(
        torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij"), -1
    )
    linear, shift = torch.from_numpy(back[:, :-1]), torch.from_numpy(back[:, -1])
    seen = places @ linear.T + shift
    target = seen[..., :-1] / seen[..., -1:]
    size = torch.tensor([max(n - 1, 1) for n in out], dtype=torch.float64)
    found = target
    for _ in range(_ITERATIONS):
        grid = (2 * found / size - 1).flip(-1)[None]
        moved = grid_sample(field[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0]
        found = target - moved.movedim(0, -1)
    return (2 * found / size - 1).flip(-1)


def smooth_field(control: Float[Tensor, "B *M"], shape: tuple[int, ...]) -> Float[Tensor, "B *S"]:
    """Cubic B-splines over a whole patch: point (1, 1, ...) lies on the first voxel, point (M - 2, ...) on the last one."""
    field = control
    for axis, size in enumerate(shape):
        basis = torch.from_numpy(_basis(size, control.shape[axis + 1])).to(control)
        field = torch.tensordot(field, basis, dims=([1], [1]))
    return field


def _basis(count: int, points: int) -> Float64[np.ndarray, "N M"]:
    """Weights of uniform cubic B-splines at ``count`` places from control point 1 to ``points`` - 2."""
    place = np.arange(count) * ((points - 3) / max(count - 1, 1))
    cell = np.minimum(np.floor(place).astype(int), points - 4)
    u = place - cell
    weights = (
        np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], axis=1) / 6
    )
    basis = np.zeros((count, points))
    np.put_along_axis(basis, cell[:, None] + np.arange(4), weights, axis=1)
    return basis
