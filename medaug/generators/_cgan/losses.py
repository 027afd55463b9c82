"""The terms of both losses, each a function of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medaug.generators._patches.coarse import smooth
from medaug.generators._patches.layers import zone_mean

Objective = Literal["hinge", "non_saturating", "minimax"]

_DEPTHS = (-2.0, 0.0, 1.0, 2.0, 3.5, 100.0)  # voxels inside the edge


def critic_losses(
    objective: Objective, real: Float[Tensor, " B"], made: Float[Tensor, " B"]
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """What a discriminator loses by each sample: hinge (Lim and Ye 2017) or cross-entropy (Goodfellow et al., NeurIPS 2014)."""
    if objective == "hinge":
        return functional.relu(1 - real), functional.relu(1 + made)
    return functional.softplus(-real), functional.softplus(made)


def critic_loss(objective: Objective, real: Float[Tensor, " B"], made: Float[Tensor, " B"]) -> Tensor:
    """What the discriminator minimises: the mean over real samples and that over made ones."""
    by_real, by_made = critic_losses(objective, real, made)
    return by_real.mean() + by_made.mean()


def generator_loss(objective: Objective, made: Float[Tensor, " B"]) -> Tensor:
    """What the generator minimises: the score itself with hinge, log(1 - D) with minimax, -log D with non_saturating."""
    if objective == "hinge":
        return -made.mean()
    return (
        functional.softplus(-made).mean()
        if objective == "non_saturating"
        else -functional.softplus(made).mean()
    )


def lecam(
    real: Float[Tensor, " B"], made: Float[Tensor, " B"], *, real_mean: float, made_mean: float
) -> Tensor:
    """Keeps the scores near each other's running means; for small data (Tseng et al., CVPR 2021)."""
    return (
        functional.relu(real - made_mean).square().mean() + functional.relu(real_mean - made).square().mean()
    )


def blurred_l1(made: Tensor, real: Tensor, zone: Tensor) -> Float[Tensor, " B"]:
    """Mean absolute difference of 3-voxel means over the zone: structure, without asking for the same noise."""
    return zone_mean((smooth(made) - smooth(real)).abs(), zone).mean(dim=1)


def by_depth(
    image: Float[Tensor, "B C *S"], distance: Float[Tensor, "B 1 *S"]
) -> tuple[Float[Tensor, "B C D"], Float[Tensor, "B 1 D"]]:
    """Level and steepness of a lesion in shells of equal depth, the first outside it, and which shells it has.

    A lesion of the same class has about the same rim whatever its outline; the blend into the host dims the rim, and
    the network has to make up for it.
    """
    steep = _steepness(image)
    figures, known = [], []
    for low, high in pairwise(_DEPTHS):
        shell = ((distance > low) & (distance <= high)).to(image.dtype)
        figures += [zone_mean(image, shell), zone_mean(steep, shell)]
        known += 2 * [(shell.flatten(2).sum(2) > 0).to(image.dtype)]
    return torch.stack(figures, dim=-1), torch.stack(known, dim=-1)


def depth_distance(made: Tensor, real: Tensor, known: Float[Tensor, "B 1 D"]) -> Tensor:
    """Mean absolute difference over the shells that count."""
    counted = known.expand_as(made)
    return ((made - real).abs() * counted).sum() / counted.sum().clamp(min=1)


def _steepness(image: Tensor) -> Tensor:
    """Size of the gradient in plane, by forward differences; 0 at the far edges."""
    squares = torch.full_like(image, 1e-4)
    for axis in (2, 3):
        step = image.diff(dim=axis, append=image.narrow(axis, image.shape[axis] - 1, 1))
        squares = squares + step**2
    return squares.sqrt()


def feature_statistics(features: Sequence[Tensor], zone: Tensor) -> list[Float[Tensor, "B D"]]:
    """Mean and deviation over the zone of every feature of every level."""
    found = []
    for level in features:
        mean = zone_mean(level, zone)
        centred = level - mean.reshape(*mean.shape, *(1,) * (level.ndim - 2))
        found.append(torch.cat([mean, (zone_mean(centred**2, zone) + 1e-6).sqrt()], dim=1))
    return found


def feature_distance(made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Feature matching (Salimans et al., NeurIPS 2016) of statistics, relative to their size in real lesions."""
    terms = [
        ((m - r).abs().mean(dim=1) / (r.abs().mean(dim=1) + 1e-3)).mean()
        for m, r in zip(made, real, strict=True)
    ]
    return torch.stack(terms).mean()


def histogram_distance(made: Float[Tensor, "B C E"], real: Float[Tensor, "B C E"]) -> Tensor:
    """Mean absolute difference of two cumulative histograms."""
    return (made - real).abs().mean()


def lack_of_diversity(
    first: Float[Tensor, "B C *S"],
    second: Float[Tensor, "B C *S"],
    mask: Float[Tensor, "B 1 *S"],
    wanted: Float[Tensor, "B C"],
) -> Tensor:
    """Mode seeking (Mao et al., CVPR 2019), bounded: how far two lesions of two z fall short of a wanted difference.

    Args:
        first: Lesions of one z.
        second: The same with another z and all else equal.
        mask: Where they are compared.
        wanted: Mean absolute difference to reach, a channel each.
    """
    difference = zone_mean((first - second).abs(), mask)
    return functional.relu(1 - difference / wanted).mean()
