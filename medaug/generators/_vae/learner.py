"""One optimiser step of the variational autoencoder, and all that changes from step to step."""

from __future__ import annotations

import copy
import dataclasses
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import Parts, State, restore_states, states_of
from medaug.engine.launch import average_gradients, memory_format, mixed_precision, pick_device, team
from medaug.generators._patches.average import follow
from medaug.generators._patches.batches import Batch, TrainingSet
from medaug.generators._patches.coarse import feather, zone_of
from medaug.generators._patches.layers import initialise, normal, spread
from medaug.generators._patches.pictures import shown_range
from medaug.generators._vae import losses
from medaug.generators._vae.directions import Directions, attributes, log_size, regress
from medaug.generators._vae.networks import LesionVae, Place
from medaug.generators._vae.prior import Codes, Prior, fit_prior
from medaug.generators._vae.settings import Config

_AT_ONCE = 64
_FROM_PRIOR = 3
_PLACES, _CODES = 16, 16  # lesions are drawn into so many places of a class, with so many codes


@final
class VaeLearner:
    """The network, its optimiser, and the averaged network that is kept.

    Args:
        config: Widths, weights and rates.
        training: What is learnt from.
        seed: Root of all randomness; a step's depends on its number alone.
    """

    def __init__(self, config: Config, training: TrainingSet, seed: SeedTree) -> None:
        self._config, self._training, self._seed = config, training, seed
        self._device, self._layout = pick_device(config.device), memory_format(config.dims)
        self._net = LesionVae(config.net_spec(training.patches.image.shape[1], len(training.owners)))
        initialise(self._net, torch.Generator().manual_seed(seed.child("network").seed))
        self._net.to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self._net).requires_grad_(requires_grad=False)
        self._adam = torch.optim.Adam(self._net.parameters(), config.learning_rate)

    @property
    def shown(self) -> tuple[float, float]:
        """Normalised values to show black and white."""
        return shown_range(self._training.patches.image)

    def train_step(self, step: int) -> dict[str, float]:
        """Encode, draw a code, decode, compare with the lesion as it was before any noise was added."""
        rng = self._seed.child("step", step).rng()
        whole, rows = self._training.draw(self._config.batch_size, rng), team().rows(self._config.batch_size)
        noise = normal((self._config.batch_size, self._config.z_size), rng)[rows].to(self._device)
        seen = _noisy(whole, self._config, rng).at(rows).to(self._device, self._layout)
        batch = whole.at(rows).to(self._device, self._layout)
        with mixed_precision(self._device):
            place = _place(seen, self._net)
            mean, log_variance = self._net.encode(seen.image, place)
            drawn = self._net.decode(place, mean + (0.5 * log_variance).exp() * noise).float()
        zone = zone_of(batch.distance)
        nats = losses.divergence(mean.float(), log_variance.float()).mean(dim=0)
        error = losses.absolute_error(drawn, batch.image, zone).mean()
        edges = losses.gradient_error(drawn, batch.image, zone).mean()
        price = self._config.beta_at(step) * losses.priced(nats, self._config.free_bits)
        self._adam.zero_grad(set_to_none=True)
        (error + self._config.gradient * edges + price).backward()
        average_gradients(self._net.parameters())
        self._adam.step()
        follow(self.averaged, self._net, self._config.ema, step)
        return {
            "l1": float(error.detach()),
            "gradient": float(edges.detach()),
            "kl": float(nats.detach().sum()),
        }

    def codes(self) -> Codes:
        """What the kept weights say of every training patch."""
        patches, means, variances = self._training.patches, [], []
        with torch.inference_mode():
            for numbers in torch.arange(len(patches.image)).split(_AT_ONCE):
                batch = patches.at(numbers).to(self._device, self._layout)
                mean, log_variance = self.averaged.encode(batch.image, _place(batch, self.averaged))
                means.append(mean.float().cpu())
                variances.append(log_variance.float().exp().cpu())
        sizes = log_size(patches.distance)
        found = torch.cat(means).clone(), torch.cat(variances).clone()
        return Codes(*found, sizes, patches.class_index, self._training.shares)

    def prior(self) -> Prior:
        """Where codes of new lesions are drawn from, by the kept weights."""
        return fit_prior(self.codes(), len(self._training.owners))

    def directions(self, prior: Prior, seed: SeedTree) -> Directions:
        """The named directions: what changes where lesions of many codes are drawn into the same places."""
        codes, measured, group = [], [], []
        for number in range(len(self._training.owners)):
            rng = seed.child("directions", number).rng()
            picked = self._training.pick(number, _PLACES, rng).to(self._device, self._layout)
            sizes = log_size(picked.distance)
            for n in range(_PLACES):
                batch = picked.at(torch.full((_CODES,), n))
                z = torch.cat([prior.draw(number, float(sizes[n]), rng) for _ in range(_CODES)])
                with torch.no_grad():
                    lesion = self.averaged.decode(_place(batch, self.averaged), z.to(self._device))
                    made = batch.image + feather(batch.distance) * (lesion - batch.image)
                    measured.append(attributes(made, batch.filled, batch.distance).float().cpu())
                codes.append(z)
                group.append(torch.full((_CODES,), number * _PLACES + n))
        found = regress(torch.cat(codes), torch.cat(measured), torch.cat(group))
        return self._with_sizes(found, prior)

    def _with_sizes(self, found: Directions, prior: Prior) -> Directions:
        """Size is the place's own: its direction is how the codes of larger training lesions differ."""
        patches, shares = self._training.patches, self._training.shares
        apart = log_size(patches.distance) - prior.sizes[patches.class_index, 0]
        deviation = (shares @ apart.square() / shares.sum()).sqrt().clamp(min=1e-6)
        changes, deviations, explained = (
            found.changes.clone(),
            found.deviations.clone(),
            found.explained.clone(),
        )
        changes[0], deviations[0], explained[0] = prior.growth * deviation, deviation, 1.0
        return Directions(changes, explained, deviations)

    def state(self) -> State:
        """Weights, averages and optimiser."""
        return states_of(self._parts())

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration."""
        restore_states(self._parts(), state)

    def samples(self, seed: SeedTree) -> list[Float[Tensor, "N C *S"]]:
        """Rows of patches to look at: real, decoded at its mean code, three of the class and one of every class.

        The kept weights draw them, always from the same patches and the same noise.
        """
        prior = self.prior()
        return [
            self._sample_row(picked.to(self._device, self._layout), n, prior, rng)
            for picked, n, rng in self._training.to_show(seed)
        ]

    def _sample_row(
        self, picked: Batch, n: int, prior: Prior, rng: np.random.Generator
    ) -> Float[Tensor, "N C *S"]:
        """One row of :meth:`samples`, in the place of patch ``n``."""
        own, classes = int(picked.class_index[n]), len(self._training.owners)
        classes_drawn = [own] * (1 + _FROM_PRIOR) + list(range(classes))
        voxels = float(log_size(picked.distance[[n]]))
        z = torch.cat([prior.draw(c, voxels, rng) for c in classes_drawn]).to(self._device)
        drawn_as = torch.as_tensor(classes_drawn, device=self._device)
        batch = picked.at(torch.full((len(drawn_as),), n))
        with torch.no_grad():
            z[0] = self.averaged.encode(batch.image[:1], _place(picked.at(torch.tensor([n])), self.averaged))[
                0
            ][0]
            place = Place(batch.filled, batch.distance, self.averaged.embed(drawn_as))
            lesion = self.averaged.decode(place, z)
        made = batch.image + feather(batch.distance) * (lesion - batch.image)
        return torch.cat([batch.image[:1], made]).float().cpu()

    def _parts(self) -> Parts:
        return {"net": self._net, "averaged": self.averaged, "adam": self._adam}


def _place(batch: Batch, net: LesionVae) -> Place:
    return Place(batch.filled, batch.distance, net.embed(batch.class_index))


def _noisy(batch: Batch, config: Config, rng: np.random.Generator) -> Batch:
    """Noise of random strength added to some patches of a batch, inside the lesion and around it.

    Vincent et al., Extracting and composing robust features with denoising autoencoders (ICML 2008).
    """
    count = len(batch.image)
    level = torch.from_numpy(rng.uniform(0, config.most_noise, count) * (rng.random(count) < config.noisy))
    added = normal(tuple(batch.image.shape), rng) * spread(level.float()[:, None], batch.image.ndim)
    added = added.to(batch.image.device)
    filled = batch.filled + (1 - zone_of(batch.distance)) * added
    return dataclasses.replace(batch, image=batch.image + added, filled=filled)
