"""``whole_image``: whole slices or volumes from label maps alone, for sets that shall contain no host.

A label map holds what lies outside the body, automatic tissue clusters, and the dataset's classes. A SPADE generator
(Park et al., CVPR 2019) turns it into an image; a patch discriminator judges pairs, with feature matching against the
real image of the same map (Wang et al., CVPR 2018). New cases begin as the tissue map of a training patient, without its
lesions, bent until it is nobody's; a lesion of the wanted class is drawn into it. No voxel of an image is read for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.case import Case, CaseRecord, Origin
from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.geometry import Grid
from medaug.core.intensity import CaseScale
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Unit
from medaug.engine.checkpoint import State, load_checkpoint, save_checkpoint
from medaug.engine.launch import memory_format, pick_device
from medaug.engine.loop import fit_loop
from medaug.engine.weights import state_sha256
from medaug.translators._whole_image.frames import (
    Frame,
    LabelTable,
    Shown,
    frames_of,
    grain_of,
    made_volume,
    one_hot,
    scale_of,
    stage,
)
from medaug.translators._whole_image.layouts import LesionStatistics, StatisticsGatherer, add_lesion, bend
from medaug.translators._whole_image.learner import WholeImageLearner
from medaug.translators._whole_image.networks import Chance, ImageNet, draw_fields
from medaug.translators._whole_image.pictures import SAMPLES, write_samples
from medaug.translators._whole_image.settings import Config, LayoutSettings, LossWeights
from medaug.translators._whole_image.tissue import Tissues, learn_tissues, sample_voxels
from medaug.translators.base import (
    HINT,
    WEIGHTS,
    TrainingCases,
    TranslatorCard,
    read_card,
    read_config,
    require_like,
    translator_sha256,
    write_card,
)

__all__ = ["Config", "LayoutSettings", "LossWeights", "WholeImage", "fit", "load"]

_KEPT = 0.8  # correlation of the noise of neighbouring slices
_FRAMES_AT_ONCE = 8
_SAMPLES = 6


@final
@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """What was measured on the training cases beside the weights.

    Attributes:
        tissues: Where the tissues lie in intensity.
        lesions: Sizes and places of lesions, a class each.
        grain: (2, C) mean and deviation of the scans' grain.
        scale: The usual map between native and normalised units.
    """

    tissues: Tissues
    lesions: tuple[LesionStatistics, ...]
    grain: Float[Tensor, "2 C"]
    scale: CaseScale

    def state(self) -> dict[str, Tensor]:
        """As tensors."""
        s = self.scale
        flat = {
            "centres": torch.from_numpy(self.tissues.centres),
            "grain": self.grain,
            "scale": torch.tensor([s.offset, s.factor, s.low, s.high], dtype=torch.float64),
        }
        for usual in self.lesions:
            flat |= {
                f"diameters.{usual.class_name}": torch.from_numpy(usual.diameters_mm),
                f"places.{usual.class_name}": torch.from_numpy(usual.places),
                f"rings.{usual.class_name}": torch.from_numpy(usual.rings),
            }
        return flat

    @staticmethod
    def restored(state: dict[str, Tensor], config: Config, card: TranslatorCard) -> Figures:
        """Undo :meth:`state`; KeyError where one is missing."""
        own = card.unit is Unit.ARBITRARY
        tissues = Tissues(state["centres"].numpy(), config.tissue_smoothing, config.smallest_part, own)
        rows = [tuple(float(v) for v in row) for row in state["scale"]]
        names = [name for name in card.classes if name not in config.anatomy]
        lesions = tuple(
            LesionStatistics(n, *(state[f"{part}.{n}"].numpy() for part in ("diameters", "places", "rings")))
            for n in names
        )
        return Figures(tissues, lesions, state["grain"], CaseScale(*rows))


@final
class WholeImage:
    """A trained label-map-conditioned generator."""

    kind: str = "whole_image"

    def __init__(self, config: Config, card: TranslatorCard, net: ImageNet, figures: Figures) -> None:
        self._config, self._card, self._figures = config, card, figures
        self._device, self._layout = pick_device("auto"), memory_format(config.dims)
        self._table = LabelTable(config.tissues, card.classes, config.anatomy)
        self._net = net.eval().to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]

    @property
    def card(self) -> TranslatorCard:
        """What it is and what it has seen."""
        return self._card

    @property
    def sha256(self) -> str:
        """Hash of the configuration and the weights."""
        return translator_sha256(self._card)

    @property
    def lesions(self) -> tuple[str, ...]:
        """Classes whose lesions it draws."""
        return self._table.lesions

    def label(self, case: Case) -> LabelMap:
        """The label map that the network is told for a case, on the network's grid.

        Raises:
            CheckpointError: If the case has another unit or other channels than the training cases.
        """
        require_like(case, self._card)
        scene = stage(case, self._config.size, self._figures.tissues, self._table)
        names = (*(f"tissue_{n + 1}" for n in range(self._config.tissues)), *self._card.classes)
        return LabelMap(scene.layout, scene.grid, names)

    def translate(self, case: Case, rng: np.random.Generator) -> Case:
        """The case's label map drawn as another image of the same anatomy, on the network's grid; still the patient's.

        Raises:
            CheckpointError: If the case has another unit or other channels than the training cases.
        """
        label_map = self.label(case)
        frame = Frame.of(case.volume.grid, self._config.size)
        image = self._drawn(label_map.labels, frame, rng)
        volume = made_volume(image, label_map.grid, case.volume, scale_of(case.volume))
        labels = self._table.class_labels(label_map.labels)
        shown = None if case.label_map is None else LabelMap(labels, volume.grid, self._card.classes)
        return replace(case, volume=volume, label_map=shown, origin=Origin.AUGMENTED, scale=None, site=None)

    def invent(self, source: Case, class_name: str, rng: np.random.Generator) -> Case:
        """A case that is nobody's, with a new lesion; see :mod:`medaug.translators._whole_image.layouts`.

        Raises:
            ConfigError: If the class is not one that the translator draws.
            CheckpointError: If the source has another unit or other channels than the training cases.
            DataError: If the label map has no room for a lesion.
        """
        usual = self._lesions_of(class_name)
        require_like(source, self._card)
        scene = stage(source, self._config.size, self._figures.tissues, self._table, bare=True)
        settings = self._config.layout
        bent = bend(scene.layout, settings, rng)
        layout = add_lesion(bent, scene.grid, usual, self._table, settings, rng)
        grid = Grid(layout.labels.shape, np.diag([*scene.grid.spacing_mm, 1.0]))
        image = self._drawn(layout.labels, Frame.of(scene.grid, self._config.size), rng)
        volume = made_volume(image, grid, source.volume, self._figures.scale)
        labels = LabelMap(self._table.class_labels(layout.labels), grid, self._card.classes)
        return Case(source.case_id, source.patient_id, volume, labels, Origin.SYNTHETIC, site=layout.site)

    def _lesions_of(self, class_name: str) -> LesionStatistics:
        for usual in self._figures.lesions:
            if usual.class_name == class_name:
                return usual
        known = ", ".join(usual.class_name for usual in self._figures.lesions)
        raise ConfigError(f"the translator draws no class {class_name!r}", expected=known)

    def _drawn(
        self, layout: np.ndarray, frame: Frame, rng: np.random.Generator
    ) -> Float[np.ndarray, "C I J K"]:
        """The image of a layout, normalised; slices share z and, but for the finest, resemble each other in noise."""
        padded = torch.from_numpy(frame.padded(layout, outside=0))
        stack = padded[None] if self._config.dims == 3 else padded.permute(2, 0, 1)
        count, channels = len(stack), len(self._card.channels)
        z = torch.from_numpy(rng.standard_normal((1, self._config.z_size), dtype=np.float32))
        grain = torch.from_numpy(rng.standard_normal((1, channels), dtype=np.float32)).clamp(-1.5, 1.5)
        chance = Chance(
            z.expand(count, -1),
            grain.expand(count, -1),
            draw_fields(self._net.spec, count, _KEPT, rng),
        )
        drawn = torch.cat([self._frames(stack, chance, n) for n in range(0, count, _FRAMES_AT_ONCE)])
        turned = drawn[0] if self._config.dims == 3 else drawn.permute(1, 2, 3, 0)
        return frame.cut(np.ascontiguousarray(turned.numpy()))

    def _frames(self, stack: Tensor, chance: Chance, start: int) -> Tensor:
        part = slice(start, start + _FRAMES_AT_ONCE)
        maps = one_hot(stack[part], self._table.planes).to(device=self._device, memory_format=self._layout)
        some = Chance(chance.z[part], chance.grain[part], tuple(field[part] for field in chance.fields))
        with torch.inference_mode():
            drawn: Tensor = self._net(maps, some.to(self._device))
        return drawn.float().cpu()


def fit(config: Config, cases: TrainingCases, run: RunDir, progress: Progress, seed: SeedTree) -> WholeImage:
    """Train on whole cases; leaves ``model.pt``, ``translator.json`` and ``samples.png`` in the run folder.

    Args:
        config: The whole recipe.
        cases: Real cases of the training patients of one fold; unlabelled ones are left out.
        run: Open run folder; an interrupted training in it goes on from its last checkpoint.
        progress: Told the losses, and what is scarce.
        seed: Root of all randomness.

    Raises:
        ConfigError: If an organ of the configuration is no class, or every class is said to be an organ.
        DataError: If no training case is labelled, cases differ in unit or channels, or a class has no lesion.
        DivergedError: If a loss is not finite.
    """
    records = _usable(config, cases, progress)
    shown, figures, levels = _gather(config, cases, records, progress, seed)
    table = LabelTable(config.tissues, cases.classes, config.anatomy)
    learner = WholeImageLearner(config, shown, (table.planes, len(cases.classes)), levels, seed)
    fit_loop(learner, steps=config.steps, run=run, progress=progress, label="whole_image")
    layouts, real, made = learner.samples(seed.child("samples"), _SAMPLES)
    write_samples(run.path / SAMPLES, layouts, table.planes, [real, *made])
    weights: State = {name: tensor.cpu() for name, tensor in learner.averaged.state_dict().items()}
    state: State = {"net": weights, "figures": figures.state()}
    save_checkpoint(run.path / WEIGHTS, state)
    write_card(run, config, cases, config.steps, state_sha256({**weights, **figures.state()}))
    return load(run.path)


def load(run_path: Path) -> WholeImage:
    """The translator of a finished ``medaug fit`` run folder.

    Raises:
        CheckpointError: If it is missing, damaged, or does not fit its own card.
    """
    card = read_card(run_path)
    config = cast(Config, read_config(card))
    state = load_checkpoint(run_path / WEIGHTS)
    weights, figures = state.get("net"), state.get("figures")
    if not isinstance(weights, dict) or not isinstance(figures, dict):
        raise CheckpointError(f"{WEIGHTS} holds no whole_image", hint=HINT)
    if state_sha256({**weights, **figures}) != card.weights_sha256:
        raise CheckpointError(f"{WEIGHTS} is not the one that the card names", hint=HINT)
    table = LabelTable(config.tissues, card.classes, config.anatomy)
    levels = torch.zeros(table.planes, len(card.channels))
    net = ImageNet(config.net_spec(len(card.channels), table.planes), levels)
    try:
        net.load_state_dict(weights)
        restored = Figures.restored(figures, config, card)
    except (RuntimeError, KeyError) as error:
        message = f"{WEIGHTS} belongs to another class table, channels or size than the card"
        raise CheckpointError(message, hint=HINT) from error
    return WholeImage(config, card, net, restored)


def _usable(config: Config, cases: TrainingCases, progress: Progress) -> tuple[CaseRecord, ...]:
    """The labelled cases, once all settings fit the dataset."""
    for name in config.anatomy:
        if name not in cases.classes:
            raise ConfigError(f"{name!r} is no class", where="anatomy", expected=", ".join(cases.classes))
    if set(config.anatomy) == set(cases.classes):
        raise ConfigError("every class is said to be an organ", where="anatomy", hint="leave the lesions out")
    records = tuple(record for record in cases.records if record.label is not None)
    if not records:
        raise DataError("no training case is labelled", hint="annotate some, or choose another fold")
    first = records[0]
    for record in records:
        if (record.unit, record.channels) != (first.unit, first.channels):
            raise DataError(
                f"case holds {', '.join(record.channels)} in {record.unit}",
                where=record.case_id,
                expected=f"{', '.join(first.channels)} in {first.unit}, as the other cases",
            )
    patients = len({record.patient_id for record in records})
    if patients == 1:
        progress.say("only one training patient: all made cases share its anatomy, and may show its scan")
    return records


def _gather(
    config: Config, cases: TrainingCases, records: tuple[CaseRecord, ...], progress: Progress, seed: SeedTree
) -> tuple[Shown, Figures, Tensor]:
    """Read the cases twice: first for the tissues, then for what is learnt from."""
    progress.start("tissues", 2 * len(records))
    samples, scales = [], []
    for case in _read(cases, records, progress):
        frame = Frame.of(case.volume.grid, config.size)
        small = replace(case.volume, image=frame.image(case.volume.image), grid=frame.grid)
        samples.append(
            sample_voxels(small, config.tissue_smoothing, seed.child("tissue", case.case_id).rng())
        )
        scale = scale_of(small)
        scales.append([scale.offset, scale.factor, scale.low, scale.high])
    settings = (config.tissue_smoothing, config.smallest_part)
    tissues = learn_tissues(samples, config.tissues, settings, records[0].unit)
    table = LabelTable(config.tissues, cases.classes, config.anatomy)
    gatherer, pairs = StatisticsGatherer(table), _Pairs(config, table)
    for number, case in enumerate(_read(cases, records, progress)):
        scene = stage(case, config.size, tissues, table)
        gatherer.add(scene)
        layouts, images = frames_of(scene, Frame.of(case.volume.grid, config.size))
        pairs.add(number, layouts, images, seed.child("slices", case.case_id).rng())
    usual = CaseScale(*(tuple(row) for row in np.median(np.array(scales), axis=0).tolist()))
    shown, grain = pairs.shown()
    levels = pairs.levels(tissues.centres)
    return shown, Figures(tissues, gatherer.statistics(), grain, usual), levels


def _read(cases: TrainingCases, records: tuple[CaseRecord, ...], progress: Progress) -> Iterator[Case]:
    for record in records:
        yield cases.load(record)
        progress.advance()


@final
class _Pairs:
    """Collects pairs of layout and image."""

    def __init__(self, config: Config, table: LabelTable) -> None:
        self._config, self._table = config, table
        self._layouts: list[Tensor] = []
        self._images: list[Tensor] = []
        self._cases: list[int] = []
        self._classes: list[int] = []

    def add(self, number: int, layouts: Tensor, images: Tensor, rng: np.random.Generator) -> None:
        """Keep some frames of a case, those with a lesion first."""
        numbers = [self._table.number(name) for name in self._table.lesions]
        sizes = torch.stack([(layouts == n).flatten(1).sum(1) for n in numbers], dim=1)
        order = rng.permutation(len(layouts))
        order = order[np.argsort(-(sizes.sum(1).numpy()[order] > 0).astype(int), kind="stable")]
        for row in order[: self._config.slices_per_case]:
            self._layouts.append(layouts[row])
            self._images.append(images[row])
            self._cases.append(number)
            self._classes.append(int(sizes[row].argmax()) if int(sizes[row].sum()) else -1)

    def shown(self) -> tuple[Shown, Float[Tensor, "2 C"]]:
        """All pairs, and mean and deviation of their grain."""
        layouts, images = torch.stack(self._layouts), torch.stack(self._images)
        grain = grain_of(images, layouts)
        spread = grain.std(dim=0, correction=0).clamp(min=0.05)
        figures = torch.stack([grain.mean(dim=0), spread])
        standard = ((grain - figures[0]) / figures[1]).clamp(-3, 3)
        return Shown(layouts, images, standard, np.array(self._cases), np.array(self._classes)), figures

    def levels(self, centres: Float[np.ndarray, "k C"]) -> Float[Tensor, "planes C"]:
        """Mean of each label over all pairs; the cluster's centre where a tissue was never seen."""
        channels = self._images[0].shape[0]
        sums, count = np.zeros((self._table.planes, channels)), np.zeros(self._table.planes)
        for layout, image in zip(self._layouts, self._images, strict=True):
            flat = layout.numpy().ravel()
            count += np.bincount(flat, minlength=self._table.planes)
            for c in range(channels):
                sums[:, c] += np.bincount(flat, image[c].numpy().ravel(), self._table.planes)
        mean = sums / np.maximum(count, 1)[:, None]
        unseen = np.flatnonzero(count[1 : 1 + len(centres)] == 0)
        mean[1 + unseen] = centres[unseen]
        return torch.from_numpy(mean.astype(np.float32))
