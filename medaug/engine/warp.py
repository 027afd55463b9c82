"""Moving images: an affine (or projective) map and a B-spline displacement a sample, resampled once.

The whole map is written as coefficients of cubic B-splines on a coarse lattice, which reproduce affine maps exactly, and
brought to full size by one small matrix product an axis; the field is never stored for a whole 3D batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Float64, Integer
from torch import Tensor
from torch.nn.functional import grid_sample

from medaug.core.errors import GeometryError
from medaug.engine.resample import (
    Field,
    Interpolation,
    Layer,
    Padding,
    read_places,
    sample_batch,
    sample_slabs,
)
from medaug.engine.splines import smooth_field

LabelMode = Literal["nearest", "argmax"]
__all__ = [
    "Copy",
    "Interpolation",
    "LabelMode",
    "Padding",
    "Resampling",
    "Warp",
    "in_layout_of",
    "unwarp_images",
    "warp_images",
    "warp_pairs",
]

# Control points of a map without displacement: one cell of a cubic B-spline, exact for affine maps
_PLAIN: Final = 4
# Of the inversion of a displacement: each one at least halves what is left for the fields that are drawn
_ITERATIONS: Final = 12


@final
@dataclass(frozen=True, slots=True)
class Copy:
    """A map that only exchanges, mirrors and shifts axes by whole voxels.

    Attributes:
        order: For each axis of the output, the one of the input that it shows.
        steps: For each axis of the output, 1 or -1 (mirrored).
        starts: For each axis of the output, the place on its input axis that its first voxel shows.
    """

    order: tuple[int, ...]
    steps: tuple[int, ...]
    starts: tuple[int, ...]

    def of(self, images: Tensor, out: tuple[int, ...], padding: Padding) -> Tensor:
        """(B, C, *T) copied voxel by voxel, bit for bit."""
        moved = images.permute(0, 1, *(axis + 2 for axis in self.order))
        for axis, (step, start, count) in enumerate(zip(self.steps, self.starts, out, strict=True), start=2):
            size = moved.shape[axis]
            first, last = sorted((start, start + step * (count - 1)))
            if first >= 0 and last < size:
                cut = moved.narrow(axis, first, count)
                moved = cut.flip(axis) if step < 0 else cut
                continue
            place = start + step * torch.arange(count, device=images.device)
            moved = moved.index_select(axis, _inside(place, size, padding))
            if padding == "zeros":
                is_outside = ((place < 0) | (place >= size)).view(-1, *([1] * (moved.dim() - 1 - axis)))
                moved = moved.masked_fill(is_outside, 0)
        return moved


def _inside(place: Tensor, size: int, padding: Padding) -> Tensor:
    """The voxel that stands for each place: the last one of its side, or the mirror image about that one."""
    if padding == "reflection" and size > 1:
        around = place % (2 * size - 2)
        return torch.minimum(around, 2 * size - 2 - around)
    return place.clamp(0, size - 1)


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

    def copy(self) -> Copy | None:
        """The map as a copy of voxels, where every output voxel looks at the middle of an input voxel; else None."""
        linear, shift = self.matrix[:-1, :-1], self.matrix[:-1, -1]
        whole = bool(np.isin(linear, (-1.0, 0.0, 1.0)).all() and np.array_equal(shift, np.rint(shift)))
        single = all(bool((np.abs(linear).sum(axis=axis) == 1).all()) for axis in range(2))
        if not (self.is_affine and whole and single):
            return None
        order = tuple(int(np.flatnonzero(column)[0]) for column in linear.T)
        steps = tuple(int(linear[source, axis]) for axis, source in enumerate(order))
        return Copy(order, steps, tuple(int(shift[source]) for source in order))


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
    (moved,) = _warp((Layer(images, how.image),), warps, how.padding, out_shape)
    return moved


def warp_pairs(
    images: Float[Tensor, "B C *S"],
    labels: Integer[Tensor, "B *S"],
    warps: Sequence[Warp],
    how: Resampling,
    out_shape: tuple[int, ...] | None = None,
) -> tuple[Float[Tensor, "B C *T"], Integer[Tensor, "B *T"]]:
    """Resample every image and its label map by one map; the field is made once for both.

    Images whose map only exchanges, mirrors or shifts axes by whole voxels are copied, bit for bit; where nothing of a batch
    moves, the inputs themselves are returned. An image alone and in a batch agree to the last bits of float32.

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
    layers = (Layer(images, how.image), Layer(labels.unsqueeze(1), "nearest"))
    moved, ids = _warp(layers, warps, how.padding, out_shape)
    return moved, ids.squeeze(1)


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


def _warp(
    layers: Sequence[Layer], warps: Sequence[Warp], padding: Padding, out_shape: tuple[int, ...] | None
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
    groups = _groups(warps)
    if len(groups) == 1:
        moved = _moved(layers, warps, padding, out)
        return [in_layout_of(layer.tensor, one) for layer, one in zip(layers, moved, strict=True)]
    into = [
        in_layout_of(
            layer.tensor, layer.tensor.new_empty((*images.shape[:1], *layer.tensor.shape[1:2], *out))
        )
        for layer in layers
    ]
    for group in groups:
        moved = _moved([layer.only(group) for layer in layers], [warps[n] for n in group], padding, out)
        place = slice(group[0], group[0] + 1) if len(group) == 1 else group
        for room, one in zip(into, moved, strict=True):
            room[place] = one
    return into


def _moved(
    layers: Sequence[Layer], warps: Sequence[Warp], padding: Padding, out: tuple[int, ...]
) -> list[Tensor]:
    """The samples of one group."""
    copy = warps[0].copy() if len(warps) == 1 else None
    if copy is not None:
        return [copy.of(layer.tensor, out, padding) for layer in layers]
    field = _field(warps, tuple(layers[0].tensor.shape[2:]), out, layers[0].tensor)
    return sample_slabs(layers, field, padding) if field.is_by_slab else sample_batch(layers, field, padding)


def _is_identity(warp: Warp, shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    return shape == out and warp.control is None and bool(np.array_equal(warp.matrix, np.eye(warp.dims + 1)))


def in_layout_of(before: Tensor, after: Tensor) -> Tensor:
    """A tensor in the memory format of another one: plain, or channels_last."""
    for layout in (torch.channels_last, torch.channels_last_3d):
        fits = before.dim() == (4 if layout is torch.channels_last else 5)
        if fits and before.is_contiguous(memory_format=layout) and not before.is_contiguous():
            return after.contiguous(memory_format=layout)
    return after.contiguous()


def _groups(warps: Sequence[Warp]) -> list[list[int]]:
    """Samples that are read in one call: those that are copied and 3D ones are alone, 2D ones of one lattice together."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for n, warp in enumerate(warps):
        alone = warp.dims == 3 or warp.copy() is not None
        lattice = None if warp.control is None else warp.control.shape
        groups.setdefault((n,) if alone else (lattice,), []).append(n)
    return list(groups.values())


def _field(warps: Sequence[Warp], shape: tuple[int, ...], out: tuple[int, ...], like: Tensor) -> Field:
    """The maps at the control points of one lattice; one cell is exact for those without displacement."""
    lattice = next((w.control.shape[1:] for w in warps if w.control is not None), (_PLAIN,) * len(shape))
    axes = [(np.arange(m) - 1.0) * ((n - 1) / (m - 3)) for n, m in zip(out, lattice, strict=True)]
    plain = np.stack([*np.meshgrid(*axes, indexing="ij"), np.ones(lattice)])
    places = np.repeat(plain[None], len(warps), axis=0)
    for place, warp in zip(places, warps, strict=True):
        if warp.control is not None:
            place[:-1] += warp.control
    seen = np.stack([warp.matrix for warp in warps]) @ places.reshape(len(warps), len(plain), -1)
    return Field(seen.reshape(places.shape), shape, out, like)


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
        moved.append(read_places(Layer(images[n : n + 1], how.image), places[None], how.padding)[0])
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
