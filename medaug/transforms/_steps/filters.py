"""Steps that are linear along each axis: blur, sharpening and lost resolution, each a small matrix an axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, Self, final

import numpy as np
import torch
from jaxtyping import Float, Float64
from pydantic import Field
from torch import Tensor

from medaug.transforms._steps.grey import column
from medaug.transforms._steps.step import Facts, GreyStep, Images

AxisMatrix = Float64[np.ndarray, "N N"]
_REACH_SIGMAS: Final = 4.0
# A blur of a longer axis is a product for every so many voxels, of what lies within reach of them
_BLOCK: Final = 32
_WHOLE: Final = 80


def blurred(images: Images, sigmas: Sequence[Sequence[float]]) -> Images:
    """Gaussian blur, mirrored at the edges (d c b a | a b c d), cut at 4 sigma, as ``scipy.ndimage.gaussian_filter`` has it.

    Args:
        images: (B, C, *S).
        sigmas: For each axis, one width in voxels an image; 0 leaves the axis alone.
    """
    for axis, of_images in enumerate(sigmas):
        if images.shape[axis + 2] > 1 and any(of_images):
            images = _smoothed(images, gaussian_weights(of_images), axis)
    return images


def gaussian_weights(sigmas: Sequence[float]) -> Float64[np.ndarray, "B W"]:
    """What the neighbours of a voxel weigh, as far as the widest of these Gaussians reaches."""
    reaches = [int(_REACH_SIGMAS * sigma + 0.5) for sigma in sigmas]
    steps = np.arange(-max(reaches), max(reaches) + 1)
    widths = np.maximum(np.array(sigmas), 1e-9)[:, None]
    weights = np.exp(-0.5 * (steps / widths) ** 2) * (np.abs(steps) <= np.array(reaches)[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _smoothed(images: Images, weights: Float64[np.ndarray, "B W"], axis: int) -> Images:
    """Every image convolved along an axis with its own weights."""
    size, reach = images.shape[axis + 2], weights.shape[1] // 2
    kernel = torch.from_numpy(weights).to(images)
    if size <= max(_WHOLE, 4 * reach):
        spread = torch.from_numpy(_mirrored(size, reach)).to(images)
        return _along(images, (kernel @ spread).view(-1, size, size), axis)
    band = (kernel @ torch.from_numpy(_band(reach)).to(images)).view(len(kernel), _BLOCK, -1)
    done = torch.empty(images.shape, dtype=images.dtype, device=images.device)
    for first in range(0, size, _BLOCK):
        last = min(first + _BLOCK, size)
        low, high = max(first - reach, 0), min(last + reach, size)
        part = _folded(band[:, : last - first], reach, (first - reach - low, last + reach - high))
        done.narrow(axis + 2, first, last - first).copy_(
            _along(images.narrow(axis + 2, low, high - low), part, axis)
        )
    return done


def _folded(band: Float[Tensor, "B N W"], reach: int, over: tuple[int, int]) -> Float[Tensor, "B N V"]:
    """The weights of voxels of which so many on each side lie beyond an edge, given to those they are mirrored on."""
    before, after = -over[0], over[1]
    width = band.shape[1] + 2 * reach
    inner = band[:, :, before : width - after]
    if before or after:
        inner = inner.clone()
    if before:
        inner[:, :, :before] += band[:, :, :before].flip(-1)
    if after:
        inner[:, :, -after:] += band[:, :, width - after : width].flip(-1)
    return inner


@lru_cache(maxsize=64)
def _mirrored(size: int, reach: int) -> Float64[np.ndarray, "W NN"]:
    """For each neighbour, the (size, size) matrix that brings its value to every voxel of a mirrored axis."""
    place = (np.arange(size) + np.arange(-reach, reach + 1)[:, None]) % (2 * size)
    place = np.minimum(place, 2 * size - 1 - place)
    return np.asarray(place[:, :, None] == np.arange(size), dtype=np.float64).reshape(2 * reach + 1, -1)


@lru_cache(maxsize=64)
def _band(reach: int) -> Float64[np.ndarray, "W NV"]:
    """For each neighbour, the (block, block + 2 reach) matrix that brings its value to every voxel of a block."""
    place = np.arange(_BLOCK) + np.arange(2 * reach + 1)[:, None]
    at = place[:, :, None] == np.arange(_BLOCK + 2 * reach)
    return np.asarray(at, dtype=np.float64).reshape(2 * reach + 1, -1)


def along_axes(images: Images, matrices: Sequence[Sequence[AxisMatrix | None]]) -> Images:
    """Multiply every axis of every image by its own matrix.

    Args:
        images: (B, C, *S).
        matrices: For each axis, one (N, N) matrix an image, or None where the axis of that image stays as it is.
    """
    for axis, of_images in enumerate(matrices):
        if any(matrix is not None for matrix in of_images):
            size = images.shape[axis + 2]
            stack = np.stack([np.eye(size) if matrix is None else matrix for matrix in of_images])
            images = _along(images, torch.from_numpy(stack).to(images), axis)
    return images


def _along(images: Images, matrices: Float[Tensor, "B M N"], axis: int) -> Float[Tensor, "B C *T"]:
    """One matrix product: the axis is brought next to the last, or is the last."""
    shape = (*images.shape[: axis + 2], matrices.shape[1], *images.shape[axis + 3 :])
    if axis == images.dim() - 3:
        return (images.flatten(1, -2) @ matrices.transpose(1, 2)).view(shape)
    after = images.shape[axis + 3 :].numel()
    blocks = images.reshape(len(images), -1, images.shape[axis + 2], after)
    return (matrices.unsqueeze(1) @ blocks).view(shape)


def _widths(steps: Sequence[Blur | Sharpen], facts: Sequence[Facts]) -> list[list[float]]:
    """The widths of a step in voxels, axis by axis."""
    return [
        [step.sigma_mm[axis] / fact.spacing_mm[axis] for step, fact in zip(steps, facts, strict=True)]
        for axis in range(facts[0].dims)
    ]


@final
class Blur(GreyStep):
    """Gaussian blur, of its own width along each axis; 1 = up to 1.2 pixels in-plane and half as much through it."""

    rank = 2
    kind: Literal["blur"] = "blur"
    sigma_mm: tuple[float, float, float]

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform up to the limit, in mm of the finest axis."""
        finest = min(facts.spacing_mm)
        i, j, k = (float(rng.uniform(0, limit * magnitude * finest)) for limit in (1.2, 1.2, 0.6))
        return cls(sigma_mm=(i, j, k))

    @property
    def is_identity(self) -> bool:
        """No width."""
        return not any(self.sigma_mm)

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """One matrix product an axis."""
        return blurred(images, _widths(steps, facts))


@final
class Sharpen(GreyStep):
    """Unsharp mask: add back what a blur takes away; 1 = up to once, at a width of one pixel."""

    rank = 2
    kind: Literal["sharpen"] = "sharpen"
    amount: float = Field(ge=0)
    sigma_mm: tuple[float, float, float]

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform up to the limit."""
        finest = min(facts.spacing_mm)
        return cls(amount=float(rng.uniform(0, magnitude)), sigma_mm=(finest, finest, finest))

    @property
    def is_identity(self) -> bool:
        """Nothing is added."""
        return self.amount == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``x + amount * (x - blurred)``."""
        amount = column([step.amount for step in steps], images)
        return torch.addcmul(images, images - blurred(images, _widths(steps, facts)), amount)


def resolution_matrix(size: int, factor: float) -> AxisMatrix | None:
    """Averaging ``size`` voxels into ``round(size / factor)`` thicker ones and drawing straight lines between these."""
    count = max(1, round(size / factor))
    return _thick(size, count) if count < size else None


@lru_cache(maxsize=256)
def _thick(size: int, count: int) -> AxisMatrix:
    edges = np.linspace(0, size, count + 1)
    voxel = np.arange(size)
    shared = np.minimum(edges[1:, None], voxel + 1) - np.maximum(edges[:-1, None], voxel)
    averaged = np.clip(shared, 0, None) * count / size
    place = np.clip((voxel + 0.5) * count / size - 0.5, 0, count - 1)
    cell = np.minimum(np.floor(place).astype(int), max(count - 2, 0))
    drawn = np.zeros((size, count))
    np.put_along_axis(drawn, cell[:, None], (1 - (place - cell))[:, None], axis=1)
    if count > 1:
        np.put_along_axis(drawn, cell[:, None] + 1, (place - cell)[:, None], axis=1)
    return np.asarray(drawn @ averaged)


@final
class LowResolution(GreyStep):
    """Lose resolution, along each axis by its own factor; 1 = up to 2.5 in-plane and 3 across the slices."""

    rank = 2
    kind: Literal["low_resolution"] = "low_resolution"
    factors: tuple[float, float, float] = Field(description="thickness of the simulated voxels, in voxels")

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Every other time one axis alone, else all axes alike."""
        factor = float(rng.uniform(1, 1 + 1.5 * magnitude))
        if rng.random() < 0.5:
            return cls(factors=(factor, factor, factor))
        axis = int(rng.integers(facts.dims))
        thick = float(rng.uniform(1, 1 + (2.0 if axis == 2 else 1.5) * magnitude))
        i, j, k = (thick if n == axis else 1.0 for n in range(3))
        return cls(factors=(i, j, k))

    @property
    def is_identity(self) -> bool:
        """All factors 1."""
        return all(factor <= 1 for factor in self.factors)

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """One matrix product an axis."""
        dims = images.dim() - 2
        matrices = [
            [resolution_matrix(images.shape[axis + 2], step.factors[axis]) for step in steps]
            for axis in range(dims)
        ]
        return along_axes(images, matrices)
