"""A training batch: the class each lesion is redrawn as, the patch it is drawn into, and its coarse lesion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from medaug.generators._cgan.noise import Noise
from medaug.generators._patches.batches import Batch
from medaug.generators._patches.coarse import (
    NOISE,
    Anchor,
    CoarseInput,
    at_noise,
    draw_coarse,
    feather,
    zone_of,
)
from medaug.generators._patches.layers import Conditions

_WHITE = 1.15  # deviation of white noise over that of its fine part


@final
@dataclass(frozen=True, slots=True)
class Scene:
    """A batch, and the class that each of its lesions is redrawn as.

    Attributes:
        batch: Real patches.
        partner: (B,) whose class and figures each lesion gets; its own number where it stays what it is.
        class_weight: How much the networks are told of the class.
        donor: (B,) whose texture each lesion begins with, of the partner's class; None = the partner's.
        fresh: (B,) whether the lesion is drawn into healthy tissue and not over the real one; None = nowhere.
    """

    batch: Batch
    partner: Int[Tensor, " B"]
    class_weight: float
    donor: Int[Tensor, " B"] | None = None
    fresh: Bool[Tensor, " B"] | None = None

    @property
    def figures(self) -> Float[Tensor, "B C 7"]:
        """What each lesion is drawn with: its partner's figures, at the noise of its own scan."""
        return at_noise(self.batch.figures[self.partner], self.batch.figures[..., NOISE])

    @property
    def told(self) -> Conditions:
        """What the networks are told of the made lesions."""
        return Conditions(self.batch.class_index[self.partner], self.class_weight, self.batch.distance)

    def ground(self, noise: Noise) -> Float[Tensor, "B C *S"]:
        """What the lesions are blended into: their own patches, or those with healthy tissue as noisy as the scan.

        Where a lesion stood there is a halo that new lesions do not find in healthy tissue.
        """
        image = self.batch.image
        if self.fresh is None:
            return image
        tail = (1,) * (image.ndim - 2)
        grain = _WHITE * self.batch.figures[..., NOISE].reshape(*image.shape[:2], *tail)
        white = noise.fine.flip(tuple(range(2, image.ndim)))
        healthy = self.batch.filled + zone_of(self.batch.distance) * grain * white
        return torch.where(self.fresh.reshape(-1, 1, *tail), healthy, image)

    def blended(self, lesion: Tensor, ground: Tensor) -> Float[Tensor, "B C *S"]:
        """Lesions in their place."""
        share = feather(self.batch.distance[: len(lesion)])
        mixed: Tensor = ground + share * (lesion - ground)
        return mixed


def coarse_of(scene: Scene, noise: Noise, anchor: Anchor, *, textured: bool) -> Float[Tensor, "B C *S"]:
    """The patches of a scene with the coarse lesions of their partners."""
    batch = scene.batch
    texture = covered = None
    if textured:  # turned upside down, so that no lesion gets its own voxels in place
        axes = tuple(range(2, batch.image.ndim))
        donor = scene.partner if scene.donor is None else scene.donor
        texture = batch.image[donor].flip(axes)
        covered = (batch.distance[donor] > 0).to(batch.image.dtype).flip(axes)
    source = CoarseInput(scene.figures, anchor, noise.fine, noise.broad, texture, covered)
    return draw_coarse(batch.filled, batch.distance, source)


def own(batch: Batch) -> Int[Tensor, " B"]:
    """Every lesion stays what it is."""
    return torch.arange(len(batch.image), device=batch.image.device)


def partners(class_index: Int[np.ndarray, " B"], share: float, rng: np.random.Generator) -> Int[Tensor, " B"]:
    """For each sample its own number, or (for a share of them) that of a sample of another class."""
    partner = np.arange(len(class_index))
    for n in range(round(share * len(class_index))):
        others = np.flatnonzero(class_index != class_index[n])
        partner[n] = rng.choice(others if len(others) else partner)
    return torch.as_tensor(partner)


def donors(
    class_index: Int[np.ndarray, " B"], partner: Int[Tensor, " B"], rng: np.random.Generator
) -> Int[Tensor, " B"]:
    """For each sample another one of its partner's class; the partner where there is none."""
    chosen = partner.numpy().copy()
    for n, whose in enumerate(partner.tolist()):
        alike = np.flatnonzero(class_index == class_index[whose])
        others = alike[(alike != n) & (alike != whose)]
        if len(others):
            chosen[n] = rng.choice(others)
    return torch.as_tensor(chosen)
