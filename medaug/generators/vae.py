"""``vae``: a class-conditional variational autoencoder of lesions inside the context of their hosts.

The zone of the lesion is emptied and filled from the tissue around it; the decoder draws a lesion of a class, in a
mask, for a latent code, into what is left. Codes come from the spread of the training codes of a class (new lesions),
from the encoder (a lesion denoised, two lesions with all that lies between them), or from a walk along a named
direction (size, contrast, sharpness). One definition serves 2D and 3D; all channels share one code.

Beta, the price of the Kullback-Leibler divergence, rises linearly from 0 over the first ``warm_up`` of the steps,
so that the decoder learns to listen to the code before silence is cheaper; ``free_bits`` of each dimension cost
nothing. What a code cannot hold, the fine grain, is added as noise: as much as real lesions of the class have at
the noise of the host's own scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.errors import CheckpointError
from medaug.core.lesion import Lesion, LesionCrop, LesionRequest
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image
from medaug.engine.checkpoint import save_checkpoint
from medaug.engine.launch import memory_format, pick_device
from medaug.engine.loop import fit_loop
from medaug.generators._patches.batches import TrainingSet, gather
from medaug.generators._patches.coarse import GRAIN, NOISE, bands, scan_noise, smooth, zone_of
from medaug.generators._patches.dp_learner import fit_private
from medaug.generators._patches.layers import normal
from medaug.generators._patches.pictures import Watched, write_sheet
from medaug.generators._patches.scene import Scene
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
from medaug.generators._vae.directions import ATTRIBUTES, Attribute, Directions, attributes, log_size
from medaug.generators._vae.dp_model import PrivateVaeModel
from medaug.generators._vae.learner import VaeLearner
from medaug.generators._vae.networks import LesionVae, Place
from medaug.generators._vae.prior import NAMES, Prior
from medaug.generators._vae.scenes import Taught, Walk, resized_scene
from medaug.generators._vae.settings import Config
from medaug.generators.base import (
    CARD,
    FEW_LESIONS,
    WEIGHTS,
    GeneratorCard,
    LesionLibrary,
    TrainedGenerator,
)

_FRAMES_AT_ONCE = 32

__all__ = ["ATTRIBUTES", "VAE", "Attribute", "Config", "Scene", "Walk", "fit", "load", "write_sheet"]


@final
class VAE(TrainedGenerator[Config]):
    """A trained variational autoencoder; answers requests for any class of its table."""

    kind: str = "vae"

    def __init__(
        self, config: Config, card: GeneratorCard, net: LesionVae, taught: Taught, device: str
    ) -> None:
        super().__init__(config, card)
        self._taught = taught
        self._device, self._layout = pick_device(device), memory_format(config.dims)
        self._net = net.eval().to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]

    @property
    def directions(self) -> Directions:
        """The named directions, and how much of each attribute the codes explain."""
        return self._taught.directions

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """See :class:`~medaug.generators.base.TrainedGenerator`; codes come from the prior, one for all slices of a lesion."""
        if not requests:
            return []
        windows = [Window.around(r.mask, self._config.size, r.spacing_mm) for r in requests]
        scenes, codes, grains = [], [], []
        for request, window, rng in zip(requests, windows, rngs, strict=True):
            scene = self._scene(window, request.scale.normalise(request.host), request)
            scenes.append(scene)
            codes.append(self._code(scene, rng).expand(len(scene.image), -1))
            grains.append(normal(tuple(scene.image.shape), rng))
        change = self._change(Scene.joined(scenes), torch.cat(codes), torch.cat(grains))
        parts = change.split([len(scene.image) for scene in scenes])
        return [
            Lesion(changed(r.host, r.scale, w, part), r.mask, r.class_name)
            for r, w, part in zip(requests, windows, parts, strict=True)
        ]

    def denoise(self, crops: Sequence[LesionCrop]) -> list[Lesion]:
        """Each lesion as its code tells it, with as much of the rest as cannot be noise.

        How much that is, is told place by place from the noise of the scan around the lesion (Lee, IEEE Trans Pattern
        Anal Mach Intell 1980).

        Raises:
            ConfigError: If a class is not in the generator's table.
            CheckpointError: If a crop has another number of channels than the training images.
        """
        lesions = []
        for crop in crops:
            window = Window.around(crop.mask, self._config.size, crop.entry.spacing_mm)
            scene = self._scene(window, crop.scale.normalise(crop.image), crop)
            change = scene.zone * (self.denoised(scene).images - scene.image)
            image = changed(crop.image, crop.scale, window, change)
            lesions.append(Lesion(image, crop.mask, crop.entry.class_name))
        return lesions

    def denoised(self, scene: Scene) -> Walk:
        """The lesions that the frames of a place show, with less noise; the surroundings stay as they are."""
        decoded = self._drawn(scene, self._encode(scene), None)
        rest = scene.zone * (scene.image - decoded)
        noise = scan_noise(scene.image, scene.distance)
        noise = noise.reshape(*noise.shape, *(1,) * (rest.ndim - 2))
        energy = _nearby(rest.square()) / (_nearby(scene.zone) + 1e-3)
        kept = (1 - noise.square() / (energy + 1e-6)).clamp(0, 1) * rest
        images = scene.image + scene.zone * (decoded + kept - scene.image)
        return Walk(images, attributes(images, scene.filled, scene.distance))

    def scene(self, crop: LesionCrop, class_name: str | None = None) -> Scene:
        """The place of a bank's lesion, to be drawn as its own or another class; in 2D its largest slice."""
        window = Window.around(crop.mask, self._config.size, crop.entry.spacing_mm)
        found = self._scene(window, crop.scale.normalise(crop.image), crop).largest
        number = self._number(class_name or crop.entry.class_name)
        return Scene(found.image, found.filled, found.distance, torch.full((1,), number))

    def sample(self, scene: Scene, rngs: Sequence[np.random.Generator]) -> Walk:
        """Lesions of one place with codes from the prior, one for each ``rng``."""
        codes = torch.cat([self._code(scene, rng) for rng in rngs])
        return self._walk(Scene.joined([scene] * len(codes)), codes)

    def interpolate(self, first: Scene, second: Scene, steps: int) -> Walk:
        """From one lesion to another: code, class, outline and host change together, linearly.

        The ends are the lesions as decoded at the mean of their codes.
        """
        share = torch.linspace(0, 1, steps)
        codes = torch.lerp(self._encode(first), self._encode(second), share[:, None])
        wide = share.reshape(-1, *(1,) * (first.image.ndim - 1))
        columns = [
            torch.lerp(a, b, wide)
            for a, b in zip(
                (first.image, first.filled, first.distance),
                (second.image, second.filled, second.distance),
                strict=True,
            )
        ]
        with torch.inference_mode():
            ends = [self._net.embed(s.class_index.to(self._device)) for s in (first, second)]
            embedded = torch.lerp(ends[0], ends[1], share[:, None].to(self._device))
        places = Scene(columns[0], columns[1], columns[2], first.class_index.expand(steps))
        return self._walk(places, codes, embedded)

    def along(self, scene: Scene, name: Attribute, steps: int, reach: float = 2.0) -> Walk:
        """A lesion changed by -reach to +reach deviations of an attribute, about the mean of its own code.

        Size is first of all a matter of the outline, which grows and shrinks with it; the code adds what larger
        lesions look like inside.
        """
        amounts = [float(v) for v in np.linspace(-reach, reach, steps)]
        codes = torch.cat([self._encode(scene) + self._taught.directions.shift(name, v) for v in amounts])
        scenes = [scene] * steps
        if name == "size":
            deviation = float(self._taught.directions.deviations[ATTRIBUTES.index("size")])
            scenes = [resized_scene(scene, v * deviation / self._config.dims) for v in amounts]
        return self._walk(Scene.joined(scenes), codes)

    def _number(self, class_name: str) -> int:
        return class_number(self._card, class_name)

    def _scene(self, window: Window, image: Image, source: LesionRequest | LesionCrop) -> Scene:
        class_name = source.class_name if isinstance(source, LesionRequest) else source.entry.class_name
        number = self._number(class_name)
        check_channels(self._card, image)
        return Scene.of(window.frames(image), window.distances(source.mask), number)

    def _code(self, scene: Scene, rng: np.random.Generator) -> Float[Tensor, "1 Z"]:
        """The code of a new lesion of a place's class and size."""
        voxels = float(log_size(scene.distance).max())
        return self._taught.prior.draw(int(scene.class_index[0]), voxels, rng)

    def _encode(self, scene: Scene) -> Float[Tensor, "B Z"]:
        """Mean codes of the lesions that the frames show."""
        with torch.inference_mode():
            mean, _ = self._net.encode(self._there(scene.image), self._place(scene))
        codes: Tensor = mean.float().cpu().clone()
        return codes

    def _change(self, scene: Scene, codes: Tensor, grain: Tensor | None) -> Float[Tensor, "B C *S"]:
        """What the lesions change in their frames: whole in the zone, nothing beyond a voxel outside it."""
        done = []
        for start in range(0, len(codes), _FRAMES_AT_ONCE):
            some = slice(start, start + _FRAMES_AT_ONCE)
            part = scene.at(some)
            drawn = self._drawn(part, codes[some], None)
            if grain is not None:
                drawn = drawn + self._grainy(part, grain[some])
            done.append((part.distance + 4).clamp(0, 1) * (drawn - part.image))
        return torch.cat(done)

    def _drawn(self, scene: Scene, codes: Tensor, embedded: Tensor | None) -> Tensor:
        with torch.inference_mode():
            place = self._place(scene, embedded)
            lesion: Tensor = self._net.decode(place, codes.to(self._device))
        return lesion.float().cpu().contiguous()

    def _grainy(self, scene: Scene, grain: Tensor) -> Tensor:
        """Fine noise as real lesions of the class have it, at the noise of the host's scan."""
        fine = bands(grain, torch.ones_like(scene.distance))[2]
        fine = fine / fine.flatten(2).std(dim=2).clamp(min=1e-3).reshape(
            *fine.shape[:2], *(1,) * (fine.ndim - 2)
        )
        level = (
            self._config.grain
            * self._taught.grain[scene.class_index]
            * scan_noise(scene.image, scene.distance)
        )
        noise: Tensor = zone_of(scene.distance) * level.reshape(*level.shape, *(1,) * (fine.ndim - 2)) * fine
        return noise

    def _walk(self, scene: Scene, codes: Tensor, embedded: Tensor | None = None) -> Walk:
        drawn = self._drawn(scene, codes, embedded)
        images = scene.filled + ((scene.distance + 4).clamp(0, 1)) * (drawn - scene.filled)
        return Walk(images, attributes(images, scene.filled, scene.distance))

    def _place(self, scene: Scene, embedded: Tensor | None = None) -> Place:
        if embedded is None:
            embedded = self._net.embed(scene.class_index.to(self._device))
        return Place(self._there(scene.filled), scene.distance.to(self._device), embedded)

    def _there(self, image: Tensor) -> Tensor:
        return image.to(self._device).contiguous(memory_format=self._layout)


def _nearby(image: Tensor) -> Tensor:
    """Mean over the voxels around each, about seven along every axis."""
    return smooth(smooth(image), 2)


def fit(config: Config, bank: LesionLibrary, run: RunDir, progress: Progress, seed: SeedTree) -> VAE:
    """Train on the lesions of a bank; leaves ``model.pt``, ``generator.json`` and ``samples.png`` in the run folder.

    Classes share encoder, decoder and latent space and own but a vector each, so a class of fewer than 8 lesions
    leans on what the others taught; the user is told.

    Args:
        config: The whole recipe.
        bank: Lesions of the training patients of one fold.
        run: Open run folder; an interrupted training in it goes on from its last checkpoint.
        progress: Told the losses, and what is scarce.
        seed: Root of all randomness.

    Raises:
        DataError: If a class of the bank's table has no lesion.
        DivergedError: If a loss is not finite.
        ConfigError: If the promise of ``dp`` cannot be kept.
        DependencyError: If ``dp`` is asked for and its packages are not installed.
    """
    if config.dp is not None:
        fit_private(PrivateVaeModel(config, bank.index, seed), config.dp, bank, run, progress, seed)
        return load(run.path, config.device)
    training = gather(bank, config, progress)
    classes = bank.index.classes
    if len(classes) > 1 and any(len(bank.entries(name)) < FEW_LESIONS for name in classes):
        progress.say("classes share one network and one latent space: the scarce ones lean on the others")
    learner = VaeLearner(config, training, seed)
    watched = Watched(learner, run, seed, config.samples_every)
    fit_loop(watched, steps=config.steps, run=run, progress=progress, label="vae")
    watched.picture()
    weights = {name: value.cpu() for name, value in learner.averaged.state_dict().items()}
    save_checkpoint(run.path / WEIGHTS, {"net": weights, **_taught(learner, training, seed).state})
    card_of(config, bank, weights).write(run.path / CARD)
    return load(run.path, config.device)


def _taught(learner: VaeLearner, training: TrainingSet, seed: SeedTree) -> Taught:
    """Prior, named directions, and the grain of each class; no code of any single lesion."""
    patches, prior = training.patches, learner.prior()
    ratio = patches.figures[..., GRAIN] / patches.figures[..., NOISE]
    grain = torch.stack(
        [ratio[patches.class_index == n].median(dim=0).values for n in range(len(training.owners))]
    )
    return Taught(prior, learner.directions(prior, seed), grain)


def load(run_path: Path, device: str = "auto") -> VAE:
    """The generator of a finished ``medaug fit`` run folder, on a device.

    Raises:
        CheckpointError: If it is missing, damaged, or does not fit its own card.
    """
    config, card, state = read_run(run_path, Config)
    net = LesionVae(config.net_spec(len(card.scheme.channels), len(card.classes)))
    parts = [state.get(name) for name in (*NAMES, "changes", "explained", "deviations", "grain")]
    if not all(isinstance(part, Tensor) for part in parts):
        raise CheckpointError(f"{WEIGHTS} holds no vae of this version", hint=HINT)
    fill_net(net, state, card)
    found = [cast(Tensor, part) for part in parts]
    return VAE(config, card, net, Taught(Prior(*found[:4]), Directions(*found[4:7]), found[7]), device)
