"""Training patches: cases held in memory, and a batch for every step that depends on the step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float32, Int32, Integer

from medaug.core.case import Case, CaseSource
from medaug.core.errors import ConfigError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.engine.augment import BatchAugment, PatchBatch
from medaug.engine.launch import team
from medaug.tasks._segmentation.contrast import Foreground
from medaug.tasks._segmentation.resizing import resample_case
from medaug.tasks._segmentation.slabs import stack_slices
from medaug.tasks._training.dealing import Dealing, Place
from medaug.tasks._training.labels import checked_labels, require_every_class

Window = tuple[int, *tuple[slice, ...]]
_VOXELS_KEPT = 4096  # candidates for a patch centre, a case and class each: more change nothing but memory


@final
@dataclass(frozen=True, slots=True)
class View:
    """How a network sees cases, beside the size of its patch.

    Attributes:
        target_mm: Spacing along I, J (, K) that cases are resampled to; None = as they are.
        context: Neighbouring slices on each side that are further channels (2.5D).
        foreground: Lesions' grey values that normalised images are scaled by; None = as they are.
    """

    target_mm: tuple[float, ...] | None = None
    context: int = 0
    foreground: Foreground | None = None

    def scale(self, image: Float32[np.ndarray, "C *S"]) -> Float32[np.ndarray, "C *S"]:
        """A normalised image as the network sees it."""
        return image if self.foreground is None else self.foreground.scale(image)


AS_IT_IS: Final = View()


@final
@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Patches of one training step.

    Attributes:
        patches: After augmentation, on the device of the training.
        lesions: How many patches hold a lesion voxel.
        synthetic: How many patches come from synthetic cases.
        classes: How many patches hold a voxel of each class.
    """

    patches: PatchBatch
    lesions: int
    synthetic: int
    classes: tuple[int, ...]


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


def prepare_case(
    case: Case,
    scheme: IntensityScheme,
    classes: tuple[str, ...],
    patch: tuple[int, ...],
    view: View = AS_IT_IS,
) -> PreparedCase:
    """Resample and normalise a labelled case as a whole and lay it out in frames.

    Raises:
        LabelError: If its label map has another class table.
    """
    scale = case.scale or scheme.case_scale(case.volume)
    case = resample_case(case, view.target_mm)
    label_map = checked_labels(case, classes)
    image = view.scale(scale.normalise(case.volume.image))
    frames, labels = _frames(image, label_map.labels, len(patch))
    frames, labels = _padded(np.ascontiguousarray(frames), np.ascontiguousarray(labels, np.uint8), patch)
    voxels = tuple(_some(np.argwhere(labels == number)) for number in range(1, len(classes) + 1))
    return PreparedCase(frames, labels, voxels, case.volume.grid.spacing_mm[: len(patch)])


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
        self,
        cases: Sequence[Case],
        scheme: IntensityScheme,
        classes: tuple[str, ...],
        patch: tuple[int, ...],
        view: View = AS_IT_IS,
    ) -> None:
        labelled = [case for case in cases if case.label_map is not None]
        if not labelled:
            raise DataError("no training case has a label", hint="ingest label maps, or choose another fold")
        self._patch, self._view, self.unit = patch, view, scheme.unit
        self._cases = [prepare_case(case, scheme, classes, patch, view) for case in labelled]
        self._holders = [[c for c in self._cases if len(c.voxels[n])] for n in range(len(classes))]
        require_every_class(classes, [len(holders) for holders in self._holders])

    def cut(self, rng: np.random.Generator, class_index: int | None) -> Patch:
        """A patch around a lesion of that class, every case of it equally often, or anywhere at all."""
        if class_index is None:
            case = self._cases[rng.integers(len(self._cases))]
            return self._cut(case, _anywhere(case.labels, self._patch, rng))
        holders = self._holders[class_index]
        case = holders[rng.integers(len(holders))]
        voxels = case.voxels[class_index]
        return self._cut(case, _window(voxels[rng.integers(len(voxels))], case.labels, self._patch, rng))

    def _cut(self, case: PreparedCase, window: Window) -> Patch:
        return Patch(_seen(case.frames, window, self._view), case.labels[window], case.spacing_mm)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self._holders)

    @property
    def cases_per_class(self) -> tuple[int, ...]:
        """How many cases hold each class."""
        return tuple(len(holders) for holders in self._holders)


def _seen(frames: Float32[np.ndarray, "F C *S"], window: Window, view: View) -> Float32[np.ndarray, "D *P"]:
    """What the network sees of a window: its channels, with those of its neighbours where it sees them."""
    frame, place = window[0], window[1:]
    if not view.context:
        return np.asarray(frames[(frame, slice(None), *place)])
    return np.asarray(stack_slices(frames[(slice(None), slice(None), *place)], [frame], view.context)[0])


def _anywhere(
    labels: Integer[np.ndarray, "F *S"], patch: tuple[int, ...], rng: np.random.Generator
) -> Window:
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
) -> Window:
    """A patch that holds the voxel in its middle half, moved as little as the image's edge demands."""
    spans = []
    for place, size, n in zip(voxel[1:], patch, labels.shape[1:], strict=True):
        offset = int(rng.integers(size // 4, size - size // 4))
        start = min(max(int(place) - offset, 0), n - size)
        spans.append(slice(start, start + size))
    return (int(voxel[0]), *spans)


@final
class SyntheticPatches:
    """Cuts a patch around the new lesion out of every case that a source draws.

    Raises:
        ConfigError: When it cuts, if neighbouring slices are wanted and the source draws single slices of its hosts.
    """

    def __init__(
        self,
        source: CaseSource,
        scheme: IntensityScheme,
        classes: tuple[str, ...],
        patch: tuple[int, ...],
        view: View = AS_IT_IS,
    ) -> None:
        self._source, self._scheme, self._classes = source, scheme, classes
        self._patch, self._view = patch, view

    def cut(self, class_indices: Sequence[int | None], rngs: tuple[np.random.Generator, ...]) -> list[Patch]:
        """One patch an ``rng``, normalised by the scale of the whole case; None asks for pasted healthy tissue."""
        names = tuple(None if index is None else self._classes[index] for index in class_indices)
        drawn = self._source.draw(names, rngs)
        return [self._cut(*one) for one in zip(drawn, class_indices, rngs, strict=True)]

    def _cut(self, case: Case, class_index: int | None, rng: np.random.Generator) -> Patch:
        scale = case.scale or self._scheme.case_scale(case.volume)
        if self._view.context and case.scale is not None and case.volume.grid.shape[2] == 1:
            hint = "draw into whole volumes, or set context 0"
            raise ConfigError(
                "synthetic cases are single slices: they have no neighbours", where="task.context", hint=hint
            )
        case = resample_case(case, self._view.target_mm)
        label_map = checked_labels(case, self._classes)
        frames, labels = _frames(case.volume.image, label_map.labels, len(self._patch))
        voxel = _middle(case.site, labels, class_index, rng, dims=len(self._patch))
        before = [max(0, size - n) // 2 for size, n in zip(self._patch, labels.shape[1:], strict=True)]
        frames, labels = _padded(frames, labels, self._patch)
        window = _anywhere(labels, self._patch, rng)
        if voxel is not None:
            window = _window(voxel + np.array([0, *before]), labels, self._patch, rng)
        shown = _seen(frames, window, self._view)
        slices = shown.reshape(-1, frames.shape[1], *shown.shape[1:])
        normalised = np.concatenate([self._view.scale(scale.normalise(one)) for one in slices])
        spacing_mm = case.volume.grid.spacing_mm[: len(self._patch)]
        return Patch(normalised, np.ascontiguousarray(labels[window], dtype=np.uint8), spacing_mm)


def _middle(
    site: tuple[int, int, int] | None,
    labels: Integer[np.ndarray, "F *S"],
    class_index: int | None,
    rng: np.random.Generator,
    *,
    dims: int,
) -> Integer[np.ndarray, "D"] | None:
    """Frame and place to cut around: the site, or, where it is not known, any voxel of the class; None for none."""
    if site is not None and dims == 3:
        return np.array((0, *site))
    if site is not None:
        column = labels[:, site[0], site[1]]
        slices = np.flatnonzero(column == column[site[2]]) if column[site[2]] else np.array([site[2]])
        return np.array((slices[rng.integers(slices.size)], site[0], site[1]))
    if class_index is None:
        return None
    voxels = np.argwhere(labels == class_index + 1)
    return np.asarray(voxels[rng.integers(len(voxels))]) if len(voxels) else None


@final
class BatchMaker:
    """Makes the batch of a step from real cases, synthetic cases and augmentation; of a team, each process its part.

    Args:
        pool: The real cases.
        source: Where synthetic patches come from; None gives their places to real ones.
        augment: Applied to every batch, on the device.
        dealing: What every place of a batch is.
        seed: Root of all randomness; step and place in the batch name its children.
    """

    def __init__(
        self,
        pool: PatchPool,
        source: SyntheticPatches | None,
        augment: BatchAugment,
        dealing: Dealing,
        seed: SeedTree,
    ) -> None:
        self._pool, self._source, self._augment = pool, source, augment
        self._dealing, self._seed = dealing, seed

    def batch(self, step: int, device: torch.device) -> Batch:
        """The patches of a step; they go to the device before they are augmented."""
        dealt = self._dealing.places(step)
        own = team().places(len(dealt))
        places = [dealt[n] for n in own]
        rngs = tuple(self._seed.child("step", step, n).rng() for n in own)
        drawn = self._drawn(places, rngs)
        patches = [
            drawn[n] if n in drawn else self._pool.cut(rng, place.class_index)
            for n, (place, rng) in enumerate(zip(places, rngs, strict=True))
        ]
        changed = self._augment(self._joined(patches, step, device), rngs)
        labels = changed.labels.flatten(1)
        held = [labels.any(dim=1), *((labels == n + 1).any(dim=1) for n in range(self._pool.n_classes))]
        lesions, *classes = torch.stack(held).sum(dim=1).tolist()
        return Batch(changed, lesions, len(drawn), tuple(classes))

    def _drawn(self, places: Sequence[Place], rngs: Sequence[np.random.Generator]) -> dict[int, Patch]:
        """The synthetic patches by place, all drawn in one call."""
        wanted = [n for n, place in enumerate(places) if place.synthetic]
        if self._source is None or not wanted:
            return {}
        classes = [places[n].class_index for n in wanted]
        return dict(zip(wanted, self._source.cut(classes, tuple(rngs[n] for n in wanted)), strict=True))

    def _joined(self, patches: Sequence[Patch], step: int, device: torch.device) -> PatchBatch:
        images = torch.from_numpy(np.stack([patch.image for patch in patches]))
        labels = torch.from_numpy(np.stack([patch.labels for patch in patches]))
        spacing_mm = tuple(patch.spacing_mm for patch in patches)
        return PatchBatch(images.to(device), labels.to(device), spacing_mm, self._pool.unit, step=step)
