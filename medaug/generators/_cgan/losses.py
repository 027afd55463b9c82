"""The terms of both losses, each a function of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medaug.generators._patches.coarse import smooth
from medaug.generators._patches.layers import zone_mean


def critic_hinge(real: Float[Tensor, " B"], made: Float[Tensor, " B"]) -> Tensor:
    """Hinge loss of the discriminator (Lim and Ye 2017)."""
    return functional.relu(1 - real).mean() + functional.relu(1 + made).mean()


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
