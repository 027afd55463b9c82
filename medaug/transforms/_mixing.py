"""Mixing the patches of a batch with each other, after each has been changed on its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.core.volume import Mask, Unit
from medaug.engine.augment import BatchAugment, PatchBatch
from medaug.lesions.mix import Joint, Mixture, join
from medaug.transforms._steps.apply import Record, apply_records
from medaug.transforms._steps.policy import PolicyAugment
from medaug.transforms.base import TransformConfig, parse_transforms

Spacing = tuple[float, float, float]


@final
class Mixing(Frozen):
    """What was drawn for a patch that takes a part of another one: small enough to be written down and replayed."""

    partner: int = Field(ge=0, description="place of the other patch in the batch")
    seed: int = Field(ge=0, description="of place, size and share")


class MixConfig(TransformConfig, ABC):
    """Settings of a mixing augmentation: how often, and what happens to each patch before."""

    probability: float = Field(
        default=0.5, ge=0, le=1, description="share of patches that take a part of another"
    )
    base: dict[str, object] = Field(
        default={"kind": "classical"}, description="augmentation of every patch on its own, before mixing"
    )

    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """The augmentation for images of that unit and modality.

        Raises:
            ConfigError: If the base mixes too, or has to be learnt.
        """
        base = parse_transforms(self.base).build(unit, modality)
        if not isinstance(base, PolicyAugment):
            kind = self.base["kind"]
            raise ConfigError(f"base {kind} mixes patches itself", where=f"transforms: {self.kind}")
        return MixAugment(self, base)

    @abstractmethod
    def mix(self, batch: PatchBatch, mixings: Sequence[Mixing | None]) -> PatchBatch:
        """The patches with what they take of each other; the batch is left alone.

        Args:
            batch: Each patch already changed on its own; parts come from here, never from a mixed patch.
            mixings: One a patch; None leaves it as it is.
        """


@final
class MixAugment:
    """Changes every patch on its own, then lets some take a part of another; the part brings its labels.

    Partners are patches of one training batch, so donor and host share a fold.
    """

    def __init__(self, config: MixConfig, base: PolicyAugment) -> None:
        self.config, self.base = config, base

    def draw(
        self, batch: PatchBatch, rngs: Sequence[np.random.Generator]
    ) -> tuple[tuple[Record, ...], tuple[Mixing | None, ...]]:
        """The record and the mixing of every patch; :meth:`follow` carries them out."""
        records = self.base.draw(batch, rngs)
        return records, tuple(self._mixing(number, len(rngs), rng) for number, rng in enumerate(rngs))

    def _mixing(self, number: int, count: int, rng: np.random.Generator) -> Mixing | None:
        if count < 2 or rng.random() >= self.config.probability:
            return None
        partner = (number + int(rng.integers(1, count))) % count
        return Mixing(partner=partner, seed=int(rng.integers(1 << 62)))

    def follow(
        self, batch: PatchBatch, records: Sequence[Record], mixings: Sequence[Mixing | None]
    ) -> PatchBatch:
        """Carry out what was drawn."""
        return self.config.mix(apply_records(batch, records, self.base.how), mixings)

    def __call__(self, batch: PatchBatch, rngs: Sequence[np.random.Generator]) -> PatchBatch:
        """Change a batch; see :class:`~medaug.engine.augment.BatchAugment`."""
        return self.follow(batch, *self.draw(batch, rngs))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What a host takes of a donor.

    Attributes:
        region: (I, J, K) where in the host it goes.
        shift: Voxels by which the donor is moved, so that the part comes to lie there.
    """

    region: Mask
    shift: tuple[int, int, int] = (0, 0, 0)


class PartConfig(MixConfig, ABC):
    """Settings of a mixing that takes a region of another patch, image and labels alike."""

    joint: Joint = Field(default="hard", description="how the part is joined: hard, feather or poisson")
    hosts: Literal["any", "lesion"] = Field(
        default="any",
        description="lesion: only patches that hold a lesion take part, so that no more patches hold one than without "
        "mixing",
    )

    @abstractmethod
    def part(
        self, host: Mixture, donor: Mixture, spacing_mm: Spacing, rng: np.random.Generator
    ) -> Part | None:
        """The part that is taken, or None where the donor has nothing to give, or the host no room.

        Args:
            host: The patch that takes it.
            donor: The patch that it comes from.
            spacing_mm: Of the donor.
            rng: Draws place and size.
        """

    def mix(self, batch: PatchBatch, mixings: Sequence[Mixing | None]) -> PatchBatch:
        """See :meth:`MixConfig.mix`."""
        mixed = {
            number: self._mixed(batch, number, mixing)
            for number, mixing in enumerate(mixings)
            if mixing is not None
        }
        taken = {number: pair for number, pair in mixed.items() if pair is not None}
        if not taken:
            return batch
        images, labels = batch.images.clone(), batch.labels.clone()
        for number, (image, ids) in taken.items():
            images[number], labels[number] = image, ids
        return replace(batch, images=images, labels=labels)

    def _mixed(self, batch: PatchBatch, number: int, mixing: Mixing) -> tuple[Tensor, Tensor] | None:
        image, labels = batch.images[number], batch.labels[number]
        if self.hosts == "lesion" and not bool(labels.any()):
            return None
        spacing = (*batch.spacing_mm[mixing.partner], 1.0)[:3]
        host, donor = (_mixture(batch, place) for place in (number, mixing.partner))
        part = self.part(
            host, donor, (spacing[0], spacing[1], spacing[2]), np.random.default_rng(mixing.seed)
        )
        if part is None:
            return None
        if any(part.shift):
            donor = _moved(donor, part.shift)
        elif self.joint == "hard":
            # on the device, and with gradients
            inside = torch.from_numpy(part.region).to(image.device).view(labels.shape)
            other = batch.images[mixing.partner], batch.labels[mixing.partner]
            return torch.where(inside, other[0], image), torch.where(inside, other[1], labels)
        joined = join(host, donor, part.region, self.joint)
        return (
            torch.from_numpy(joined.image).to(image).view_as(image),
            torch.from_numpy(joined.labels).to(labels).view_as(labels),
        )


def _mixture(batch: PatchBatch, number: int) -> Mixture:
    """A patch as numpy arrays, with a last axis of one slice where it is 2D."""
    image = batch.images[number].detach().cpu().numpy()
    labels = batch.labels[number].cpu().numpy()
    return Mixture(image, labels) if labels.ndim == 3 else Mixture(image[..., None], labels[..., None])


def _moved(donor: Mixture, shift: tuple[int, int, int]) -> Mixture:
    """The donor moved by whole voxels; what leaves on one side comes in on the other, outside any part."""
    return Mixture(np.roll(donor.image, shift, (1, 2, 3)), np.roll(donor.labels, shift, (0, 1, 2)))
