"""Mixing the patches of a batch with each other, after each has been changed on its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from medaug.core.volume import Mask, Unit
from medaug.engine.augment import BatchAugment, PatchBatch
from medaug.lesions.mix import Joint, Mixture, join
from medaug.transforms.base import TransformConfig, parse_transforms


class MixConfig(TransformConfig, ABC):
    """Settings of a mixing augmentation: how often, and what happens to each patch before."""

    probability: float = Field(
        default=0.5, ge=0, le=1, description="share of patches that take a part of another"
    )
    base: dict[str, object] = Field(
        default={"kind": "classical"}, description="augmentation of every patch on its own, before mixing"
    )
    joint: Joint = Field(default="hard", description="how the part is joined: hard, feather or poisson")

    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """The augmentation for images of that unit and modality."""
        return MixAugment(self, parse_transforms(self.base).build(unit, modality))

    @abstractmethod
    def region(
        self, donor: Mask, spacing_mm: tuple[float, float, float], rng: np.random.Generator
    ) -> Mask | None:
        """The part of a donor that is taken, or None where it has nothing to give.

        Args:
            donor: (I, J, K) where the donor holds a lesion.
            spacing_mm: Of the donor.
            rng: Draws place and size.
        """


@final
class MixAugment:
    """Gives patches a part of another patch of the batch; the part brings its labels.

    Partners are patches of one training batch, so donor and host share a fold.
    """

    def __init__(self, config: MixConfig, base: BatchAugment) -> None:
        self._config, self._base = config, base

    def __call__(self, batch: PatchBatch, rngs: Sequence[np.random.Generator]) -> PatchBatch:
        """Change a batch; see :class:`~medaug.engine.augment.BatchAugment`."""
        changed = self._base(batch, rngs)
        if len(rngs) < 2:
            return changed
        mixed = [self._mix(changed, n, rng) for n, rng in enumerate(rngs)]
        images = torch.stack([image for image, _ in mixed])
        return replace(changed, images=images, labels=torch.stack([labels for _, labels in mixed]))

    def _mix(self, batch: PatchBatch, number: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        image, labels = batch.images[number], batch.labels[number]
        if rng.random() >= self._config.probability:
            return image, labels
        partner = (number + int(rng.integers(1, len(batch.images)))) % len(batch.images)
        dims = labels.dim()
        spacing = batch.spacing_mm[partner]
        donor_labels = batch.labels[partner]
        lesion = _as_volume(donor_labels, dims) > 0
        region = self._config.region(lesion, (spacing[0], spacing[1], spacing[2] if dims == 3 else 1.0), rng)
        if region is None:
            return image, labels
        if self._config.joint == "hard":
            inside = torch.from_numpy(region).to(image.device).view(labels.shape)
            return torch.where(inside, batch.images[partner], image), torch.where(
                inside, donor_labels, labels
            )
        host = Mixture(_as_volume(image, dims), _as_volume(labels, dims))
        donor = Mixture(_as_volume(batch.images[partner], dims), _as_volume(donor_labels, dims))
        joined = join(host, donor, region, self._config.joint)
        return (
            torch.from_numpy(joined.image).to(image).view_as(image),
            torch.from_numpy(joined.labels).to(labels).view_as(labels),
        )


def _as_volume(tensor: Tensor, dims: int) -> np.ndarray:
    """A patch or its labels with a last axis of one slice where they are 2D."""
    array = tensor.detach().cpu().numpy()
    return array if dims == 3 else array[..., None]
