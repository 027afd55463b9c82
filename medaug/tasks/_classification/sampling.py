"""Training patches around lesions: every class equally often, real or synthetic, and what the network sees of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Integer
from torch import Tensor

from medaug.core.case import Case, CaseSource
from medaug.core.errors import ConfigError, DataError
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Volume
from medaug.engine.augment import BatchAugment, PatchBatch
from medaug.lesions.parts import LesionPart, lesion_parts
from medaug.tasks._training.dealing import Dealing, Place
from medaug.tasks._training.labels import checked_labels, require_every_class

_SMALLEST_VOXELS = 3  # as in the lesion bank: specks teach nothing
_JITTER = 8  # a patch is moved by up to an eighth of its size: an outline is never in the very middle


@final
@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A lesion and what lies around it.

    Attributes:
        image: (C, *S) float32, normalised.
        mask: (*S) the lesion; others are not marked.
        spacing_mm: Along S.
        class_index: From 0.
    """

    image: Float32[np.ndarray, "C *S"]
    mask: Bool[np.ndarray, "*S"]
    spacing_mm: tuple[float, ...]
    class_index: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class CutLesion:
    """A lesion cut out with room to move the patch; in 2D with the slices that show it, and those alone.

    Attributes:
        image: (C, I, J, K) float32, normalised.
        mask: (I, J, K) the lesion.
        spacing_mm: Along I, J, K.
        class_index: From 0.
    """

    image: Float32[np.ndarray, "C I J K"]
    mask: Bool[np.ndarray, "I J K"]
    spacing_mm: tuple[float, float, float]
    class_index: int

    @property
    def areas(self) -> Integer[np.ndarray, "K"]:
        """Voxels of the lesion in each slice; all alike where a large ring has none of them in the middle."""
        counts = self.mask.sum(axis=(0, 1))
        return np.asarray(counts if counts.any() else counts + 1)

    def patch(self, size: tuple[int, ...], rng: np.random.Generator) -> Patch:
        """A patch somewhere around the lesion; in 2D of one slice, the more often the more of the lesion it shows."""
        starts = [int(rng.integers(n - m + 1)) for n, m in zip(self.mask.shape, size, strict=False)]
        window: tuple[slice | int, ...] = tuple(slice(s, s + n) for s, n in zip(starts, size, strict=True))
        if len(size) == 2:
            areas = self.areas
            window = (*window, int(rng.choice(len(areas), p=areas / areas.sum())))
        image = np.ascontiguousarray(self.image[(slice(None), *window)])
        return Patch(image, self.mask[window], self.spacing_mm[: len(size)], self.class_index)

    def middle(self, size: tuple[int, ...]) -> tuple[Float32[np.ndarray, "N C *S"], Bool[np.ndarray, "N *S"]]:
        """The patches in the very middle: one in 3D, one a slice in 2D."""
        starts = [(n - m) // 2 for n, m in zip(self.mask.shape, size, strict=False)]
        window = tuple(slice(s, s + n) for s, n in zip(starts, size, strict=True))
        image, mask = self.image[(slice(None), *window)], self.mask[window]
        if len(size) == 3:
            return image[None], mask[None]
        return np.moveaxis(image, -1, 0), np.moveaxis(mask, -1, 0)


def cut_lesion(
    volume: Volume, scale: CaseScale, part: LesionPart, size: tuple[int, ...], class_index: int
) -> CutLesion:
    """Cut a lesion out of its volume; outside the image edge values are repeated.

    Args:
        volume: The whole image.
        scale: How it is normalised.
        part: The lesion.
        size: Of a patch; in plane alone for 2D.
        class_index: The lesion's class.
    """
    i, j, k = (round(at) for at in part.centre)
    room = [n + 2 * (n // _JITTER) for n in size]
    box = Box.centred((i, j, k), (room[0], room[1], room[2] if len(room) == 3 else 1))
    if len(size) == 2:
        box = Box((*box.start[:2], part.box.start[2]), (*box.stop[:2], part.box.stop[2]))
    mask = np.zeros(box.shape, dtype=bool)
    both = [
        (max(a, c), min(b, d))
        for a, b, c, d in zip(box.start, box.stop, part.box.start, part.box.stop, strict=True)
    ]
    there = tuple(
        slice(low - start, high - start) for (low, high), start in zip(both, box.start, strict=True)
    )
    here = tuple(
        slice(low - start, high - start) for (low, high), start in zip(both, part.box.start, strict=True)
    )
    mask[there] = part.mask[here]
    image = scale.normalise(box.cut(volume.image))
    return CutLesion(image, mask, volume.grid.spacing_mm, class_index)


def case_lesions(label_map: LabelMap) -> Iterator[tuple[LesionPart, int]]:
    """The lesions of a case that are large enough to be learnt from, and the index of their class."""
    for part in lesion_parts(label_map):
        if part.voxels >= _SMALLEST_VOXELS:
            yield part, label_map.class_names.index(part.class_name)


@final
class LesionPool:
    """The real lesions of the training cases, cut out and ready.

    Raises:
        LabelError: If there is no lesion, or a class has none.
    """

    def __init__(
        self, cases: Sequence[Case], scheme: IntensityScheme, classes: tuple[str, ...], size: tuple[int, ...]
    ) -> None:
        self.size, self.unit = size, scheme.unit
        self._cases: list[list[list[CutLesion]]] = [[] for _ in classes]
        for case in cases:
            scale = case.scale or scheme.case_scale(case.volume)
            own: dict[int, list[CutLesion]] = {}
            for part, number in case_lesions(checked_labels(case, classes)):
                own.setdefault(number, []).append(cut_lesion(case.volume, scale, part, size, number))
            for number, lesions in own.items():
                self._cases[number].append(lesions)
        require_every_class(classes, [len(holders) for holders in self._cases])

    def cut(self, class_index: int, rng: np.random.Generator) -> Patch:
        """A patch of a lesion of that class, every case of it equally often."""
        lesions = self._cases[class_index][rng.integers(len(self._cases[class_index]))]
        return lesions[rng.integers(len(lesions))].patch(self.size, rng)


@final
class SyntheticLesions:
    """Cuts the new lesion out of every case that a source draws."""

    def __init__(
        self, source: CaseSource, scheme: IntensityScheme, classes: tuple[str, ...], size: tuple[int, ...]
    ) -> None:
        self._source, self._scheme, self._classes, self._size = source, scheme, classes, size

    def cut(self, class_indices: Sequence[int], rngs: tuple[np.random.Generator, ...]) -> list[Patch]:
        """One patch an ``rng``, normalised by the scale of the whole case."""
        drawn = self._source.draw(tuple(self._classes[index] for index in class_indices), rngs)
        return [self._cut(*one) for one in zip(drawn, class_indices, rngs, strict=True)]

    def _cut(self, case: Case, class_index: int, rng: np.random.Generator) -> Patch:
        parts = [
            p for p, number in case_lesions(checked_labels(case, self._classes)) if number == class_index
        ]
        if not parts:
            raise DataError(
                f"synthetic case holds no lesion of {self._classes[class_index]}", where=case.case_id
            )
        part = parts[int(rng.integers(len(parts)))] if case.site is None else _nearest(parts, case.site)
        scale = case.scale or self._scheme.case_scale(case.volume)
        return cut_lesion(case.volume, scale, part, self._size, class_index).patch(self._size, rng)


def _nearest(parts: Sequence[LesionPart], site: tuple[int, int, int]) -> LesionPart:
    """The lesion on a site; a ring has none in its middle, so the nearest one where no lesion covers it."""
    return min(
        parts,
        key=lambda part: -1.0 if part.covers(site) else float(np.linalg.norm(np.subtract(part.centre, site))),
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Patches of one training step.

    Attributes:
        inputs: (B, C + 1 or C, *S) what the network sees, after augmentation.
        targets: (B) class index.
        lesions: How many patches still show their lesion.
        synthetic: How many come from synthetic cases.
    """

    inputs: Float32[Tensor, "B C *S"]
    targets: Int64[Tensor, "B"]
    lesions: int
    synthetic: int


@final
class BatchMaker:
    """Makes the batch of a step; it depends on the step alone.

    Args:
        pool: The real lesions.
        source: Where synthetic ones come from; None gives their places to real ones.
        augment: Applied to every batch, on the device.
        dealing: What every place of a batch is.
        seed: Root of all randomness; step and place in the batch name its children.
        shows_mask: Whether the lesion's mask is a further channel.
    """

    def __init__(
        self,
        pool: LesionPool,
        source: SyntheticLesions | None,
        augment: BatchAugment,
        dealing: Dealing,
        seed: SeedTree,
        *,
        shows_mask: bool,
    ) -> None:
        self._pool, self._source, self._augment = pool, source, augment
        self._dealing, self._seed, self._shows_mask = dealing, seed, shows_mask

    def batch(self, step: int, device: torch.device) -> Batch:
        """The patches of a step; they go to the device before they are augmented.

        Raises:
            ConfigError: If the augmentation mixes patches: then a patch shows lesions of two classes.
        """
        places = self._dealing.places(step)
        rngs = tuple(self._seed.child("step", step, n).rng() for n in range(len(places)))
        drawn = self._drawn(places, rngs)
        patches = [
            drawn[n] if n in drawn else self._pool.cut(place.class_index or 0, rng)
            for n, (place, rng) in enumerate(zip(places, rngs, strict=True))
        ]
        before = self._joined(patches, step, device)
        changed = self._augment(before, rngs)
        own = before.labels.flatten(1).amax(dim=1)
        masks = (changed.labels > 0).flatten(1).any(dim=1)
        if changed.second is not None or bool(
            (changed.labels.flatten(1).amax(dim=1)[masks] != own[masks]).any()
        ):
            hint = "choose transforms that leave each patch its own lesion, such as classical"
            raise ConfigError(
                "classification cannot tell the class of mixed patches", where="transforms", hint=hint
            )
        inputs = shown(changed.images, changed.labels > 0, shows_mask=self._shows_mask)
        return Batch(inputs, own.long() - 1, int(masks.sum()), len(drawn))

    def _drawn(self, places: Sequence[Place], rngs: Sequence[np.random.Generator]) -> dict[int, Patch]:
        """The synthetic patches by place, all drawn in one call."""
        wanted = [n for n, place in enumerate(places) if place.synthetic]
        if self._source is None or not wanted:
            return {}
        classes = [places[n].class_index or 0 for n in wanted]
        return dict(zip(wanted, self._source.cut(classes, tuple(rngs[n] for n in wanted)), strict=True))

    def _joined(self, patches: Sequence[Patch], step: int, device: torch.device) -> PatchBatch:
        images = torch.from_numpy(np.stack([patch.image for patch in patches]))
        labels = torch.from_numpy(
            np.stack([patch.mask * np.uint8(patch.class_index + 1) for patch in patches])
        )
        spacing_mm = tuple(patch.spacing_mm for patch in patches)
        return PatchBatch(images.to(device), labels.to(device), spacing_mm, self._pool.unit, step=step)


def shown(
    images: Float32[Tensor, "B C *S"], masks: Bool[Tensor, "B *S"], *, shows_mask: bool
) -> Float32[Tensor, "B D *S"]:
    """What the network sees: the image and, where it is shown, the mask."""
    return torch.cat([images, masks[:, None].to(images.dtype)], dim=1) if shows_mask else images
