"""``diffusion``: a small denoising diffusion model that draws lesions into hosts; slow, for comparison.

The zone of the lesion is emptied and filled from the tissue around it. What a lesion adds to that is drawn from noise
in many passes of one network, which is told class, mask, distance and the filled host at each (see
:mod:`medaug.generators._diffusion.process` for the way, :mod:`medaug.generators._diffusion.networks` for the
network). It works on voxels, not on codes of another network. One definition serves 2D and 3D; all channels are
drawn together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.lesion import Lesion, LesionRequest
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import save_checkpoint
from medaug.engine.launch import memory_format, pick_device
from medaug.engine.loop import fit_loop
from medaug.generators._diffusion.learner import DiffusionLearner
from medaug.generators._diffusion.networks import Denoiser, Place
from medaug.generators._diffusion.process import denoised
from medaug.generators._diffusion.settings import Config
from medaug.generators._patches.batches import gather
from medaug.generators._patches.coarse import fill, zone_of
from medaug.generators._patches.layers import normal
from medaug.generators._patches.pictures import Watched
from medaug.generators._patches.serving import (
    card_of,
    changed,
    check_channels,
    class_number,
    fill_net,
    read_run,
)
from medaug.generators._patches.window import Window
from medaug.generators.base import CARD, WEIGHTS, GeneratorCard, LesionLibrary, TrainedGenerator

_FRAMES_AT_ONCE = 32

__all__ = ["Config", "Diffusion", "fit", "load"]


@final
class Diffusion(TrainedGenerator[Config]):
    """A trained diffusion model; answers requests for any class of its table."""

    kind: str = "diffusion"

    def __init__(self, config: Config, card: GeneratorCard, net: Denoiser, device: str) -> None:
        super().__init__(config, card)
        self._device, self._layout = pick_device(device), memory_format(config.dims)
        self._net = net.eval().to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """See :class:`~medaug.generators.base.TrainedGenerator`."""
        if not requests:
            return []
        windows = [Window.around(r.mask, self._config.size, r.spacing_mm) for r in requests]
        asked = list(zip(requests, windows, strict=True))
        frames = [window.frames(r.scale.normalise(r.host)) for r, window in asked]
        places = [self._place(r, window, part) for (r, window), part in zip(asked, frames, strict=True)]
        noise = [self._noise(part, rng) for part, rng in zip(frames, rngs, strict=True)]
        change = self._change(places, torch.cat(frames), torch.cat(noise)).split([len(p) for p in frames])
        return [
            Lesion(changed(r.host, r.scale, window, part), r.mask, r.class_name)
            for (r, window), part in zip(asked, change, strict=True)
        ]

    def _place(self, request: LesionRequest, window: Window, image: Float[Tensor, "B C *S"]) -> Place:
        number = class_number(self._card, request.class_name)
        check_channels(self._card, request.host)
        distance = window.distances(request.mask)
        return Place(fill(image, zone_of(distance)), distance, torch.full((len(image),), number))

    def _noise(self, frames: Float[Tensor, "B C *S"], rng: np.random.Generator) -> Float[Tensor, "B C *S"]:
        """What the frames of one lesion begin with: slices of one lesion have most of it in common."""
        shape, alike = tuple(frames.shape), self._config.alike
        if len(frames) == 1:
            return normal(shape, rng)
        common, own = normal((1, *shape[1:]), rng), normal(shape, rng)
        drawn: Tensor = alike**0.5 * common + (1 - alike) ** 0.5 * own
        return drawn

    def _change(self, places: Sequence[Place], image: Tensor, noise: Tensor) -> Float[Tensor, "B C *S"]:
        """What the lesions change in their frames: whole in the zone, nothing outside it."""
        filled, distance, index = (
            torch.cat(parts)
            for parts in zip(*((p.filled, p.distance, p.class_index) for p in places), strict=True)
        )
        done = []
        with torch.inference_mode():
            for some in torch.arange(len(image)).split(_FRAMES_AT_ONCE):
                part = Place(self._there(filled[some]), self._there(distance[some]), self._there(index[some]))
                drawn = denoised(self._net, part, self._there(noise[some]), self._config.sampling_steps)
                lesion = filled[some] + drawn.float().cpu()
                done.append(zone_of(distance[some]) * (lesion - image[some]))
        return torch.cat(done)

    def _there(self, values: Tensor) -> Tensor:
        """On the device, and images in its layout."""
        moved = values.to(self._device)
        return moved if moved.ndim < 4 else moved.contiguous(memory_format=self._layout)


def fit(config: Config, bank: LesionLibrary, run: RunDir, progress: Progress, seed: SeedTree) -> Diffusion:
    """Train on the lesions of a bank; leaves ``model.pt``, ``generator.json`` and ``samples.png`` in the run folder.

    Args:
        config: The whole recipe.
        bank: Lesions of the training patients of one fold.
        run: Open run folder; an interrupted training in it goes on from its last checkpoint.
        progress: Told the losses, and what is scarce.
        seed: Root of all randomness.

    Raises:
        DataError: If a class of the bank's table has no lesion.
        DivergedError: If a loss is not finite.
    """
    learner = DiffusionLearner(config, gather(bank, config, progress), seed)
    watched = Watched(learner, run, seed, config.samples_every)
    fit_loop(watched, steps=config.steps, run=run, progress=progress, label="diffusion")
    watched.picture()
    weights = {name: value.cpu() for name, value in learner.averaged.state_dict().items()}
    save_checkpoint(run.path / WEIGHTS, {"net": weights})
    card_of(config, bank, weights).write(run.path / CARD)
    return load(run.path, config.device)


def load(run_path: Path, device: str = "auto") -> Diffusion:
    """The generator of a finished ``medaug fit`` run folder, on a device.

    Raises:
        CheckpointError: If it is missing, damaged, or does not fit its own card.
    """
    config, card, state = read_run(run_path, Config)
    net = Denoiser(config.net_spec(len(card.scheme.channels), len(card.classes)))
    fill_net(net, state, card)
    return Diffusion(config, card, net, device)
