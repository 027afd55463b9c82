"""A conditional GAN that was trained with differential privacy, and how it answers requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch

from medaug.core.lesion import Lesion, LesionRequest
from medaug.engine.checkpoint import State
from medaug.engine.launch import pick_device
from medaug.generators._cgan.build import Net, build_net
from medaug.generators._cgan.dp_model import drawn_into, is_relative
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.layers import normal
from medaug.generators._patches.scene import Scene
from medaug.generators._patches.serving import changed, check_channels, class_number, fill_net
from medaug.generators._patches.window import Window
from medaug.generators.base import GeneratorCard, TrainedGenerator


@final
class PrivateCGAN(TrainedGenerator[Config]):
    """A conditional GAN whose only look at patients was a private one; answers requests for any class of its table."""

    kind: str = "cgan"

    def __init__(self, config: Config, card: GeneratorCard, net: Net, device: str) -> None:
        super().__init__(config, card)
        self._device = pick_device(device)
        self._net = net.eval().to(self._device)
        self._relative = is_relative(card.scheme.unit)

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """See :class:`~medaug.generators.base.TrainedGenerator`; all slices of a lesion share one z."""
        return [self._lesion(request, rng) for request, rng in zip(requests, rngs, strict=True)]

    def _lesion(self, request: LesionRequest, rng: np.random.Generator) -> Lesion:
        number = class_number(self._card, request.class_name)
        check_channels(self._card, request.host)
        window = Window.around(request.mask, self._config.size, request.spacing_mm)
        image, distance = window.frames(request.scale.normalise(request.host)), window.distances(request.mask)
        place = Scene.of(image, distance, number).to(self._device)
        z = normal((1, self._config.z_size), rng).expand(len(image), -1).to(self._device)
        weight = float(self._config.conditional)
        with torch.inference_mode():
            made = drawn_into(self._net, place, z, class_weight=weight, relative=self._relative)
            change = made - place.image
        drawn = changed(request.host, request.scale, window, change.float().cpu().contiguous())
        return Lesion(drawn, request.mask, request.class_name)


def load_private(config: Config, card: GeneratorCard, state: State, device: str) -> PrivateCGAN:
    """The generator of a finished run folder with ``dp``.

    Raises:
        CheckpointError: If its weights do not fit its card.
    """
    net = build_net(config, len(card.scheme.channels), len(card.classes))
    fill_net(net, state, card)
    return PrivateCGAN(config, card, net, device)
