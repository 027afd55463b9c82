"""The input of the network: requests cut to its frames, each with a coarse lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from medaug.generators._cgan.noise import Noise


@final
@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A request in the network's frames, before the network; several are joined into one batch.

    Attributes:
        image: (B, C, *S) the host, normalised.
        distance: (B, 1, *S) signed distance to the lesion's edge.
        class_index: (B,) index into the class table.
        figures: (B, C, 7) of the training lesion that was drawn.
        noise: Of every frame.
        texture: (B, C, *S) the request's texture, normalised, where the generator begins with it; else empty.
    """

    image: Tensor
    distance: Tensor
    class_index: Tensor
    figures: Tensor
    noise: Noise
    texture: Tensor

    @staticmethod
    def joined(parts: Sequence[Draft]) -> Draft:
        """Several requests as one batch."""
        return Draft(
            torch.cat([p.image for p in parts]),
            torch.cat([p.distance for p in parts]),
            torch.cat([p.class_index for p in parts]),
            torch.cat([p.figures for p in parts]),
            Noise.joined([p.noise for p in parts]),
            torch.cat([p.texture for p in parts]),
        )

    def part(self, start: int, stop: int) -> Draft:
        """Some of the frames."""
        image, distance, index, figures, texture = (
            t[start:stop] for t in (self.image, self.distance, self.class_index, self.figures, self.texture)
        )
        return Draft(image, distance, index, figures, self.noise.part(start, stop), texture)
