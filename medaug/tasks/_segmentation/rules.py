"""nnU-Net's rules from a fingerprint to a plan (Isensee et al., Nat Methods 2021): spacing, depth, patch, batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float, Integer

from medaug.tasks._segmentation.network import Steps

BUDGET: Final = {2: 12 * 128 * 128, 3: 2 * 48 * 56 * 48}  # voxels of a step that two cores bear
ALIKE: Final = 0.05  # spacings that differ by less are one

_ANISOTROPIC = 3.0  # from here on the coarse axis is treated apart
_COARSE_PERCENTILE = 10
_SMALLEST = 4
_LEAST_BATCH = 2
_MOST_OF_DATASET = 0.05  # of all voxels, in one batch
_START = {2: 2048, 3: 256}  # sides of the isotropic patch that is cut down


@final
@dataclass(frozen=True, slots=True)
class Topology:
    """How deep a U is, and the patch that fits it.

    Attributes:
        patch: Sizes that can be halved as often as the U does.
        strides: Of every step down, one number an axis.
        kernels: Of every level, one number an axis.
    """

    patch: tuple[int, ...]
    strides: Steps
    kernels: Steps


def target_spacing(
    spacings_mm: Float[np.ndarray, "N 3"], shapes: Integer[np.ndarray, "N 3"]
) -> tuple[float, float, float]:
    """The median, but the 10th percentile along an axis that is more than three times coarser than the others.

    That axis must also have three times fewer voxels; it never becomes finer than the next coarse one.
    """
    target, size = np.median(spacings_mm, axis=0), np.median(shapes, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    if (
        target[worst] > _ANISOTROPIC * target[others].max()
        and size[worst] * _ANISOTROPIC < size[others].min()
    ):
        finer = float(np.percentile(spacings_mm[:, worst], _COARSE_PERCENTILE))
        target[worst] = max(finer, target[others].max())
    return (round(float(target[0]), 4), round(float(target[1]), 4), round(float(target[2]), 4))


def plan_topology(patch: Sequence[int], spacing_mm: Sequence[float]) -> Topology:
    """Halve the fine axes until a further step would leave fewer than four voxels.

    An axis is left alone while it is twice as coarse as the finest that can be halved; kernels along it are 1 until it is
    met. An axis alone is halved from 12 voxels on.
    """
    sizes, spacing = [float(n) for n in patch], list(spacing_mm)
    kernel, strides, kernels = [1] * len(sizes), [], []
    while chosen := _to_halve(sizes, spacing):
        kernel = [_kernel(k, mm, min(spacing)) for k, mm in zip(kernel, spacing, strict=True)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in chosen else 1 for axis in range(len(sizes))))
        for axis in chosen:
            sizes[axis], spacing[axis] = np.ceil(sizes[axis] / 2), spacing[axis] * 2
    kernels.append((3,) * len(sizes))
    steps = np.prod(np.array(strides, dtype=int).reshape(-1, len(sizes)), axis=0)
    padded = tuple(int(-(-n // step) * step) for n, step in zip(patch, steps, strict=True))
    return Topology(padded, tuple(strides), tuple(kernels))


def _to_halve(sizes: Sequence[float], spacing: Sequence[float]) -> list[int]:
    large = [axis for axis, n in enumerate(sizes) if n >= 2 * _SMALLEST]
    if not large:
        return []
    finest = min(spacing[axis] for axis in large)
    chosen = [axis for axis in large if spacing[axis] < 2 * finest]
    return [] if len(chosen) == 1 and sizes[chosen[0]] < 3 * _SMALLEST else chosen


def _kernel(before: int, spacing_mm: float, finest_mm: float) -> int:
    return 3 if before == 3 or spacing_mm < 2 * finest_mm else 1


def plan_patch_by_spacing(
    median_shape: Sequence[int], spacing_mm: Sequence[float], most_voxels: int
) -> Topology:
    """As much of the median case as the budget allows.

    It begins as a block of equal extent in mm; the axis that shows the largest part of the case is then shortened first.

    Args:
        median_shape: Voxels along each axis of the patch.
        spacing_mm: Along these axes.
        most_voxels: Of one patch.
    """
    dims = len(median_shape)
    extent = np.array([1 / mm for mm in spacing_mm])
    extent *= _START[dims] / np.prod(extent) ** (1 / dims)
    patch = [max(_SMALLEST, min(round(n), whole)) for n, whole in zip(extent, median_shape, strict=True)]
    found = plan_topology(patch, spacing_mm)
    while np.prod(found.patch) > most_voxels:
        steps = _steps(found)
        shrinkable = [axis for axis in range(dims) if found.patch[axis] > max(steps[axis], _SMALLEST)]
        if not shrinkable:
            break
        axis = max(shrinkable, key=lambda n: found.patch[n] / median_shape[n])
        shorter = list(found.patch)
        shorter[axis] -= steps[axis]
        # a shorter side may be halved less often: then it need not be shortened by as much
        shallower = list(found.patch)
        shallower[axis] -= _steps(plan_topology(shorter, spacing_mm))[axis]
        found = plan_topology(shallower, spacing_mm)
    return found


def _steps(topology: Topology) -> tuple[int, ...]:
    """How much the U shrinks each axis in all."""
    dims = len(topology.patch)
    return tuple(int(n) for n in np.prod(np.array(topology.strides, dtype=int).reshape(-1, dims), axis=0))


def plan_batch(patch: Sequence[int], budget: int, dataset_voxels: int) -> int:
    """Patches of a step: as many as the budget allows and 5% of the dataset hold, at least two."""
    voxels = int(np.prod(patch))
    return max(_LEAST_BATCH, min(budget // voxels, int(_MOST_OF_DATASET * dataset_voxels / voxels)))
