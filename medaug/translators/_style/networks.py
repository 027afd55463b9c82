"""The networks of style transfer: one that draws, one that reads a style, one that judges a domain."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from medaug.core.seeding import SeedTree


@final
class StyleNet(nn.Module):
    """Redraws slices in a style, and reads the style of slices.

    Features are scaled and shifted by the style code, as adaptive instance normalisation does (Huang and Belongie,
    ICCV 2017), but keep their own statistics: norms over a slice would make neighbouring slices flicker. What comes
    out is added to what goes in, and at first is nothing. Structure passes at full resolution; features reach about
    ``8 + 8 blocks`` voxels.
    """

    def __init__(self, channels: int, base: int, blocks: int, code_size: int) -> None:
        super().__init__()
        wide = 2 * base
        self.first, self.down = _conv(channels, base), _conv(base, wide, stride=2)
        self.blocks = nn.ModuleList(_Block(wide, code_size) for _ in range(blocks))
        self.up, self.join = _conv(wide, base), _conv(2 * base, base)
        self.told, self.last = nn.Linear(code_size, 2 * base), _conv(base, channels)
        self.read = nn.Sequential(
            _conv(channels, base, stride=2),
            nn.LeakyReLU(0.2),
            _conv(base, wide, stride=2),
            nn.LeakyReLU(0.2),
            _conv(wide, wide),
            nn.LeakyReLU(0.2),
        )
        self.say = nn.Linear(2 * wide, code_size)

    def forward(
        self, image: Float[Tensor, "B C I J"], code: Float[Tensor, "B Z"]
    ) -> Float[Tensor, "B C I J"]:
        """Slices redrawn in a style; normalised units, even sizes."""
        fine = functional.leaky_relu(self.first(image), 0.2)
        hidden = functional.leaky_relu(self.down(fine), 0.2)
        for block in self.blocks:
            hidden = block(hidden, code)
        wide = functional.interpolate(self.up(hidden), scale_factor=2.0, mode="bilinear", align_corners=False)
        joined = _tuned(self.join(torch.cat([fine, wide], dim=1)), self.told(code))
        drawn: Tensor = image + self.last(functional.leaky_relu(joined, 0.2))
        return drawn

    def code(self, image: Float[Tensor, "B C I J"]) -> Float[Tensor, "B Z"]:
        """The style of slices: from means and deviations of features, so that places do not count."""
        features = self.read(image).flatten(2)
        said: Tensor = self.say(torch.cat([features.mean(dim=2), features.std(dim=2)], dim=1))
        return said


@final
class _Block(nn.Module):
    """Two convolutions in a style beside a straight way."""

    def __init__(self, wide: int, code_size: int) -> None:
        super().__init__()
        self.inner, self.outer = _conv(wide, wide), _conv(wide, wide)
        self.told = nn.Linear(code_size, 2 * wide)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Refine features."""
        tuned = _tuned(self.inner(x), self.told(code))
        refined: Tensor = x + self.outer(functional.leaky_relu(tuned, 0.2))
        return refined


@final
class Critic(nn.Module):
    """Judges patches of a slice: from the domain, or drawn. One mark sees 23 voxels across."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _conv(channels, base, stride=2),
            nn.LeakyReLU(0.2),
            _conv(base, 2 * base, stride=2),
            nn.LeakyReLU(0.2),
            _conv(2 * base, 4 * base),
            nn.LeakyReLU(0.2),
            _conv(4 * base, 1),
        )

    def forward(self, image: Float[Tensor, "B C I J"]) -> Float[Tensor, "B 1 P Q"]:
        """A mark for each place, 1 for the domain and 0 for drawn."""
        marks: Tensor = self.layers(image)
        return marks


def _tuned(features: Tensor, told: Tensor) -> Tensor:
    """Features scaled and shifted by what a style says."""
    gain, shift = told[:, :, None, None].chunk(2, dim=1)
    return features * (1 + gain) + shift


def _conv(into: int, out: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, stride=stride, padding=1, padding_mode="replicate")


def initialise(net: StyleNet | Critic, seed: SeedTree) -> None:
    """Draw the first weights (He et al., ICCV 2015); blocks and what styles say start small, the last layer at 0."""
    generator = torch.Generator().manual_seed(seed.seed)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if weight.ndim == 1 or name.startswith("last."):
                weight.zero_()
            elif "told." in name:
                weight.normal_(0.0, 0.05, generator=generator)
            else:
                nn.init.kaiming_normal_(weight, a=0.2, generator=generator)
                weight.mul_(0.1 if ".outer." in name else 1.0)
