"""Changing whole cases, in native units and on their own grid: as one volume, or slice by slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from medaug.core.case import Case
from medaug.core.errors import ConfigError
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image, LabelMap, Volume
from medaug.engine.augment import PatchBatch
from medaug.engine.warp import Resampling, warp_images
from medaug.transforms._steps.apply import Record, apply_records, compose, facts_of
from medaug.transforms._steps.policy import PolicyAugment
from medaug.transforms._steps.step import SpatialStep

Dims = Literal[2, 3]
# Slices that are changed at once
_SLICES = 32
# Whole native numbers are kept whole where half of one is at most a fiftieth of a normalised unit
_LEAST_FACTOR = 25.0


@final
class _Frames:
    """A case laid out for augmentation: one frame of (I, J, K), or K frames of (I, J); normalised."""

    def __init__(self, case: Case, dims: Dims) -> None:
        volume, grid = case.volume, case.volume.grid
        self.dims, self.native, self.unit = dims, volume.image, volume.unit
        self.scale: CaseScale = case.scale or IntensityScheme.for_volume(volume).case_scale(volume)
        self.labels = np.zeros(grid.shape, np.uint8) if case.label_map is None else case.label_map.labels
        self.spacing_mm = grid.spacing_mm[:dims]

    def parts(self) -> Iterator[slice]:
        """The slices K that are changed together."""
        count = self.native.shape[-1]
        step = count if self.dims == 3 else _SLICES
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def laid_out(self, image: Image) -> Tensor:
        """(C, I, J, k) as a batch."""
        frames = image[None] if self.dims == 3 else np.moveaxis(image, -1, 0)
        return torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))

    def stacked(self, batch: Tensor) -> Shaped[np.ndarray, "C I J k"]:
        """A batch as (C, I, J, k)."""
        array = batch.numpy()
        return np.asarray(array[0] if self.dims == 3 else np.moveaxis(array, 0, -1))

    def batch(self, part: slice) -> PatchBatch:
        """Some slices, normalised."""
        images = self.laid_out(self.scale.normalise(self.native[..., part]))
        ids = self.labels[..., part].astype(np.int32)
        frames = ids[None] if self.dims == 3 else np.moveaxis(ids, -1, 0)
        labels = torch.from_numpy(np.ascontiguousarray(frames))
        return PatchBatch(images, labels, (self.spacing_mm,) * len(images), self.unit)


def draw_case(augment: PolicyAugment, case: Case, dims: Dims, seed: SeedTree) -> tuple[Record, ...]:
    """Draw what happens to a case: one record, or one a slice, each from its own seed."""
    shape = case.volume.grid.shape
    count = 1 if dims == 3 else shape[2]
    blank = torch.zeros((1, 1, *shape[:dims]))
    one = PatchBatch(blank, blank[0].int(), (case.volume.grid.spacing_mm[:dims],), case.volume.unit)
    return tuple(augment.draw(one, [seed.child(frame).rng()])[0] for frame in range(count))


def change_case(case: Case, records: Sequence[Record], how: Resampling, dims: Dims) -> Case:
    """Carry out what was drawn: the same records give the same case, bit for bit.

    The case is normalised as for training, changed and brought back to native units. What the normalisation cuts off (metal
    above 1500 HU) moves along and is added again. Voxels that do not change keep their native value, and whole numbers stay
    whole where that is fine enough.

    Args:
        case: Native units; left alone.
        records: One for the volume, or one a slice.
        how: Interpolation and padding.
        dims: 3 for the volume as a whole, 2 for every slice on its own.

    Raises:
        ConfigError: If there is not one record a frame.
    """
    frames, shape = _Frames(case, dims), case.volume.grid.shape
    if len(records) != (1 if dims == 3 else shape[2]):
        raise ConfigError(
            f"{len(records)} records for {shape[2]} slices", expected="one a slice, or one in 3D"
        )
    image = np.empty_like(case.volume.image)
    labels = np.empty_like(frames.labels)
    for part in frames.parts():
        own = records if dims == 3 else records[part]
        image[..., part], labels[..., part] = _changed(frames, part, own, how)
    if min(frames.scale.factor) >= _LEAST_FACTOR and np.array_equal(frames.native, np.rint(frames.native)):
        np.rint(image, out=image)
        # what was rounded to -0.0 would keep a file from being stored as integers
        image += 0.0
    source = case.volume
    volume = Volume(image, source.grid, source.unit, source.channels, source.spacing_known)
    label_map = None
    if case.label_map is not None:
        label_map = LabelMap(labels, case.label_map.grid, case.label_map.class_names)
    return replace(case, volume=volume, label_map=label_map)


def _changed(
    frames: _Frames, part: slice, records: Sequence[Record], how: Resampling
) -> tuple[Float32[np.ndarray, "C I J k"], np.ndarray]:
    """Some slices with their labels, in native units."""
    native, batch = frames.native[..., part], frames.batch(part)
    changed = apply_records(batch, records, how)
    image = frames.scale.restore(frames.stacked(changed.images))
    is_kept = frames.stacked(changed.images == batch.images)
    low, high = (
        np.asarray(v, np.float32).reshape(-1, 1, 1, 1) for v in (frames.scale.low, frames.scale.high)
    )
    cut_off = native - np.clip(native, low, high)
    if cut_off.any():
        moved = _moved(frames.laid_out(cut_off), batch, records, how)
        image += frames.stacked(moved)
        is_kept &= frames.stacked(moved) == cut_off
    np.copyto(image, native, where=is_kept)
    ids = changed.labels.numpy()
    return image, (ids[0] if frames.dims == 3 else np.moveaxis(ids, 0, -1)).astype(frames.labels.dtype)


def _moved(images: Tensor, batch: PatchBatch, records: Sequence[Record], how: Resampling) -> Tensor:
    """The geometry of the records alone."""
    spatial = [tuple(step for step in record if isinstance(step, SpatialStep)) for record in records]
    warps = [compose(record, facts) for record, facts in zip(spatial, facts_of(batch), strict=True)]
    return warp_images(images, warps, how)
