"""The network that finds what thick slices have lost, one definition for planes (2D) and volumes (3D)."""

from __future__ import annotations

from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medaug.core.seeding import SeedTree

Dims = Literal[2, 3]


@final
class ThinNet(nn.Module):
    """Residual network on the thick grid that answers ``factor`` fine slices for each thick one.

    All layers work on the thick grid and the last one draws apart along the slices, as the sub-pixel network of Shi
    et al. (CVPR 2016) does in the plane: cheaper by the factor than working on interpolated slices. The answer is
    what cubic interpolation lacks; the last layer begins at zero, so an untrained network is cubic interpolation.
    """

    def __init__(self, dims: Dims, channels: int, factor: int, base: int, blocks: int) -> None:
        super().__init__()
        self.factor, self.reach = factor, 2 + 2 * blocks
        self.first = _conv(dims, channels, base)
        self.blocks = nn.ModuleList(_Block(dims, base) for _ in range(blocks))
        self.last = _conv(dims, base, channels * factor)

    def forward(self, thick: Float[Tensor, "B C *S k"]) -> Float[Tensor, "B C *S K"]:
        """What the fine slices (K = factor k) differ from cubic interpolation by, normalised units."""
        hidden = torch.relu(self.first(thick))
        for block in self.blocks:
            hidden = block(hidden)
        drawn = self.last(hidden).unflatten(1, (-1, self.factor))
        return torch.movedim(drawn, 2, -1).flatten(-2)


@final
class _Block(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, dims: Dims, base: int) -> None:
        super().__init__()
        self.inner, self.outer = _conv(dims, base, base), _conv(dims, base, base)

    def forward(self, x: Tensor) -> Tensor:
        """Refine features."""
        refined: Tensor = x + self.outer(torch.relu(self.inner(x)))
        return refined


def _conv(dims: Dims, into: int, out: int) -> nn.Conv2d | nn.Conv3d:
    """A convolution of width 3; edges repeat, so that the end of a patch looks like no edge in the body."""
    made = nn.Conv2d if dims == 2 else nn.Conv3d
    return made(into, out, 3, padding=1, padding_mode="replicate")


def initialise(net: ThinNet, seed: SeedTree) -> None:
    """Draw the first weights (He et al., ICCV 2015); the last layer and every block's second start small."""
    generator = torch.Generator().manual_seed(seed.seed)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if weight.ndim == 1 or name.startswith("last."):
                weight.zero_()
                continue
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            if ".outer." in name:
                weight.mul_(0.1)
