"""Training patches: thick slices simulated from real cases, and what cubic interpolation of them lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.case import Case, CaseRecord
from medaug.core.errors import DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image
from medaug.translators._super_resolution.course import Course
from medaug.translators._super_resolution.settings import Config
from medaug.translators._super_resolution.slices import (
    along_last,
    between_weights,
    slice_axis,
    thick_weights,
)
from medaug.translators.base import TrainingCases

_TRIES = 4
_FLAT = 1e-3  # normalised units: a patch in which nothing is lost teaches nothing


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Thick slices and what is lost in them, normalised units.

    Attributes:
        thick: (C, *S, k), of a volume or of one plane.
        lost: (C, *S, factor k) fine slices less cubic interpolation of the thick ones.
    """

    thick: Float[np.ndarray, "C *S k"]
    lost: Float[np.ndarray, "C *S K"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """All training patches; (N, C, *S, k) thick and (N, C, *S, factor k) lost."""

    thick: Float[Tensor, "N C *S k"]
    lost: Float[Tensor, "N C *S K"]


@final
@dataclass(frozen=True, slots=True)
class Lessons:
    """What is learnt from which cases."""

    course: Course
    cases: TrainingCases
    chosen: tuple[CaseRecord, ...]


def gather(config: Config, lessons: Lessons, progress: Progress, seed: SeedTree) -> Patches:
    """Cut patches from every case, the same number from each; cases are read one after the other.

    Raises:
        DataError: If no case is large enough.
    """
    course, chosen = lessons.course, lessons.chosen
    progress.start("thick slices", len(chosen))
    share = -(-config.patches // len(chosen))
    thick: list[np.ndarray] = []
    lost: list[np.ndarray] = []
    for record in chosen[: config.patches]:
        rng = seed.child("patches", record.case_id).rng()
        pairs = _pairs(lessons.cases.load(record), config, course, rng)
        for _ in range(share if pairs else 0):
            patch = _cut(pairs[int(rng.integers(len(pairs)))], config, course, rng)
            thick.append(patch.thick)
            lost.append(patch.lost)
        progress.advance(1)
    if not thick:
        raise DataError(
            "no training case is large enough to make thick slices of",
            expected=f"at least {2 * course.factor} slices",
            hint="lower factor",
        )
    return Patches(torch.from_numpy(np.stack(thick)), torch.from_numpy(np.stack(lost)))


def _pairs(case: Case, config: Config, course: Course, rng: np.random.Generator) -> list[Pair]:
    """A case made thick: along its slices, or along each of the two axes within them."""
    axis = slice_axis(case.volume.grid.spacing_mm)
    image = np.moveaxis(case.volume.image, axis + 1, -1)
    spacing = [width for n, width in enumerate(case.volume.grid.spacing_mm) if n != axis]
    apart = case.volume.grid.spacing_mm[axis]
    scheme = IntensityScheme.for_volume(case.volume)
    scale = scheme.case_scale(case.volume)
    normalised = scale.normalise(image)
    if course.views == "through_plane":
        target = config.target_spacing_mm or apart
        views = [(normalised, target / apart)]
    else:
        # a plane holds the axis that is made thick last; the axis across the planes comes first
        views = [
            (np.moveaxis(normalised, (3, 2 - n, 1 + n), (1, 2, 3)), apart / course.factor / spacing[n])
            for n in (0, 1)
        ]
    made = [make_pair(view, step, course.factor, config, rng) for view, step in views]
    return [pair for pair in made if pair is not None]


def make_pair(fine: Image, step: float, factor: int, config: Config, rng: np.random.Generator) -> Pair | None:
    """Make thick slices along the last axis, beginning at a random slice; None where fewer than two come out.

    Args:
        fine: (C, I, J, K), normalised units.
        step: Distance of the wanted thin slices, in slices of ``fine``; at least about 1.
        factor: Thin slices for one thick slice.
        config: Says the slice profile.
        rng: Of the first slice.
    """
    if step > 1.0 + 1e-3:
        fine = along_last(fine, thick_weights(fine.shape[-1], step, config.profile))
    spare = fine.shape[-1] - 2 * factor
    if spare < 0:
        return None
    fine = fine[..., int(rng.integers(min(factor, spare + 1))) :]
    thick = along_last(fine, thick_weights(fine.shape[-1], factor, config.profile))
    count = thick.shape[-1]
    positions = (np.arange(count * factor) + 0.5) / factor - 0.5
    cubic = along_last(thick, between_weights(count, positions, 3))
    return Pair(thick, fine[..., : count * factor] - cubic)


def _cut(pair: Pair, config: Config, course: Course, rng: np.random.Generator) -> Pair:
    """One patch at random, turned over at random; flat ones are passed over some times."""
    for _ in range(_TRIES):
        patch = _try(pair, config, course, rng)
        if patch.lost.std() > _FLAT:
            break
    flips = tuple(axis for axis in range(1, patch.thick.ndim) if rng.integers(2))
    return Pair(np.flip(patch.thick, flips).copy(), np.flip(patch.lost, flips).copy())


def _try(pair: Pair, config: Config, course: Course, rng: np.random.Generator) -> Pair:
    size = (config.patch, config.patch, config.depth)
    shape = pair.thick.shape[1:]
    start = [int(rng.integers(max(n - wanted, 0) + 1)) for n, wanted in zip(shape, size, strict=True)]
    i, j, k = (slice(s, s + wanted) for s, wanted in zip(start, size, strict=True))
    fine = slice(k.start * course.factor, k.stop * course.factor)
    if course.views == "in_plane":
        i = slice(start[0], start[0] + 1)
    thick, lost = (
        _whole(pair.thick[:, i, j, k], size, 1),
        _whole(pair.lost[:, i, j, fine], size, course.factor),
    )
    return Pair(thick[:, 0], lost[:, 0]) if course.views == "in_plane" else Pair(thick, lost)


def _whole(part: np.ndarray, size: tuple[int, int, int], factor: int) -> np.ndarray:
    """Repeat the ends of a part smaller than the patch; one plane stays one plane."""
    wanted = (part.shape[1] if part.shape[1] == 1 else size[0], size[1], size[2] * factor)
    pads = [(0, max(0, w - n)) for w, n in zip(wanted, part.shape[1:], strict=True)]
    return np.pad(part, [(0, 0), *pads], mode="edge")
