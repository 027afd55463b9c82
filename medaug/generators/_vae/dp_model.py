"""The network of the variational autoencoder with differential privacy, and all that changes from step to step.

Every weight sees real lesions and their hosts, so every weight learns by gradients clipped by patient, with noise; see
:mod:`medaug.engine.dp`. What is fitted to the codes of real lesions elsewhere (the spread of a class, the named
directions, the grain) is not fitted: codes come from the standard normal, directions lead nowhere, and the grain of a
lesion is the noise of its host.
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
from medaug.engine.launch import pick_device
from medaug.generators._patches.average import follow
from medaug.generators._patches.coarse import feather, zone_of
from medaug.generators._patches.layers import initialise, normal, spread
from medaug.generators._patches.records import Draw
from medaug.generators._patches.scene import Scene
from medaug.generators._vae import losses
from medaug.generators._vae.directions import ATTRIBUTES, Directions
from medaug.generators._vae.networks import LesionVae, Place
from medaug.generators._vae.prior import Prior
from medaug.generators._vae.scenes import Taught
from medaug.generators._vae.settings import Config


@final
class PrivateVaeModel:
    """The network, its optimiser, and the averaged network that is kept.

    Args:
        config: With ``dp``.
        index: Of the bank: its classes and channels.
        seed: Root of all randomness that hides nobody.
    """

    def __init__(self, config: Config, index: BankIndex, seed: SeedTree) -> None:
        self.config, self._device = config, pick_device(config.device)
        channels, classes = len(index.scheme.channels), len(index.classes)
        self.private = LesionVae(config.net_spec(channels, classes))
        initialise(self.private, torch.Generator().manual_seed(seed.child("network").seed))
        self.private.to(self._device)
        self.averaged = copy.deepcopy(self.private).requires_grad_(requires_grad=False)
        self._adam = torch.optim.Adam(self.private.parameters(), config.learning_rate)
        self.beside = public_taught(classes, config.z_size, channels).state

    def parts(self) -> dict[str, LesionVae | torch.optim.Adam]:
        """See :class:`~medaug.generators._patches.dp_learner.PrivateModel`."""
        return {"net": self.private, "averaged": self.averaged, "adam": self._adam}

    def losses(self, drawn: Draw, step: int) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
        """Of each patch of the patients, and whose it is."""
        real = drawn.patches.to(self._device)
        seen = _noisy(drawn, self.config).to(self._device)
        place = _place(seen, self.private)
        mean, log_variance = self.private.encode(seen.image, place)
        z = mean + (0.5 * log_variance).exp() * drawn.normal(self.config.z_size).to(self._device)
        lesion, zone = self.private.decode(place, z), zone_of(real.distance)
        error = losses.absolute_error(lesion, real.image, zone)
        edges = losses.gradient_error(lesion, real.image, zone)
        nats = losses.divergence(mean, log_variance).sum(dim=1)
        total = error + self.config.gradient * edges + self.config.beta_at(step) * nats
        return total, drawn.owners

    def advance(self, step: int) -> dict[str, float]:
        """One step of the network; tells the size of the noisy gradient, since the losses are the patients' own."""
        self._adam.step()
        follow(self.averaged, self.private, self.config.ema, step)
        squares = [p.grad.square().sum() for p in self.private.parameters() if p.grad is not None]
        return {"noisy_gradient": float(torch.stack(squares).sum().sqrt())}

    def redrawn(self, place: Scene, rng: np.random.Generator) -> Float[Tensor, "B C *S"]:
        """See :class:`~medaug.generators._patches.dp_learner.PrivateModel`."""
        there, z = place.to(self._device), normal((len(place.image), self.config.z_size), rng)
        lesion = self.averaged.decode(_place(there, self.averaged), z.to(self._device))
        return there.image + feather(there.distance) * (lesion - there.image)


def public_taught(classes: int, z_size: int, channels: int) -> Taught:
    """Codes from the standard normal for every class, directions that change nothing, and the grain of the host."""
    prior = Prior(
        torch.zeros(classes, z_size),
        torch.eye(z_size).repeat(classes, 1, 1),
        torch.zeros(z_size),
        torch.tensor([[0.0, 1.0]]).repeat(classes, 1),
    )
    count = len(ATTRIBUTES)
    directions = Directions(torch.zeros(count, z_size), torch.zeros(count), torch.ones(count))
    return Taught(prior, directions, torch.ones(classes, channels))


def _place(patches: Scene, net: LesionVae) -> Place:
    return Place(patches.filled, patches.distance, net.embed(patches.class_index))


def _noisy(drawn: Draw, config: Config) -> Scene:
    """Noise of random strength added to some patches, inside the lesion and around it; see the learner without privacy."""
    real, each = drawn.patches, drawn.each
    levels = [
        rng.uniform(0, config.most_noise, each) * (rng.random(each) < config.noisy) for rng in drawn.rngs
    ]
    level = torch.from_numpy(np.concatenate(levels)).float()
    added = drawn.normal(*real.image.shape[1:]) * spread(level[:, None], real.image.ndim)
    filled = real.filled + (1 - zone_of(real.distance)) * added
    return Scene(real.image + added, filled, real.distance, real.class_index)
