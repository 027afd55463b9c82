"""Named directions in the latent space: along which a measured attribute of the drawn lesions grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.generators._patches.coarse import CONTRAST, lesion_figures, zone_of
from medaug.generators._patches.layers import zone_mean

Attribute = Literal["size", "contrast", "sharpness"]
ATTRIBUTES: tuple[Attribute, ...] = ("size", "contrast", "sharpness")
_EDGE = 1.5  # voxels on either side of the outline
_RIDGE = 0.02  # of the variance of the codes
_ONE = 0.05  # two attributes that share more than all but this are not told apart
_LONGEST = 3.0  # deviations of the codes: beyond, no training lesion lies


@final
@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """What a regression of the attributes of drawn lesions on their codes found, within each place and class.

    Attributes:
        changes: (3, Z) the change of a code that goes with one deviation more of an attribute.
        explained: (3,) share of an attribute's variance that the codes explain linearly.
        deviations: (3,) standard deviation of each attribute: of size over the training lesions of a class, of the
            others over the lesions drawn in one place.
    """

    changes: Float[Tensor, "3 Z"]
    explained: Float[Tensor, " 3"]
    deviations: Float[Tensor, " 3"]

    def shift(self, name: Attribute, amount: float) -> Float[Tensor, " Z"]:
        """The change of a code that changes an attribute by so many deviations.

        An attribute that the codes hardly know would ask for a huge one: it ends at three deviations of the codes.
        """
        number = ATTRIBUTES.index(name)
        farthest = _LONGEST * float(self.explained[number].clamp(min=1e-6)) ** 0.5
        return float(np.clip(amount, -farthest, farthest)) * self.changes[number]


def attributes(
    image: Float[Tensor, "B C *S"], filled: Float[Tensor, "B C *S"], distance: Float[Tensor, "B 1 *S"]
) -> Float[Tensor, "B 3"]:
    """Size, contrast and sharpness of lesions, of the first channel.

    Size is the logarithm of the voxels; contrast the mean difference to the filled tissue in normalised units;
    sharpness the mean gradient at the outline over the deviation in the zone, so that it does not grow with contrast.
    """
    size = log_size(distance).to(image.dtype)
    contrast = lesion_figures(image, filled, distance)[:, 0, CONTRAST]
    first, zone = image[:, :1], zone_of(distance)
    level = zone_mean(first, zone).reshape(-1, *(1,) * (image.ndim - 1))
    deviation = (zone_mean((first - level) ** 2, zone) + 1e-6).sqrt()
    edge = (distance.abs() <= _EDGE).to(image.dtype)
    steps = torch.gradient(first, dim=tuple(range(2, image.ndim)))
    slope = zone_mean(torch.stack(steps).square().sum(dim=0).sqrt(), edge)
    return torch.stack([size, contrast, (slope / deviation)[:, 0]], dim=1)


def log_size(distance: Float[Tensor, "B 1 *S"]) -> Float[Tensor, " B"]:
    """Logarithm of the voxels of lesions."""
    return (distance > 0).flatten(1).sum(1).clamp(min=1).log()


def regress(
    codes: Float[Tensor, "N Z"], measured: Float[Tensor, "N 3"], group: Int[Tensor, " N"]
) -> Directions:
    """Ridge regression of the attributes on the codes, both about the mean of their group.

    What comes back is not the slope, which may point where no code lies, but the change of a typical code that goes
    with a change of the attribute: the covariance of the codes times the slope (Haufe et al., NeuroImage 2014).

    Args:
        codes: Code of each lesion.
        measured: Their :func:`attributes`.
        group: Lesions of one group differ in their codes alone.
    """
    x, y = (_centred(rows.double(), group) for rows in (codes, measured))
    deviations = y.square().mean(dim=0).sqrt().clamp(min=1e-6)
    y = y / deviations
    spread = x.T @ x / len(x)
    ridge = _RIDGE * spread.diagonal().mean().clamp(min=1e-6) * torch.eye(len(spread), dtype=torch.float64)
    slopes = torch.linalg.solve(spread + ridge, x.T @ y / len(x))
    explained = 1 - (y - x @ slopes).square().mean(dim=0) / y.square().mean(dim=0).clamp(min=1e-6)
    carried = spread @ slopes
    changes = carried / (slopes * carried).sum(dim=0).clamp(min=1e-6)
    changes[:, 1:] = _apart(carried[:, 1:], slopes[:, 1:])
    return Directions(changes.T.float(), explained.clamp(0, 1).float(), deviations.float())


def _apart(carried: Tensor, slopes: Tensor) -> Tensor:
    """Changes of contrast at one sharpness, and of sharpness at one contrast; where both are one, both move."""
    told_apart: Tensor = torch.linalg.pinv(slopes.T @ carried, rtol=_ONE)
    return carried @ told_apart


def _centred(rows: Tensor, group: Tensor) -> Tensor:
    centred = rows.clone()
    for number in group.unique():
        own = group == number
        centred[own] -= rows[own].mean(dim=0)
    return centred
