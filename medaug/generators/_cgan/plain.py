"""The plain backbone, for comparison: from noise and condition to a patch, without looking at the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from medaug.generators._cgan.networks import NetSpec
from medaug.generators._patches.layers import STYLE, Conditions, conv, halvings

_GROUPS = 4


@final
class PlainNet(nn.Module):
    """Upsampling convolutions as in DCGAN (Radford et al., ICLR 2016); class, z and mask are all it knows.

    The norm is over each sample alone, where the paper's is over the batch: a lesion must not depend on what it is
    drawn together with. The patch is composited with the mask like any other answer.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        dims, widths = spec.dims, [6 * spec.base, 2 * spec.base, spec.base]
        strides = halvings(spec.size, 2)
        half = tuple(n // s for n, s in zip(spec.size, strides[0], strict=True))
        quarter = tuple(n // s for n, s in zip(half, strides[1], strict=True))
        self.shapes = (quarter, half, tuple(spec.size))
        self.noise_shapes = (quarter, quarter, half, tuple(spec.size))
        self.embedding = nn.Embedding(spec.classes, 32)
        self.style = nn.Sequential(nn.Linear(32 + spec.z_size, STYLE), nn.LeakyReLU(0.2))
        self.seed = nn.Linear(STYLE, widths[0] * math.prod(quarter))
        self.layers = nn.ModuleList(
            conv(dims, inputs + 2, outputs)
            for inputs, outputs in zip(widths, (*widths[1:], widths[-1]), strict=True)
        )
        self.head = conv(dims, widths[-1], spec.channels)

    def forward(self, coarse: Tensor, conditions: Conditions, z: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """What turns the coarse patch into the drawn one, which depends on neither coarse patch nor host.

        Args:
            coarse: (B, C, *S) normalised patch with the coarse lesion.
            conditions: Class and mask.
            z: (B, z_size) standard normal.
            noise: Not needed: z is all the noise there is.
        """
        del noise
        embedded = conditions.class_weight * self.embedding(conditions.class_index)
        style = self.style(torch.cat([embedded, z], dim=1))
        x = self.seed(style).reshape(len(z), -1, *self.shapes[0])
        for layer, shape in zip(self.layers, self.shapes, strict=True):
            x = functional.interpolate(x, size=shape, mode="nearest")
            told = functional.interpolate(conditions.maps, size=shape, mode="area")
            x = functional.relu(functional.group_norm(layer(torch.cat([x, told], dim=1)), _GROUPS))
        drawn: Tensor = self.head(x) - coarse
        return drawn
