"""Training patches: cases held in memory, and a batch for every step that depends on the step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float32, Int32, Integer

from medaug.core.case import Case, CaseSource
from medaug.core.errors import DataError, LabelError
from medaug.core.intensity import IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap
from medaug.engine.augment import BatchAugment, PatchBatch

_VOXELS_KEPT = 4096  # candidates for a patch centre, a case and class each: more change nothing but memory


@final
@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Patches of one training step.

    Attributes:
        patches: After augmentation, on the device of the training.
        lesions: How many patches hold a lesion voxel.
        synthetic: How many patches come from synthetic cases.
    """

    patches: PatchBatch
    lesions: int
    synthetic: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What is cut for one place of a batch.

    Attributes:
        image: (C, *S) float32, normalised.
        labels: (*S) class ids.
        spacing_mm: Along S.
    """

    image: Float32[np.ndarray, "C *S"]
    labels: Integer[np.ndarray, "*S"]
    spacing_mm: tuple[float, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """A case laid out for cutting: 2D cases are K frames of (I, J), 3D cases one frame of (I, J, K).

    Attributes:
        frames: (F, C, *S) float32, normalised, at least as large as the patch.
        labels: (F, *S) class ids.
        voxels: For each class, (N, 1 + dims) positions (frame, then place) of some of its voxels.
        spacing_mm: Along S.
    """

    frames: Float32[np.ndarray, "F C *S"]
    labels: Integer[np.ndarray, "F *S"]
    voxels: tuple[Int32[np.ndarray, "_ D"], ...]
    spacing_mm: tuple[float, ...]


@final
@dataclass(frozen=True, slots=True)
class Shares:
    """What the patches of a batch are; the same for every arm of an experiment.

    Attributes:
        batch_size: Patches a step.
        lesion: Share of patches that are cut around a lesion, synthetic ones included.
        synthetic: Share of patches from synthetic cases, taken out of the lesion share.
        real_only_tail: Last share of the steps that sees real cases alone; the synthetic share falls
            linearly to zero over as many steps before it.
    """

    batch_size: int
    lesion: float
    synthetic: float
    real_only_tail: float

    def counts(self, steps: int) -> Integer[np.ndarray, "steps 2"]:
        """Lesion and synthetic patches of every step; the running sums follow the shares within one patch."""
        place = (np.arange(steps) + 0.5) / max(steps, 1)
        fade = np.ones(steps)
        if self.real_only_tail > 0:
            fade = np.clip((1 - self.real_only_tail - place) / self.real_only_tail, 0, 1)
        wanted = np.stack([np.full(steps, self.lesion), self.synthetic * fade], axis=1) * self.batch_size
        upto = np.floor(np.cumsum(wanted, axis=0) + 1e-6).astype(np.int64)
        counts = np.diff(upto, axis=0, prepend=np.zeros((1, 2), np.int64))
        counts[:, 1] = np.minimum(counts[:, 1], counts[:, 0])
        return counts


def prepare_case(
    case: Case, scheme: IntensityScheme, classes: tuple[str, ...], patch: tuple[int, ...]
) -> PreparedCase:
    """Normalise a labelled case as a whole and lay it out in frames.

    Raises:
        LabelError: If its label map has another class table.
    """
    label_map = checked_labels(case, classes)
    scale = case.scale or scheme.case_scale(case.volume)
    frames, labels = _frames(scale.normalise(case.volume.image), label_map.labels, len(patch))
    frames, labels = _padded(np.ascontiguousarray(frames), np.ascontiguousarray(labels, np.uint8), patch)
    voxels = tuple(_some(np.argwhere(labels == number)) for number in range(1, len(classes) + 1))
    return PreparedCase(frames, labels, voxels, case.volume.grid.spacing_mm[: len(patch)])


def checked_labels(case: Case, classes: tuple[str, ...]) -> LabelMap:
    """The label map of a case.

    Raises:
        LabelError: If it has none, or one with another class table.
    """
    if case.label_map is None:
        raise LabelError(
            "case has no label map", where=case.case_id, hint="leave it out of the training cases"
        )
    if case.label_map.class_names != classes:
        found = ", ".join(case.label_map.class_names)
        raise LabelError(f"label map names {found}", where=case.case_id, expected=", ".join(classes))
    return case.label_map


def _frames(
    image: Float32[np.ndarray, "C I J K"], labels: Integer[np.ndarray, "I J K"], dims: int
) -> tuple[Float32[np.ndarray, "F C *S"], Integer[np.ndarray, "F *S"]]:
    """Views of image and labels, frame by frame."""
    if dims == 3:
        return image[None], labels[None]
    return np.moveaxis(image, -1, 0), np.moveaxis(labels, -1, 0)


def _padded(
    frames: Float32[np.ndarray, "F C *S"], labels: Integer[np.ndarray, "F *S"], patch: tuple[int, ...]
) -> tuple[Float32[np.ndarray, "F C *P"], Integer[np.ndarray, "F *P"]]:
    """Repeat edge values (and their labels) on both sides until a patch fits."""
    short = [max(0, size - n) for size, n in zip(patch, labels.shape[1:], strict=True)]
    if not any(short):
        return frames, labels
    pads = [(n // 2, n - n // 2) for n in short]
    return np.pad(frames, [(0, 0), (0, 0), *pads], mode="edge"), np.pad(labels, [(0, 0), *pads], mode="edge")


def _some(voxels: Integer[np.ndarray, "N D"]) -> Int32[np.ndarray, "M D"]:
    """Every so many-th voxel."""
    return voxels[:: max(1, -(-len(voxels) // _VOXELS_KEPT))].astype(np.int32)


@final
class PatchPool:
    """The real training cases of a fold, ready to be cut.

    Raises:
        DataError: If no case is labelled.
        LabelError: If there is no lesion, or a class has none.
    """

    def __init__(
        self, cases: Sequence[Case], scheme: IntensityScheme, classes: tuple[str, ...], patch: tuple[int, ...]
    ) -> None:
        labelled = [case for case in cases if case.label_map is not None]
        if not labelled:
            raise DataError("no training case has a label", hint="ingest label maps, or choose another fold")
        self._patch, self.unit = patch, scheme.unit
        self._cases = [prepare_case(case, scheme, classes, patch) for case in labelled]
        self._holders = [[c for c in self._cases if len(c.voxels[n])] for n in range(len(classes))]
        missing = [name for name, holders in zip(classes, self._holders, strict=True) if not holders]
        if len(missing) == len(classes):
            raise LabelError("no lesion in the training cases", hint="choose another fold or add annotations")
        if missing:
            hint = "choose another fold, annotate more patients, or ingest without that class"
            raise LabelError(f"no training case holds {', '.join(missing)}", hint=hint)

    def cut(self, rng: np.random.Generator, *, around_lesion: bool) -> Patch:
        """A patch: around a lesion, every class equally often and every case of it too, or anywhere at all."""
        if not around_lesion:
            case = self._cases[rng.integers(len(self._cases))]
            return _cut(case, _anywhere(case.labels, self._patch, rng))
        number = int(rng.integers(len(self._holders)))
        case = self._holders[number][rng.integers(len(self._holders[number]))]
        voxels = case.voxels[number]
        return _cut(case, _window(voxels[rng.integers(len(voxels))], case.labels, self._patch, rng))


def _cut(case: PreparedCase, window: tuple[int | slice, ...]) -> Patch:
    image = case.frames[(window[0], slice(None), *window[1:])]
    return Patch(image, case.labels[window], case.spacing_mm)


def _anywhere(
    labels: Integer[np.ndarray, "F *S"], patch: tuple[int, ...], rng: np.random.Generator
) -> tuple[int | slice, ...]:
    sizes = labels.shape[1:]
    starts = [int(rng.integers(n - size + 1)) for n, size in zip(sizes, patch, strict=True)]
    return (
        int(rng.integers(labels.shape[0])),
        *(slice(s, s + n) for s, n in zip(starts, patch, strict=True)),
    )


def _window(
    voxel: Integer[np.ndarray, "D"],
    labels: Integer[np.ndarray, "F *S"],
    patch: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[int | slice, ...]:
    """A patch that holds the voxel in its middle half, moved as little as the image's edge demands."""
    spans = []
    for place, size, n in zip(voxel[1:], patch, labels.shape[1:], strict=True):
        offset = int(rng.integers(size // 4, size - size // 4))
        start = min(max(int(place) - offset, 0), n - size)
        spans.append(slice(start, start + size))
    return (int(voxel[0]), *spans)


@final
class SyntheticPatches:
    """Cuts a patch around a lesion out of every case that a source draws."""

    def __init__(
        self, source: CaseSource, scheme: IntensityScheme, classes: tuple[str, ...], patch: tuple[int, ...]
    ) -> None:
        self._source, self._scheme, self._classes, self._patch = source, scheme, classes, patch

    def cut(self, rngs: tuple[np.random.Generator, ...]) -> list[Patch]:
        """One patch an ``rng``, normalised by the scale of the whole case."""
        drawn = self._source.draw(rngs)
        return [self._cut(case, rng) for case, rng in zip(drawn, rngs, strict=True)]

    def _cut(self, case: Case, rng: np.random.Generator) -> Patch:
        label_map = checked_labels(case, self._classes)
        scale = case.scale or self._scheme.case_scale(case.volume)
        frames, labels = _frames(case.volume.image, label_map.labels, len(self._patch))
        voxel = self._middle(case.site, labels, rng)
        before = [max(0, size - n) // 2 for size, n in zip(self._patch, labels.shape[1:], strict=True)]
        frames, labels = _padded(frames, labels, self._patch)
        window = _anywhere(labels, self._patch, rng)
        if voxel is not None:
            window = _window(voxel + np.array([0, *before]), labels, self._patch, rng)
        image = frames[(window[0], slice(None), *window[1:])]
        volume = image if image.ndim == 4 else image[..., None]
        normalised = np.ascontiguousarray(scale.normalise(volume).reshape(image.shape))
        spacing_mm = case.volume.grid.spacing_mm[: len(self._patch)]
        return Patch(normalised, np.ascontiguousarray(labels[window], dtype=np.uint8), spacing_mm)

    def _middle(
        self, site: tuple[int, int, int] | None, labels: Integer[np.ndarray, "F *S"], rng: np.random.Generator
    ) -> Integer[np.ndarray, "D"] | None:
        """Frame and place to cut around: the new lesion, or, where that is not known, any lesion; None for none."""
        if site is not None and len(self._patch) == 3:
            return np.array((0, *site))
        if site is not None:
            column = labels[:, site[0], site[1]]
            slices = np.flatnonzero(column == column[site[2]]) if column[site[2]] else np.array([site[2]])
            return np.array((slices[rng.integers(slices.size)], site[0], site[1]))
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(self._classes) + 1)[1:])
        if not present.size:
            return None
        voxels = np.argwhere(labels == present[rng.integers(present.size)] + 1)
        return np.asarray(voxels[rng.integers(len(voxels))])


@final
class BatchMaker:
    """Makes the batch of a step from real cases, synthetic cases and augmentation.

    Args:
        pool: The real cases.
        source: Where synthetic patches come from; None leaves their places to real lesion patches.
        augment: Applied to every batch, on the device.
        counts: Lesion and synthetic patches of every step.
        batch_size: Patches a step.
        seed: Root of all randomness; step and place in the batch name its children.
    """

    def __init__(
        self,
        pool: PatchPool,
        source: SyntheticPatches | None,
        augment: BatchAugment,
        counts: Integer[np.ndarray, "steps 2"],
        batch_size: int,
        seed: SeedTree,
    ) -> None:
        self._pool, self._source, self._augment = pool, source, augment
        self._counts, self._batch_size, self._seed = counts, batch_size, seed

    def batch(self, step: int, device: torch.device) -> Batch:
        """The patches of a step; they go to the device before they are augmented."""
        lesions, synthetic = (int(n) for n in self._counts[step])
        rngs = tuple(self._seed.child("step", step, n).rng() for n in range(self._batch_size))
        patches: list[Patch] = []
        if self._source is not None and synthetic:
            patches += self._source.cut(rngs[:synthetic])
        drawn = len(patches)
        patches += [
            self._pool.cut(rng, around_lesion=n < lesions) for n, rng in enumerate(rngs[drawn:], start=drawn)
        ]
        changed = self._augment(self._joined(patches, step, device), rngs)
        held = int(changed.labels.flatten(1).any(dim=1).sum())
        return Batch(changed, held, drawn)

    def _joined(self, patches: Sequence[Patch], step: int, device: torch.device) -> PatchBatch:
        images = torch.from_numpy(np.stack([patch.image for patch in patches]))
        labels = torch.from_numpy(np.stack([patch.labels for patch in patches]))
        spacing_mm = tuple(patch.spacing_mm for patch in patches)
        return PatchBatch(images.to(device), labels.to(device), spacing_mm, self._pool.unit, step=step)
