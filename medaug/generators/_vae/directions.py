"""Named directions in the latent space: along which a measured attribute of the training lesions grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.generators._patches.coarse import CONTRAST, lesion_figures, zone_of
from medaug.generators._patches.layers import zone_mean

Attribute = Literal["size", "contrast", "sharpness"]
ATTRIBUTES: tuple[Attribute, ...] = ("size", "contrast", "sharpness")
_EDGE = 1.5  # voxels on either side of the outline
_RIDGE = 0.05  # of the variance of the codes
_LONGEST = 3.0  # steps through the latent space end here: beyond, no training lesion lies


@final
@dataclass(frozen=True, slots=True)
class Directions:
    """What a regression of the attributes on the codes of the training lesions found, within each class.

    Attributes:
        slopes: (3, Z) growth of each attribute, in its own deviations, along each latent axis.
        explained: (3,) share of an attribute's variance that the codes explain.
        deviations: (3,) standard deviation of each attribute within a class.
    """

    slopes: Float[Tensor, "3 Z"]
    explained: Float[Tensor, " 3"]
    deviations: Float[Tensor, " 3"]

    def shift(self, name: Attribute, amount: float) -> Float[Tensor, " Z"]:
        """The change of a code that the regression expects to change an attribute by so many deviations.

        An attribute that the codes hardly know would ask for a huge one: it is cut at length 3.
        """
        slope = self.slopes[ATTRIBUTES.index(name)]
        change = amount * slope / slope.square().sum().clamp(min=1e-6)
        return change * min(1.0, _LONGEST / max(float(change.norm()), 1e-6))


def attributes(
    image: Float[Tensor, "B C *S"], filled: Float[Tensor, "B C *S"], distance: Float[Tensor, "B 1 *S"]
) -> Float[Tensor, "B 3"]:
    """Size, contrast and sharpness of lesions, of the first channel.

    Size is the logarithm of the voxels; contrast the mean difference to the filled tissue in normalised units;
    sharpness the mean gradient at the outline over the deviation in the zone, so that it does not grow with contrast.
    """
    size = (distance > 0).flatten(1).sum(1).clamp(min=1).log().to(image.dtype)
    contrast = lesion_figures(image, filled, distance)[:, 0, CONTRAST]
    first, zone = image[:, :1], zone_of(distance)
    level = zone_mean(first, zone).reshape(-1, *(1,) * (image.ndim - 1))
    deviation = (zone_mean((first - level) ** 2, zone) + 1e-6).sqrt()
    edge = (distance.abs() <= _EDGE).to(image.dtype)
    steps = torch.gradient(first, dim=tuple(range(2, image.ndim)))
    slope = zone_mean(torch.stack(steps).square().sum(dim=0).sqrt(), edge)
    return torch.stack([size, contrast, (slope / deviation)[:, 0]], dim=1)


def regress(
    codes: Float[Tensor, "N Z"],
    measured: Float[Tensor, "N 3"],
    class_index: Int[Tensor, " N"],
    shares: Float[Tensor, " N"],
) -> Directions:
    """Ridge regression of the attributes on the codes, both about the mean of their class.

    Args:
        codes: Mean code of each training patch.
        measured: Their :func:`attributes`.
        class_index: Their classes; classes differ by more than their codes say, since the network is told them.
        shares: Weight of each patch.
    """
    weight = (shares / shares.sum()).double()
    x, y = (_centred(rows.double(), class_index, weight) for rows in (codes, measured))
    deviations = (weight @ y.square()).sqrt().clamp(min=1e-6)
    y = y / deviations
    spread = x.T @ (weight[:, None] * x)
    ridge = _RIDGE * spread.diagonal().mean().clamp(min=1e-6) * torch.eye(len(spread), dtype=torch.float64)
    slopes = torch.linalg.solve(spread + ridge, x.T @ (weight[:, None] * y))
    explained = 1 - weight @ (y - x @ slopes).square() / (weight @ y.square()).clamp(min=1e-6)
    return Directions(slopes.T.float(), explained.clamp(0, 1).float(), deviations.float())


def _centred(rows: Tensor, class_index: Tensor, weight: Tensor) -> Tensor:
    centred = rows.clone()
    for number in class_index.unique():
        of_class = class_index == number
        share = weight[of_class] / weight[of_class].sum()
        centred[of_class] -= share @ rows[of_class]
    return centred
