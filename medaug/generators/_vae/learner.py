"""One optimiser step of the variational autoencoder, and all that changes from step to step."""

from __future__ import annotations

import copy
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import State
from medaug.engine.launch import memory_format, mixed_precision, pick_device
from medaug.generators._patches.batches import Batch, TrainingSet
from medaug.generators._patches.coarse import feather, zone_of
from medaug.generators._patches.layers import initialise, normal
from medaug.generators._vae import losses
from medaug.generators._vae.networks import LesionVae, Place
from medaug.generators._vae.settings import Config

_AT_ONCE = 64
_FROM_PRIOR = 3


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
        """Normalised values to show black and white: the middle 98% of the training patches."""
        low, high = np.percentile(self._training.patches.image[:, 0].numpy(), (1, 99))
        return float(low), float(high)

    def train_step(self, step: int) -> dict[str, float]:
        """Encode, draw a code, decode, compare."""
        rng = self._seed.child("step", step).rng()
        batch = self._training.draw(self._config.batch_size, rng).to(self._device, self._layout)
        noise = normal((self._config.batch_size, self._config.z_size), rng).to(self._device)
        with mixed_precision(self._device):
            place = _place(batch, self._net)
            mean, log_variance = self._net.encode(batch.image, place)
            drawn = self._net.decode(place, mean + (0.5 * log_variance).exp() * noise).float()
        zone = zone_of(batch.distance)
        nats = losses.divergence(mean.float(), log_variance.float())
        error = losses.absolute_error(drawn, batch.image, zone)
        edges = losses.gradient_error(drawn, batch.image, zone)
        price = self._config.beta_at(step) * losses.priced(nats, self._config.free_bits)
        self._adam.zero_grad(set_to_none=True)
        (error + self._config.gradient * edges + price).backward()
        self._adam.step()
        self._average(step)
        return {
            "l1": float(error.detach()),
            "gradient": float(edges.detach()),
            "kl": float(nats.detach().sum()),
        }

    def codes(self) -> Float[Tensor, "N Z"]:
        """The mean code of every training patch, by the kept weights."""
        found = []
        with torch.inference_mode():
            for numbers in torch.arange(len(self._training.patches.image)).split(_AT_ONCE):
                batch = self._training.patches.at(numbers).to(self._device, self._layout)
                found.append(self.averaged.encode(batch.image, _place(batch, self.averaged))[0].cpu())
        return torch.cat(found).clone()

    def state(self) -> State:
        """Weights, averages and optimiser."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])  # type: ignore[arg-type]

    def samples(self, seed: SeedTree, rows_per_class: int = 2) -> list[Float[Tensor, "N C *S"]]:
        """Rows of patches to look at: real, decoded at its mean code, three of the class and one of every class.

        The kept weights draw them, always from the same patches and the same noise.
        """
        rows: list[Tensor] = []
        for number in range(len(self._training.owners)):
            rng = seed.child(number).rng()
            picked = self._training.pick(number, rows_per_class, rng).to(self._device, self._layout)
            rows += [self._sample_row(picked, n, rng) for n in range(rows_per_class)]
        return rows

    def _sample_row(self, picked: Batch, n: int, rng: np.random.Generator) -> Float[Tensor, "N C *S"]:
        """One row of :meth:`samples`, in the place of patch ``n``."""
        own, classes = int(picked.class_index[n]), len(self._training.owners)
        drawn_as = torch.as_tensor([own] * (1 + _FROM_PRIOR) + list(range(classes)), device=self._device)
        z = normal((len(drawn_as), self._config.z_size), rng).to(self._device)
        batch = picked.at(torch.full((len(drawn_as),), n))
        with torch.no_grad():
            z[0] = self.averaged.encode(batch.image[:1], _place(picked.at(torch.tensor([n])), self.averaged))[
                0
            ][0]
            place = Place(batch.filled, batch.distance, self.averaged.embed(drawn_as))
            lesion = self.averaged.decode(place, z)
        made = batch.image + feather(batch.distance) * (lesion - batch.image)
        return torch.cat([batch.image[:1], made]).float().cpu()

    def _parts(self) -> dict[str, LesionVae | torch.optim.Adam]:
        return {"net": self._net, "averaged": self.averaged, "adam": self._adam}

    def _average(self, step: int) -> None:
        """Exponential moving average of the weights; short at first."""
        decay = min(self._config.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, now in zip(self.averaged.parameters(), self._net.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)


def _place(batch: Batch, net: LesionVae) -> Place:
    return Place(batch.filled, batch.distance, net.embed(batch.class_index))
