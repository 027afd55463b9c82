"""One optimiser step of the diffusion generator, and all that changes from step to step."""

from __future__ import annotations

import copy
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import Parts, State, restore_states, states_of
from medaug.engine.launch import average_gradients, memory_format, mixed_precision, pick_device, team
from medaug.generators._diffusion.networks import Denoiser, Place, initialise
from medaug.generators._diffusion.process import denoised, draw_moments, noised
from medaug.generators._diffusion.settings import Config
from medaug.generators._patches.average import follow
from medaug.generators._patches.batches import Batch, TrainingSet
from medaug.generators._patches.coarse import zone_of
from medaug.generators._patches.layers import normal, zone_mean
from medaug.generators._patches.pictures import shown_range

_DRAWN = 3


@final
class DiffusionLearner:
    """The network, its optimiser, and the averaged network that is kept.

    Args:
        config: Widths and rates.
        training: What is learnt from.
        seed: Root of all randomness; a step's depends on its number alone.
    """

    def __init__(self, config: Config, training: TrainingSet, seed: SeedTree) -> None:
        self._config, self._training, self._seed = config, training, seed
        self._device, self._layout = pick_device(config.device), memory_format(config.dims)
        patches = training.patches
        self._net = Denoiser(config.net_spec(patches.image.shape[1], len(training.owners)))
        initialise(self._net, torch.Generator().manual_seed(seed.child("network").seed))
        self._net.measure(patches.image, patches.filled, zone_of(patches.distance))
        self._net.to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self._net).requires_grad_(requires_grad=False)
        self._adam = torch.optim.Adam(self._net.parameters(), config.learning_rate)

    @property
    def shown(self) -> tuple[float, float]:
        """Normalised values to show black and white."""
        return shown_range(self._training.patches.image)

    def train_step(self, step: int) -> dict[str, float]:
        """Noise real lesions, and learn which way leads back."""
        rng = self._seed.child("step", step).rng()
        whole, rows = self._training.draw(self._config.batch_size, rng), team().rows(self._config.batch_size)
        noise = normal(tuple(whole.image.shape), rng)[rows].to(self._device)
        moment = draw_moments(len(whole.image), rng)[rows].to(self._device)
        batch = whole.at(rows).to(self._device, self._layout)
        place = _place(batch)
        zone = place.zone
        clean = zone * (batch.image - batch.filled) / self._net.scale
        noisy, wanted = noised(clean, zone * noise, moment)
        with mixed_precision(self._device):
            found = self._net(noisy.contiguous(memory_format=self._layout), place, moment).float()
        loss = zone_mean((found - wanted).square(), zone).mean()
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self._net.parameters())
        self._adam.step()
        follow(self.averaged, self._net, self._config.ema, step)
        return {"velocity": float(loss.detach())}

    def state(self) -> State:
        """Weights, averages and optimiser."""
        return states_of(self._parts())

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration."""
        restore_states(self._parts(), state)

    def samples(self, seed: SeedTree) -> list[Float[Tensor, "N C *S"]]:
        """Rows of patches to look at: real, emptied, three made of the class, and one made of every class.

        The kept weights draw them, always in the same patches and from the same noise.
        """
        return [
            self._sample_row(picked.to(self._device, self._layout), n, rng)
            for picked, n, rng in self._training.to_show(seed)
        ]

    def _sample_row(self, picked: Batch, n: int, rng: np.random.Generator) -> Float[Tensor, "N C *S"]:
        """One row of :meth:`samples`, in the place of patch ``n``."""
        own, classes = int(picked.class_index[n]), len(self._training.owners)
        drawn_as = torch.as_tensor([own] * _DRAWN + list(range(classes)), device=self._device)
        batch = picked.at(torch.full((len(drawn_as),), n))
        place = Place(batch.filled, batch.distance, drawn_as)
        noise = normal(tuple(batch.image.shape), rng).to(self._device)
        with torch.no_grad():
            change = denoised(self.averaged, place, noise, self._config.sampling_steps)
        return torch.cat([batch.image[:1], batch.filled[:1], batch.filled + change]).float().cpu()

    def _parts(self) -> Parts:
        return {"net": self._net, "averaged": self.averaged, "adam": self._adam}


def _place(batch: Batch) -> Place:
    return Place(batch.filled, batch.distance, batch.class_index)
