"""Figures of scarce classes: the variety that few lesions cannot show is taken from the most similar class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.generators._patches.batches import TrainingSet
from medaug.generators.base import FEW_LESIONS


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Rows of figures that stand for the lesions of each class; those of real patches first.

    Attributes:
        figures: (N, C, 7) see :func:`~medaug.generators._patches.coarse.lesion_figures`.
        class_index: (N,) index into the class table.
        shares: (N,) weight within the class.
        voxels: (N,) size of the lesion in its frame.
    """

    figures: Float[Tensor, "N C 7"]
    class_index: Int[Tensor, " N"]
    shares: Float[Tensor, " N"]
    voxels: Int[Tensor, " N"]


def pooled(training: TrainingSet) -> Pooled:
    """The figures of all training patches, and those that classes of fewer than 8 lesions borrow.

    A class of n lesions keeps n/8 of the weight for its own; the rest goes to the lesions of the nearest class that
    has enough, moved so that their mean is that of the scarce class: what is borrowed is how lesions vary, not what
    the class looks like. Without such a class nothing is borrowed.
    """
    patches = training.patches
    voxels = (patches.distance > 0).flatten(1).sum(1)
    whole = Pooled(patches.figures, patches.class_index, training.shares, voxels)
    parts, shares = [whole], whole.shares.clone()
    for number, count in enumerate(training.lesions):
        donor = nearest(whole, training.lesions, number) if count < FEW_LESIONS else None
        if donor is None:
            continue
        own = whole.class_index == number
        keep = count / FEW_LESIONS
        parts.append(_borrowed(whole, number, donor, 1 - keep))
        shares[own] *= keep
    return Pooled(
        torch.cat([part.figures for part in parts]),
        torch.cat([part.class_index for part in parts]),
        torch.cat([shares, *(part.shares for part in parts[1:])]),
        torch.cat([part.voxels for part in parts]),
    )


def nearest(rows: Pooled, lesions: tuple[int, ...], number: int) -> int | None:
    """The class with 8 lesions or more whose mean figures are most like those of a class; None without one."""
    spread = rows.figures.std(dim=0).clamp(min=1e-6)
    distances = {
        other: float(((_mean(rows, other) - _mean(rows, number)) / spread).square().sum())
        for other, count in enumerate(lesions)
        if other != number and count >= FEW_LESIONS
    }
    return min(distances, key=lambda other: distances[other], default=None)


def _mean(rows: Pooled, number: int) -> Float[Tensor, "C 7"]:
    """The mean figures of a class."""
    own = rows.class_index == number
    weights = rows.shares[own] / rows.shares[own].sum()
    return (rows.figures[own] * weights[:, None, None]).sum(dim=0)


def _borrowed(whole: Pooled, number: int, donor: int, share: float) -> Pooled:
    rows = whole.class_index == donor
    moved = whole.figures[rows] - _mean(whole, donor) + _mean(whole, number)
    low, high = whole.figures.amin(dim=0), whole.figures.amax(dim=0)  # deviations cannot be negative
    return Pooled(
        torch.minimum(torch.maximum(moved, low), high),
        torch.full_like(whole.class_index[rows], number),
        share * whole.shares[rows],
        whole.voxels[rows],
    )
