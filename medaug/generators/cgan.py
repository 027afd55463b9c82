"""``cgan``: a conditional GAN that draws a lesion of a class, in a mask, into the context of its host.

Coarse to fine: the zone of the lesion is emptied and filled from the tissue around it, a coarse lesion with the
figures of a real one of the class is drawn into the mask (see :mod:`medaug.generators._patches.coarse`), and a small
U-Net with a SPADE decoder adds what is missing. One definition serves 2D and 3D. A lesion too large for the
network's patch is shrunk to fit, and the change is brought back to the host's voxels, which keep their grain.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.errors import CheckpointError
from medaug.core.intensity import IntensityScheme
from medaug.core.lesion import Lesion, LesionRequest
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.engine.checkpoint import save_checkpoint
from medaug.engine.launch import memory_format, pick_device
from medaug.engine.loop import fit_loop
from medaug.generators._cgan.build import Net, build_net
from medaug.generators._cgan.dp_model import PrivateCganModel
from medaug.generators._cgan.dp_serving import PrivateCGAN, load_private
from medaug.generators._cgan.draft import Draft
from medaug.generators._cgan.learner import CganLearner
from medaug.generators._cgan.noise import Noise
from medaug.generators._cgan.settings import Config, LossWeights
from medaug.generators._cgan.table import FigureTable
from medaug.generators._cgan.teacher import Teacher
from medaug.generators._patches.batches import gather, held_back
from medaug.generators._patches.coarse import (
    Anchor,
    CoarseInput,
    at_noise,
    draw_coarse,
    fill,
    scan_noise,
    zone_of,
)
from medaug.generators._patches.dp_learner import fit_private
from medaug.generators._patches.layers import Conditions
from medaug.generators._patches.pictures import Watched
from medaug.generators._patches.serving import (
    HINT,
    card_of,
    changed,
    check_channels,
    class_number,
    fill_net,
    read_run,
)
from medaug.generators._patches.window import Window
from medaug.generators.base import (
    CARD,
    WEIGHTS,
    GeneratorCard,
    LesionLibrary,
    TrainedGenerator,
    generator_sha256,
)

_FRAMES_AT_ONCE = 32

__all__ = ["CGAN", "Config", "LossWeights", "PrivateCGAN", "fit", "load"]


@final
class CGAN(TrainedGenerator[Config]):
    """A trained conditional GAN; answers requests for any class of its table."""

    kind: str = "cgan"

    def __init__(
        self,
        config: Config,
        card: GeneratorCard,
        net: Net,
        table: FigureTable,
        device: str,
        *,
        refine: bool = True,
    ) -> None:
        super().__init__(config, card)
        self._table, self._refine = table, refine
        self._device, self._layout = pick_device(device), memory_format(config.dims)
        self._anchor = _anchor(card.scheme)
        self._net = net.eval().to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]

    @property
    def sha256(self) -> str:
        """Hash of the configuration and the weights."""
        return super().sha256 if self._refine else generator_sha256(self._config, "coarse only")

    def coarse_only(self) -> CGAN:
        """The same without the network: its coarse input alone, to measure what the network adds."""
        return CGAN(self._config, self._card, self._net, self._table, str(self._device), refine=False)

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """See :class:`~medaug.generators.base.TrainedGenerator`."""
        if not requests:
            return []
        windows = [Window.around(r.mask, self._config.size, r.spacing_mm) for r in requests]
        asked = zip(requests, windows, rngs, strict=True)
        drafts = [self._draft(request, window, rng) for request, window, rng in asked]
        change = self._change(Draft.joined(drafts)).split([len(d.image) for d in drafts])
        return [
            Lesion(changed(r.host, r.scale, w, part), r.mask, r.class_name)
            for r, w, part in zip(requests, windows, change, strict=True)
        ]

    def _draft(self, request: LesionRequest, window: Window, rng: np.random.Generator) -> Draft:
        number = class_number(self._card, request.class_name)
        check_channels(self._card, request.host)
        image = window.frames(request.scale.normalise(request.host))
        distance = window.distances(request.mask)
        count = len(image)
        noise = Noise.draw_slices(self._net, count, rng, self._table.factors)
        voxels = int((distance > 0).flatten(1).sum(1).max())
        figures = self._table.draw(number, voxels, float(noise.z[0, 0])).expand(count, -1, -1)
        texture = torch.empty(count, 0)
        if self._config.coarse == "texture":
            texture = window.frames(request.scale.normalise(request.texture))
        return Draft(image, distance, torch.full((count,), number), figures, noise, texture)

    def _change(self, draft: Draft) -> Float[Tensor, "B C *S"]:
        """What the lesions change in their frames: whole in the zone, nothing beyond a voxel outside it."""
        done = []
        with torch.inference_mode():
            for start in range(0, len(draft.image), _FRAMES_AT_ONCE):
                part = draft.part(start, min(start + _FRAMES_AT_ONCE, len(draft.image)))
                near = (part.distance + 4).clamp(0, 1)
                done.append(near * (self._refined(part) - part.image))
        return torch.cat(done)

    def _refined(self, draft: Draft) -> Tensor:
        """The frames with coarse lesions, refined by the network."""
        distance, noise = draft.distance, draft.noise.to(self._device)
        texture = covered = None
        if self._config.coarse == "texture":
            texture, covered = draft.texture, (distance > 0).to(draft.image.dtype)
        figures = at_noise(draft.figures, scan_noise(draft.image, distance))
        source = CoarseInput(figures, self._anchor, draft.noise.fine, draft.noise.broad, texture, covered)
        coarse = draw_coarse(fill(draft.image, zone_of(distance)), distance, source)
        if not self._refine:
            return coarse
        told = Conditions(
            draft.class_index.to(self._device), float(self._config.conditional), distance.to(self._device)
        )
        drawn = coarse.to(self._device).contiguous(memory_format=self._layout)
        refined: Tensor = drawn + self._net(drawn, told, noise.z, noise.fields)
        return refined.float().cpu().contiguous()


def fit(
    config: Config, bank: LesionLibrary, run: RunDir, progress: Progress, seed: SeedTree
) -> CGAN | PrivateCGAN:
    """Train on the lesions of a bank; leaves ``model.pt``, ``generator.json`` and ``samples.png`` in the run folder.

    Args:
        config: The whole recipe.
        bank: Lesions of the training patients of one fold.
        run: Open run folder; an interrupted training in it goes on from its last checkpoint.
        progress: Told the losses, and what is scarce.
        seed: Root of all randomness.

    Raises:
        DataError: If a class of the bank's table has no lesion.
        TrainingError: If a loss is not finite or explodes, or made lesions become all alike.
        SplitLeakageError: If the teacher was trained on other patients than the bank's.
        ConfigError: If the promise of ``dp`` cannot be kept.
        DependencyError: If ``dp`` is asked for and its packages are not installed.
    """
    if config.dp is not None:
        fit_private(PrivateCganModel(config, bank.index, seed), config.dp, bank, run, progress, seed)
        return load(run.path, config.device)
    training = gather(bank, config, progress, held_back(bank))
    anchor = _anchor(bank.index.scheme)
    teacher = None
    if config.teacher is not None:
        teacher = Teacher(Path(config.teacher), bank.index, config.size, pick_device(config.device))
    learner = CganLearner(config, training, anchor, seed, teacher)
    watched = Watched(learner, run, seed, config.samples_every)
    fit_loop(watched, steps=config.steps, run=run, progress=progress, label="cgan")
    watched.picture()
    _leave(config, bank, run, learner.averaged, FigureTable.of(training, anchor))
    return load(run.path, config.device)


def _leave(config: Config, bank: LesionLibrary, run: RunDir, net: Net, table: FigureTable) -> None:
    """Write weights, figures and card; of the teacher's folder the card keeps the name alone."""
    weights = {name: tensor.cpu() for name, tensor in net.state_dict().items()}
    save_checkpoint(run.path / WEIGHTS, {"net": weights, **table.state})
    teacher = None if config.teacher is None else Path(config.teacher).name
    card_of(config.model_copy(update={"teacher": teacher}), bank, weights).write(run.path / CARD)


def load(run_path: Path, device: str = "auto") -> CGAN | PrivateCGAN:
    """The generator of a finished ``medaug fit`` run folder, on a device.

    Raises:
        CheckpointError: If it is missing, damaged, or does not fit its own card.
    """
    config, card, state = read_run(run_path, Config)
    if config.dp is not None:
        return load_private(config, card, state, device)
    net = build_net(config, len(card.scheme.channels), len(card.classes))
    table = FigureTable.of_state(state, _anchor(card.scheme))
    if table is None:
        raise CheckpointError(f"{WEIGHTS} holds no cgan", hint=HINT)
    fill_net(net, state, card)
    return CGAN(config, card, net, table, device)


def _anchor(scheme: IntensityScheme) -> Anchor:
    """Absolute levels where units mean the same in every scan, else contrast to the surroundings."""
    return "contrast" if scheme.unit is Unit.ARBITRARY else "level"
