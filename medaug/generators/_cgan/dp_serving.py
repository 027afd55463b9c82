"""A conditional GAN that was trained with differential privacy: training, and answers to requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch

from medaug.core.budget import PrivacyRequest
from medaug.core.lesion import Lesion, LesionRequest
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.engine.checkpoint import State, save_checkpoint
from medaug.engine.dp import plan_privacy
from medaug.engine.launch import pick_device
from medaug.engine.loop import fit_loop
from medaug.generators._cgan.build import Net, build_net
from medaug.generators._cgan.dp_learner import PrivateCganLearner, composed, draw_inside
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.coarse import fill, zone_of
from medaug.generators._patches.layers import Conditions, normal
from medaug.generators._patches.pictures import Watched
from medaug.generators._patches.records import Patches, gather_records
from medaug.generators._patches.serving import card_of, changed, check_channels, class_number, fill_net
from medaug.generators._patches.window import Window
from medaug.generators.base import CARD, WEIGHTS, GeneratorCard, LesionLibrary, generator_sha256


@final
class PrivateCGAN:
    """A conditional GAN whose only look at patients was a private one; answers requests for any class of its table."""

    kind: str = "cgan"

    def __init__(self, config: Config, card: GeneratorCard, net: Net, device: str) -> None:
        self._config, self._card, self._device = config, card, pick_device(device)
        self._net = net.eval().to(self._device)
        self._relative = is_relative(card.scheme.unit)

    @property
    def sha256(self) -> str:
        """Hash of the configuration and the weights."""
        return generator_sha256(self._config, self._card.weights_sha256)

    @property
    def card(self) -> GeneratorCard:
        """What it is, and what it has told of whom."""
        return self._card

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """Answer every request; each answer depends on its request and its ``rng`` alone, up to rounding.

        All slices of a lesion share one z.

        Raises:
            ConfigError: If a class is not in the generator's table.
            CheckpointError: If a host has another number of channels than the training images.
        """
        return [self._lesion(request, rng) for request, rng in zip(requests, rngs, strict=True)]

    def _lesion(self, request: LesionRequest, rng: np.random.Generator) -> Lesion:
        number = class_number(self._card, request.class_name)
        check_channels(self._card, request.host)
        window = Window.around(request.mask, self._config.size, request.spacing_mm)
        image, distance = window.frames(request.scale.normalise(request.host)), window.distances(request.mask)
        filled = fill(image, zone_of(distance))
        place = Patches(image, filled, distance, torch.full((len(image),), number)).to(self._device)
        told = Conditions(place.class_index, float(self._config.conditional), place.distance)
        z = normal((1, self._config.z_size), rng).expand(len(image), -1).to(self._device)
        with torch.inference_mode():
            lesion = draw_inside(self._net, told, z)
            change = composed(place, lesion, relative=self._relative) - place.image
        drawn = changed(request.host, request.scale, window, change.float().cpu().contiguous())
        return Lesion(drawn, request.mask, request.class_name)


def fit_private(
    config: Config,
    request: PrivacyRequest,
    bank: LesionLibrary,
    run: RunDir,
    progress: Progress,
    seed: SeedTree,
) -> None:
    """Train with differential privacy; leaves ``model.pt``, ``generator.json`` and ``samples.png`` in the run folder.

    Raises:
        ConfigError: If the promise cannot be kept; see :func:`medaug.engine.dp.plan_privacy`.
        DataError: If no lesion is large enough.
        DependencyError: If Opacus or dp-accounting is not installed.
        DivergedError: If a figure of made lesions is not finite.
    """
    records = gather_records(bank, config, progress)
    plan = plan_privacy(
        request, patients=len(records.owned), batch_size=config.batch_size, steps=config.steps
    )
    progress.say(plan.statement)
    learner = PrivateCganLearner(config, records, plan, seed, relative=is_relative(bank.index.scheme.unit))
    watched = Watched(learner, run, seed, config.samples_every)
    fit_loop(watched, steps=config.steps, run=run, progress=progress, label="cgan with privacy")
    watched.picture()
    weights: State = {name: tensor.cpu() for name, tensor in learner.averaged.state_dict().items()}
    budget = learner.budget
    spent = None if budget is None else budget.model_dump()
    save_checkpoint(run.path / WEIGHTS, {"net": weights, "privacy": spent})
    card_of(config, bank, weights).model_copy(update={"privacy": budget}).write(run.path / CARD)


def load_private(config: Config, card: GeneratorCard, state: State, device: str) -> PrivateCGAN:
    """The generator of a finished run folder with ``dp``.

    Raises:
        CheckpointError: If its weights do not fit its card.
    """
    net = build_net(config, len(card.scheme.channels), len(card.classes))
    fill_net(net, state, card)
    return PrivateCGAN(config, card, net, device)


def is_relative(unit: Unit) -> bool:
    """Whether a level says nothing but in comparison with the tissue around: where units differ from scan to scan."""
    return unit is Unit.ARBITRARY
