"""``super_resolution``: thin slices from thick ones.

Learns from real cases with thin slices, which it makes thick as a scanner would (see
:mod:`medaug.translators._super_resolution.slices`), what cubic interpolation loses. Where a dataset has thick slices
alone, it learns from the rows within them, which are as fine as the slices are to become, as SMORE does (Zhao et al.,
IEEE Trans Med Imaging 2021;40:805), and draws the planes through the slices seen from both sides, averaged. All
channels are drawn together. Labels come along. The case is still the patient's scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.case import Case, Origin
from medaug.core.errors import CheckpointError, GeometryError
from medaug.core.geometry import Axis, Grid
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image, LabelMap, Volume
from medaug.engine.checkpoint import State, load_checkpoint, save_checkpoint
from medaug.engine.launch import pick_device
from medaug.engine.loop import fit_loop
from medaug.engine.weights import state_sha256
from medaug.translators._super_resolution.course import Course, choose_course
from medaug.translators._super_resolution.labels import blended_labels, nearest_labels
from medaug.translators._super_resolution.learner import ThinLearner
from medaug.translators._super_resolution.networks import Dims, ThinNet, initialise
from medaug.translators._super_resolution.patches import Lessons, gather
from medaug.translators._super_resolution.settings import Config
from medaug.translators._super_resolution.slices import (
    Positions,
    along_last,
    between_weights,
    finer_grid,
    slice_axis,
)
from medaug.translators.base import (
    CARD,
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

__all__ = ["Config", "SuperResolution", "fit", "load"]

_VOXELS = 1 << 19  # thick voxels that go through the network at once


@final
class SuperResolution:
    """A trained network that draws thin slices."""

    kind: str = "super_resolution"

    def __init__(self, config: Config, card: TranslatorCard, net: ThinNet, course: Course) -> None:
        self._config, self._card, self._course = config, card, course
        self._device = pick_device("auto")
        self._net = net.eval().to(self._device)

    @property
    def card(self) -> TranslatorCard:
        """What it is and what it has seen."""
        return self._card

    @property
    def sha256(self) -> str:
        """Hash of the configuration and weights."""
        return translator_sha256(self._card)

    def translate(self, case: Case, rng: np.random.Generator) -> Case:  # noqa: ARG002
        """The case with thin slices; nothing about it is random.

        Raises:
            CheckpointError: If the case has another unit or other channels than the training cases.
            GeometryError: If its spacing is nominal, it is a single slice, or its slices are thicker or thinner than
                any it was trained on.
        """
        require_like(case, self._card)
        axis = self._require_slices(case)
        return thinned(case, axis, self._spacing_mm(case.volume.grid, axis), self)

    def draw(self, image: Image, scale: CaseScale) -> Float[np.ndarray, "C I J k"]:
        """``factor`` slices for each one along the last axis, native units.

        Args:
            image: (C, I, J, k), native units.
            scale: Of the whole case.
        """
        lost = self._lost(torch.from_numpy(scale.normalise(image))).numpy()
        count = image.shape[-1] * self._course.factor
        positions = (np.arange(count) + 0.5) / self._course.factor - 0.5
        cubic = along_last(image, between_weights(image.shape[-1], positions, 3))
        factor = np.asarray(scale.factor, np.float32).reshape(-1, 1, 1, 1)
        # sharper edges may well exceed the brightest thick voxel, but nothing is darker than air
        return np.asarray(np.maximum(cubic + factor * lost, image.min(axis=(1, 2, 3), keepdims=True)))

    @property
    def factor(self) -> int:
        """Thin slices for one thick slice."""
        return self._course.factor

    @property
    def labels(self) -> str:
        """How label maps reach the new slices."""
        return self._config.labels

    def _spacing_mm(self, grid: Grid, axis: Axis) -> float:
        return self._config.target_spacing_mm or grid.spacing_mm[axis] / self._course.factor

    def _require_slices(self, case: Case) -> Axis:
        """The axis of the slices, where there are some and they are like those seen."""
        if not case.volume.spacing_known:
            raise GeometryError(
                "the spacing is nominal, so nobody knows how far apart its slices are",
                where=case.case_id,
                expected="a known spacing",
            )
        spacing = case.volume.grid.spacing_mm
        axis = slice_axis(spacing)
        if case.volume.grid.shape[axis] < 2:
            raise GeometryError(
                "a single slice has nothing beside it", where=case.case_id, expected="two slices or more"
            )
        if not self._course.takes(spacing[axis]):
            raise GeometryError(
                f"slices are {spacing[axis]:.3g} mm apart",
                where=case.case_id,
                expected=f"{self._course.range_text}, as in training",
            )
        return axis

    def _lost(self, thick: Float[Tensor, "C I J k"]) -> Float[Tensor, "C I J K"]:
        """What cubic interpolation lacks; in 3D, or plane by plane from both sides."""
        with torch.inference_mode():
            if self._course.views == "through_plane":
                return torch.cat(list(self._slabs(thick)), dim=1)
            sides = []
            for across in (1, 2):
                planes = thick.movedim(across, 0)
                at_once = max(1, _VOXELS // planes[0, 0].numel())
                drawn = torch.cat([self._answer(part) for part in planes.split(at_once)])
                sides.append(drawn.movedim(0, across))
            return torch.stack(sides).mean(dim=0)

    def _slabs(self, thick: Float[Tensor, "C I J k"]) -> Iterator[Tensor]:
        """The answer slab by slab along I; each sees as far beyond itself as the network does."""
        rows, reach = thick.shape[1], self._net.reach
        at_once = max(1, _VOXELS // thick[0, 0].numel())
        for start in range(0, rows, at_once):
            low, high = max(0, start - reach), min(rows, start + at_once + reach)
            drawn = self._answer(thick[None, :, low:high])[0]
            yield drawn[:, start - low : start - low + min(at_once, rows - start)]

    def _answer(self, thick: Tensor) -> Tensor:
        lost: Tensor = self._net(thick.to(self._device))
        return lost.float().cpu()


def thinned(case: Case, axis: Axis, spacing_mm: float, by: SuperResolution) -> Case:
    """The case on the grid with thin slices, image and labels.

    Args:
        case: With thick slices.
        axis: Along which they are stacked.
        spacing_mm: Distance of the new slices.
        by: Draws them, at ``factor`` times as many as there are; others are read between these.
    """
    grid, positions = finer_grid(case.volume.grid, axis, spacing_mm)
    image = np.moveaxis(case.volume.image, axis + 1, -1)
    scale = case.scale or IntensityScheme.for_volume(case.volume).case_scale(case.volume)
    drawn = by.draw(np.ascontiguousarray(image), scale)
    wanted = (positions + 0.5) * by.factor - 0.5
    if len(wanted) != drawn.shape[-1] or np.abs(wanted - np.arange(drawn.shape[-1])).max() > 1e-3:
        drawn = along_last(drawn, between_weights(drawn.shape[-1], wanted, 3))
    whole = np.ascontiguousarray(np.moveaxis(drawn, -1, axis + 1))
    volume = Volume(whole, grid, case.volume.unit, case.volume.channels)
    label_map = None if case.label_map is None else _labels(case.label_map, grid, axis, positions, by.labels)
    return replace(case, volume=volume, label_map=label_map, origin=Origin.AUGMENTED, scale=None, site=None)


def _labels(label_map: LabelMap, grid: Grid, axis: Axis, positions: Positions, how: str) -> LabelMap:
    """The labels on the new slices."""
    labels = np.moveaxis(label_map.labels, axis, -1)
    if how == "nearest":
        made = nearest_labels(labels, positions)
    else:
        first, second = (width for n, width in enumerate(grid.spacing_mm) if n != axis)
        made = blended_labels(labels, positions, (first, second))
    return LabelMap(np.ascontiguousarray(np.moveaxis(made, -1, axis)), grid, label_map.class_names)


def fit(
    config: Config, cases: TrainingCases, run: RunDir, progress: Progress, seed: SeedTree
) -> SuperResolution:
    """Train on the cases of a fold; leaves ``model.pt`` and ``translator.json`` in the run folder.

    Args:
        config: The whole recipe.
        cases: Of the training patients of one fold.
        run: Open run folder; an interrupted training in it goes on from its last checkpoint.
        progress: Told the losses: the network's, and that of cubic interpolation on the same patches.
        seed: Root of all randomness.

    Raises:
        GeometryError: If no training case has a known spacing and several slices.
        DataError: If no case can teach what is asked.
        DivergedError: If a loss is not finite.
    """
    course, chosen = choose_course(config, cases.records)
    seen = "thin slices" if course.views == "through_plane" else "rows within thick slices"
    progress.say(f"learns {course.factor} slices for one from {seen} of {len(chosen)} cases")
    patches = gather(config, Lessons(course, cases, chosen), progress, seed)
    net = _network(config, course, len(chosen[0].channels))
    initialise(net, seed.child("weights"))
    learner = ThinLearner(config, patches, net, seed)
    fit_loop(learner, steps=config.steps, run=run, progress=progress, label="super_resolution")
    weights: State = {name: tensor.cpu() for name, tensor in learner.net.state_dict().items()}
    weights["course"] = _as_tensor(course)
    save_checkpoint(run.path / WEIGHTS, {"net": weights})
    write_card(run, config, cases, config.steps, state_sha256(weights))
    return load(run.path)


def load(run_path: Path) -> SuperResolution:
    """The translator of a finished ``medaug fit`` run folder.

    Raises:
        CheckpointError: If it is missing, damaged, or does not fit its own card.
    """
    card = read_card(run_path)
    config = cast(Config, read_config(card))
    weights = load_checkpoint(run_path / WEIGHTS).get("net")
    if not isinstance(weights, dict) or not isinstance(weights.get("course"), Tensor):
        raise CheckpointError(f"{WEIGHTS} holds no super_resolution", hint=HINT)
    if state_sha256(weights) != card.weights_sha256:
        raise CheckpointError(f"{WEIGHTS} is not the one that {CARD} names", hint=HINT)
    course = _of_tensor(weights.pop("course"))
    net = _network(config, course, len(card.channels))
    try:
        net.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        message = f"{WEIGHTS} belongs to other channels or another size than {CARD}"
        raise CheckpointError(message, hint=HINT) from error
    return SuperResolution(config, card, net, course)


def _network(config: Config, course: Course, channels: int) -> ThinNet:
    dims: Dims = 3 if course.views == "through_plane" else 2
    return ThinNet(dims, channels, course.factor, config.base, config.blocks)


def _as_tensor(course: Course) -> Tensor:
    """The course as numbers beside the weights, so that their hash covers it."""
    through = float(course.views == "through_plane")
    return torch.tensor([through, course.factor, course.low_mm, course.high_mm], dtype=torch.float64)


def _of_tensor(numbers: Tensor) -> Course:
    through, factor, low, high = (float(n) for n in numbers)
    return Course("through_plane" if through else "in_plane", int(factor), low, high)
