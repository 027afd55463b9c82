"""Steps that are linear along each axis: blur, sharpening and lost resolution, each a small matrix an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, final

import numpy as np
import torch
from jaxtyping import Float64
from pydantic import Field
from torch import Tensor

from medaug.transforms._steps.grey import column
from medaug.transforms._steps.step import Facts, GreyStep, Images

AxisMatrix = Float64[np.ndarray, "N N"]
_REACH_SIGMAS = 4.0


def gaussian_matrix(size: int, sigma: float) -> AxisMatrix:
    """Blurring along an axis of ``size`` voxels, mirrored at its ends (d c b a | a b c d), cut at 4 sigma.

    The weights and the mirror are those of ``scipy.ndimage.gaussian_filter1d``.
    """
    if sigma <= 0 or size == 1:
        return np.eye(size)
    reach = int(_REACH_SIGMAS * sigma + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights.sum()
    place = np.arange(size)[:, None] + steps
    place %= 2 * size
    place = np.minimum(place, 2 * size - 1 - place)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], place), weights)
    return matrix


def along_axes(images: Images, matrices: Sequence[Sequence[AxisMatrix]]) -> Images:
    """Multiply every axis of every image by its own matrix.

    Args:
        images: (B, C, *S).
        matrices: For each axis, one (N, N) matrix an image; a unit matrix costs nothing where all images have it.
    """
    for axis, of_images in enumerate(matrices):
        if all(np.array_equal(matrix, np.eye(len(matrix))) for matrix in of_images):
            continue
        stack = torch.from_numpy(np.stack(of_images)).to(images.device, images.dtype)
        images = _along(images, stack, axis)
    return images


def _along(images: Images, matrices: Tensor, axis: int) -> Images:
    """One matrix product: the axis is brought next to the last, or is the last."""
    after = images.shape[axis + 3 :].numel()
    if axis == images.dim() - 3:
        rows = images.flatten(1, -2)
        return (rows @ matrices.transpose(1, 2)).view_as(images)
    blocks = images.reshape(len(images), -1, images.shape[axis + 2], after)
    return (matrices.unsqueeze(1) @ blocks).view_as(images)


def _per_axis(steps: Sequence[Blur | Sharpen], facts: Sequence[Facts]) -> list[list[AxisMatrix]]:
    dims = facts[0].dims
    return [
        [
            gaussian_matrix(fact.shape[axis], step.sigma_mm[axis] / fact.spacing_mm[axis])
            for step, fact in zip(steps, facts, strict=True)
        ]
        for axis in range(dims)
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
        return along_axes(images, _per_axis(steps, facts))


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
        return torch.addcmul(images, images - along_axes(images, _per_axis(steps, facts)), amount)


def resolution_matrix(size: int, factor: float) -> AxisMatrix:
    """Averaging ``size`` voxels into ``round(size / factor)`` thicker ones and drawing straight lines between these."""
    count = max(1, round(size / factor))
    if count >= size:
        return np.eye(size)
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
