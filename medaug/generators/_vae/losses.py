"""The terms of the loss, each a function of tensors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medaug.generators._patches.layers import zone_mean


def absolute_error(drawn: Tensor, real: Tensor, zone: Tensor) -> Float[Tensor, " B"]:
    """Mean absolute difference of each sample over the zone, all channels alike."""
    return zone_mean((drawn - real).abs(), zone).mean(dim=1)


def gradient_error(drawn: Tensor, real: Tensor, zone: Tensor) -> Float[Tensor, " B"]:
    """Mean absolute difference of the steps between neighbours along every axis, over the zone, of each sample."""
    terms = []
    for axis in range(2, drawn.ndim):
        count = drawn.shape[axis] - 1
        near = zone.narrow(axis, 0, count) * zone.narrow(axis, 1, count)
        terms.append(zone_mean((drawn.diff(dim=axis) - real.diff(dim=axis)).abs(), near).mean(dim=1))
    return torch.stack(terms).mean(dim=0)


def divergence(mean: Float[Tensor, "B Z"], log_variance: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
    """KL divergence of each code from the standard normal in nats, a dimension each."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def priced(nats: Float[Tensor, " Z"], free_bits: float) -> Float[Tensor, ""]:
    """The nats that are paid for: each dimension at least the free ones (Kingma et al., NeurIPS 2016)."""
    return nats.clamp(min=free_bits).sum()
