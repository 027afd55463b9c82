"""The discriminator that can be trained with differential privacy: small, and nothing in it mixes the samples of a batch."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from medaug.generators._cgan.losses import by_depth
from medaug.generators._cgan.networks import NetSpec
from medaug.generators._patches.coarse import energies, smooth, soft_cumulative
from medaug.generators._patches.layers import Conditions, conv, halvings, zone_mean

_HIDDEN = 32
_RANGE = (-2.0, 2.0, 16)  # normalised units at which histograms are taken
_DEPTH_FIGURES = 8  # two of each shell, without the one outside
_FIGURES = 1 + 3 + _RANGE[2] + _DEPTH_FIGURES
_FINE_GAIN = 5.0


@final
class PrivateCritic(nn.Module):
    """Scores what is inside a lesion's outline: by fixed figures of it, and by what two convolutions see.

    The noise of a private step grows with the square root of the number of weights and the signal does not, so most of
    what it sees is computed and not learnt: level, histogram, liveliness in three bands, and level and steepness by
    depth. No norm at all: clipping and noise keep the weights small.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.classes = spec.classes
        widths = [2 * spec.channels + 2, spec.critic_base, 2 * spec.critic_base]
        strides = halvings(spec.size, 2)
        self.layers = nn.ModuleList(
            conv(spec.dims, widths[n], widths[n + 1], stride=strides[n]) for n in (0, 1)
        )
        self.first = nn.Linear(widths[2] + _FIGURES * spec.channels + spec.classes, _HIDDEN)
        self.score = nn.Linear(_HIDDEN, 1)

    def forward(self, lesion: Float[Tensor, "B C *S"], told: Conditions) -> Float[Tensor, " B"]:
        """Scores; higher is more real.

        Args:
            lesion: Normalised, 0 outside the outline.
            told: Class and outline.
        """
        mask = (told.distance > 0).to(lesion.dtype)
        x = torch.cat([lesion, _FINE_GAIN * mask * (lesion - smooth(lesion)), told.maps], dim=1)
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
        named = told.class_weight * functional.one_hot(told.class_index, self.classes).to(x.dtype)
        seen = torch.cat([zone_mean(x, mask), _figures(lesion, told.distance, mask), named], dim=1)
        scores: Tensor = self.score(functional.leaky_relu(self.first(seen), 0.2))
        return scores.squeeze(1)


def inside(image: Tensor, filled: Tensor, distance: Tensor, *, relative: bool) -> Float[Tensor, "B C *S"]:
    """What a discriminator sees of a patch: the voxels of the lesion, less the tissue around it where levels mean nothing."""
    mask = (distance > 0).to(image.dtype)
    return mask * (image - around(filled, distance)) if relative else mask * image


def around(filled: Float[Tensor, "B C *S"], distance: Float[Tensor, "B 1 *S"]) -> Tensor:
    """Mean of the tissue around each lesion, a channel each: (B, C, 1, ...)."""
    mean = zone_mean(filled, (distance > 0).to(filled.dtype))
    return mean.reshape(*mean.shape, *(1,) * (filled.ndim - 2))


def _figures(lesion: Tensor, distance: Tensor, mask: Tensor) -> Float[Tensor, "B F"]:
    low, high, count = _RANGE
    edges = torch.linspace(low, high, count, device=lesion.device).expand(lesion.shape[1], -1)
    levels, _ = by_depth(lesion, distance)
    parts = [
        zone_mean(lesion, mask)[..., None],
        _FINE_GAIN * energies(lesion, distance),
        soft_cumulative(lesion, mask, edges),
        levels[..., 2:],
    ]
    return torch.cat(parts, dim=-1).flatten(1)
