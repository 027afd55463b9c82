"""The networks of the conditional GAN with differential privacy, and all that changes from step to step.

The discriminator alone sees real lesions, by gradients clipped by patient, with noise; see :mod:`medaug.engine.dp`. A
patient's gradient is that of its own lesions and of made ones in the same outlines, so that the discriminator learns
what lesions look like and not which outlines there are. The generator learns from the discriminator, in outlines that
are nobody's; that, the averaged weights, and Adam follow from the noisy gradients and spend nothing.
"""

from __future__ import annotations

import copy
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.core.lesion import BankIndex
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.engine.checkpoint import State
from medaug.engine.launch import pick_device
from medaug.generators._cgan import losses
from medaug.generators._cgan.build import Net, build_net
from medaug.generators._cgan.dp_critic import PrivateCritic, around, inside
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.average import follow
from medaug.generators._patches.coarse import smooth
from medaug.generators._patches.layers import Conditions, initialise, normal
from medaug.generators._patches.records import Draw, public_distances
from medaug.generators._patches.scene import Scene

_BETAS = (0.5, 0.99)
_OUTLINES = 128  # that are nobody's
_DIFFERENCE = 0.1  # normalised units by which two z shall differ


@final
class PrivateCganModel:
    """Generator, private discriminator, their optimisers, and the averaged generator that is kept.

    Args:
        config: With ``dp``.
        index: Of the bank: its classes, channels and unit.
        seed: Root of all randomness that hides nobody.
    """

    def __init__(self, config: Config, index: BankIndex, seed: SeedTree) -> None:
        self.config, self._seed, self._relative = config, seed, is_relative(index.scheme.unit)
        self._device = pick_device(config.device)
        spec = config.net_spec(len(index.scheme.channels), len(index.classes))
        self._net: Net = build_net(config, spec.channels, spec.classes)
        self.private = PrivateCritic(spec)
        initialise(self._net, torch.Generator().manual_seed(seed.child("generator").seed))
        initialise(self.private, torch.Generator().manual_seed(seed.child("critic").seed))
        self._net.to(self._device)
        self.private.to(self._device)
        self.averaged: Net = copy.deepcopy(self._net).requires_grad_(requires_grad=False)
        self._adam = torch.optim.Adam(self._net.parameters(), config.learning_rate, _BETAS)
        self._critic_adam = torch.optim.Adam(self.private.parameters(), config.critic_learning_rate, _BETAS)
        self._outlines = public_distances(config.size, _OUTLINES, seed.child("outlines").rng())
        self._told = float(config.conditional)
        self.beside: State = {}

    def parts(self) -> dict[str, Net | PrivateCritic | torch.optim.Adam]:
        """See :class:`~medaug.generators._patches.dp_learner.PrivateModel`."""
        return {
            "net": self._net,
            "critic": self.private,
            "averaged": self.averaged,
            "adam": self._adam,
            "critic_adam": self._critic_adam,
        }

    def losses(self, drawn: Draw, step: int) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
        """Of the patients' lesions and of made ones in the same outlines, and whose each is."""
        del step
        real = drawn.patches.to(self._device)
        told = Conditions(real.class_index, self._told, real.distance)
        with torch.no_grad():
            z = drawn.normal(self.config.z_size).to(self._device)
            made = draw_inside(self._net, told, z)
        seen = inside(real.image, real.filled, real.distance, relative=self._relative)
        both = Conditions(
            real.class_index.repeat(2), self._told, real.distance.repeat(2, *(1,) * (made.ndim - 1))
        )
        scores = self.private(torch.cat([seen, made]), both)
        real_scores, made_scores = scores.chunk(2)
        parts = losses.critic_losses(self.config.objective, real_scores, made_scores)
        return torch.cat(parts), drawn.owners.repeat(2)

    def advance(self, step: int) -> dict[str, float]:
        """One step of the discriminator, one of the generator; the figures are of made lesions alone."""
        self._critic_adam.step()
        terms = self._terms(self._seed.child("step", step, "made").rng())
        loss = terms["adversarial"] + self.config.weights.diversity * terms["diversity"]
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        self._adam.step()
        follow(self.averaged, self._net, self.config.ema, step)
        return {name: float(term.detach()) for name, term in terms.items()}

    def _terms(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """What the generator minimises, in outlines that are nobody's."""
        count = self.config.batch_size
        distance = self._outlines[torch.as_tensor(rng.integers(len(self._outlines), size=count))]
        distance = distance.flip([axis for axis in range(2, distance.ndim) if rng.random() < 0.5])
        number = torch.as_tensor(rng.integers(self.private.classes, size=count))
        told = Conditions(number.to(self._device), self._told, distance.to(self._device))
        first, second = (normal((count, self.config.z_size), rng).to(self._device) for _ in range(2))
        made, other = (draw_inside(self._net, told, z) for z in (first, second))
        scores = self.private(made, told)
        mask = (told.distance > 0).to(made.dtype)
        wanted = torch.full(made.shape[:2], _DIFFERENCE, device=made.device)
        return {
            "adversarial": losses.generator_loss(self.config.objective, scores),
            "diversity": losses.lack_of_diversity(made, other, mask, wanted),
        }

    def redrawn(self, place: Scene, rng: np.random.Generator) -> Float[Tensor, "B C *S"]:
        """See :class:`~medaug.generators._patches.dp_learner.PrivateModel`."""
        z = normal((len(place.image), self.config.z_size), rng)
        there = place.to(self._device)
        return drawn_into(
            self.averaged, there, z.to(self._device), class_weight=self._told, relative=self._relative
        )


def is_relative(unit: Unit) -> bool:
    """Whether a level says nothing but in comparison with the tissue around: where units differ from scan to scan."""
    return unit is Unit.ARBITRARY


def drawn_into(
    net: Net, place: Scene, z: Tensor, *, class_weight: float, relative: bool
) -> Float[Tensor, "B C *S"]:
    """Patches with lesions of their classes, in their outlines, that a generator draws."""
    told = Conditions(place.class_index, class_weight, place.distance)
    return composed(place, draw_inside(net, told, z), relative=relative)


def draw_inside(net: Net, told: Conditions, z: Tensor) -> Float[Tensor, "B C *S"]:
    """Lesions of a generator that does not look at hosts, 0 outside their outlines."""
    mask = (told.distance > 0).to(z.dtype)
    nothing = torch.zeros(len(z), net.spec.channels, *net.spec.size, device=z.device)
    drawn: Tensor = mask * net(nothing, told, z, ())
    return drawn


def composed(place: Scene, lesion: Tensor, *, relative: bool) -> Float[Tensor, "B C *S"]:
    """Made lesions in their hosts: whole inside, and one voxel beyond as far as a point spread mixes the two.

    Around them the host is the tissue that fills the zone, so that no rim of a lesion that is replaced stays; it is the
    host's own again from three voxels on.
    """
    mask = (place.distance > 0).to(lesion.dtype)
    level = around(place.filled, place.distance) if relative else 0.0
    share = torch.maximum(mask, smooth(mask))
    spread = smooth(mask * (lesion + level)) / (smooth(mask) + 1e-6)
    drawn = torch.where(mask > 0, lesion + level, spread)
    host = torch.lerp(place.image, place.filled, ((place.distance + 3) / 2).clamp(0, 1))
    return host + share * (drawn - host)
