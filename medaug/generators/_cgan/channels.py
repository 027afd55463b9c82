"""Correlation of the channels of a lesion: noise drawn for all of them has that of real lesions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medaug.generators._patches.batches import TrainingSet
from medaug.generators._patches.coarse import bands
from medaug.generators._patches.layers import zone_mean

_SHRUNK = 0.05  # towards channels of their own, so that a factor exists and few lesions do not rule


def channel_factors(training: TrainingSet) -> Float[Tensor, "2 C C"]:
    """Cholesky factors of the mean correlation of channels inside the training lesions.

    The first is of the broad part of :func:`~medaug.generators._patches.coarse.bands`, the second of the rest. White noise
    of independent channels, multiplied by a factor from the left, is correlated as the lesions are.
    """
    patches = training.patches
    mask = (patches.distance > 0).to(patches.image.dtype)
    mean = zone_mean(patches.image, mask)
    centred = patches.image - mean.reshape(*mean.shape, *(1,) * (mask.ndim - 2))
    broad = bands(centred, mask)[0]
    return torch.stack([_factor(part, mask, training.shares) for part in (broad, centred - broad)])


def correlated(
    noise: Float[Tensor, "B C *S"], factor: Float[Tensor, "C C"] | None
) -> Float[Tensor, "B C *S"]:
    """White noise of independent channels with the correlation of a factor; each channel stays standard normal."""
    if factor is None or len(factor) == 1:
        return noise
    return torch.einsum("dc,bc...->bd...", factor, noise)


def _factor(part: Tensor, mask: Tensor, shares: Tensor) -> Float[Tensor, "C C"]:
    inside = (part * mask).flatten(2).double()
    together = inside @ inside.transpose(1, 2)
    size = together.diagonal(dim1=1, dim2=2).clamp(min=1e-12).sqrt()
    each = together / (size[:, :, None] * size[:, None, :])
    weight = shares.double() / shares.double().sum()
    own = torch.eye(each.shape[1], dtype=each.dtype)
    mean = (1 - _SHRUNK) * (weight[:, None, None] * each).sum(dim=0)
    mean = mean - torch.diag(mean.diagonal()) + own
    factor: Tensor = torch.linalg.cholesky(mean)
    return factor.float()
