"""Carrying out what was drawn: one resampling for all geometry, then each kind of grey step for all images at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from medaug.core.errors import ConfigError, DataError
from medaug.engine.augment import PatchBatch
from medaug.engine.lanes import is_watched, one_core, side_by_side
from medaug.engine.warp import Resampling, Warp, in_layout_of, warp_pairs
from medaug.transforms._steps.spatial import Crop
from medaug.transforms._steps.step import Facts, GreyStep, SpatialStep, Step

Record = tuple[Step, ...]

# From so many voxels on several cores move a batch, or change its grey values
_SHARED_MOVE: Final = 1 << 18
_SHARED_CHANGE: Final = 1 << 22
# Values at most in each part of a batch, if it has several images
_PART: Final = 1 << 19
# Parts that are changed at a time are smaller, but not ever smaller
_SHARES: Final = 4


@final
@dataclass(frozen=True, slots=True)
class _Use:
    """A grey step and the image that it changes."""

    image: int
    step: GreyStep


def facts_of(batch: PatchBatch) -> tuple[Facts, ...]:
    """What steps may know of each patch."""
    shape = tuple(batch.labels.shape[1:])
    return tuple(Facts(shape, spacing_mm, batch.unit) for spacing_mm in batch.spacing_mm)


def apply_records(
    batch: PatchBatch, records: Sequence[Record], how: Resampling, out_shape: tuple[int, ...] | None = None
) -> PatchBatch:
    """Change every patch by its own record; the same record gives the same patch again.

    A patch whose record moves and changes nothing comes back bit for bit. An image alone and in a batch agree to 1e-5 of its
    range, as products of several matrices may round otherwise than those of one; with another number of threads, 3D places
    differ by up to a thousandth of a voxel, as slabs are others. The same call gives the same result bit for bit. Half precision is computed in float32. The
    memory format is kept, and gradients flow to the images.

    Args:
        batch: What to change; left alone.
        records: One a patch, in any order of steps.
        how: Interpolation and padding.
        out_shape: Crop or pad about the middle to this size; None keeps the size, or takes that of the records' crops.

    Raises:
        ConfigError: If there is not one record a patch, or crops of several sizes.
        DataError: If the images are no floating point numbers.
    """
    if len(records) != len(batch.images):
        raise ConfigError(f"{len(records)} records for {len(batch.images)} patches", expected="one a patch")
    if not batch.images.is_floating_point():
        raise DataError(f"images are {batch.images.dtype}", expected="floating point, normalised")
    size = out_shape or _size(records)
    parts = _parts(batch)
    if len(parts) == 1:
        return _applied(batch, records, how, size)
    shape = size or tuple(batch.labels.shape[1:])
    images = in_layout_of(batch.images, batch.images.new_empty((*batch.images.shape[:2], *shape)))
    labels = batch.labels.new_empty((len(batch.labels), *shape))

    def change(part: slice) -> None:
        done = _applied(_cut(batch, part), records[part], how, size)
        images[part], labels[part] = done.images, done.labels

    side_by_side(change, parts)
    return replace(batch, images=images, labels=labels)


def _parts(batch: PatchBatch) -> list[slice]:
    """The batch in parts for several cores and their caches, where that pays; what is made on the way takes little memory."""
    images, count = batch.images, len(batch.images)
    if images.is_cuda or is_watched(images) or images.numel() < _SHARED_MOVE:
        return [slice(0, count)]
    lanes = torch.get_num_threads()
    parts = min(count, max(lanes, -(-images.numel() * min(lanes, _SHARES) // _PART)))
    edges = np.linspace(0, count, parts + 1).astype(int).tolist()
    return [slice(first, last) for first, last in itertools.pairwise(edges)]


def _cut(batch: PatchBatch, part: slice) -> PatchBatch:
    return PatchBatch(batch.images[part], batch.labels[part], batch.spacing_mm[part], batch.unit)


def _applied(
    batch: PatchBatch, records: Sequence[Record], how: Resampling, size: tuple[int, ...] | None
) -> PatchBatch:
    facts = facts_of(batch)
    warps = [compose(record, fact, size) for record, fact in zip(records, facts, strict=True)]
    is_half = batch.images.dtype in (torch.float16, torch.bfloat16)
    images = batch.images.float() if is_half else batch.images
    with _on_cores(images, _SHARED_MOVE):
        images, labels = warp_pairs(images, batch.labels, warps, how, size)
    facts = tuple(replace(fact, shape=tuple(labels.shape[1:])) for fact in facts)
    is_own = False
    with _on_cores(images, _SHARED_CHANGE):
        for kind, uses in _by_kind(records):
            changed = _apply_kind(images, kind, uses, facts, is_own=is_own)
            images, is_own = changed, is_own or changed is not images
    images = in_layout_of(batch.images, images.to(batch.images.dtype))
    return PatchBatch(images, labels, batch.spacing_mm, batch.unit)


def _on_cores(images: Tensor, shared: int) -> AbstractContextManager[None]:
    """All cores where there is much to do, one where they would wait for each other more than they work."""
    return nullcontext() if images.is_cuda or images.numel() >= shared else one_core()


def _size(records: Sequence[Record]) -> tuple[int, ...] | None:
    """The size that crops ask for."""
    sizes = {step.size for record in records for step in record if isinstance(step, Crop)}
    if len(sizes) > 1:
        raise ConfigError("crops of several sizes in one batch", where="policy", expected="one size")
    return sizes.pop() if sizes else None


def compose(record: Record, facts: Facts, out_shape: tuple[int, ...] | None = None) -> Warp:
    """All geometry of a record as one map from output to input voxels, about the middles of both.

    The steps act one after the other as the record has them, but for a displacement, which acts last on all of them.
    """
    steps = [step for step in record if isinstance(step, SpatialStep)]
    shape = np.array(facts.shape, dtype=np.float64)
    out_shape = out_shape or _size([record]) or facts.shape
    out = np.array(out_shape, dtype=np.float64)
    if not steps and np.array_equal(shape, out):
        return Warp.identity(facts.dims)
    whole = np.eye(facts.dims + 1)
    for step in steps:
        whole = whole @ step.pull_back(facts)
    # the lattice of a displacement spans the output: cells of another size would fold at another bound
    seen = replace(facts, shape=out_shape)
    fields = [field for step in steps if (field := step.control(seen)) is not None]
    if len(fields) > 1:
        raise ConfigError("two elastic steps in one record", where="policy", expected="at most one")
    spacing, before, after = np.array(facts.spacing_mm), (shape - 1) / 2, (out - 1) / 2
    # every factor is written so that flips and exchanges of axes stay whole numbers, and are recognised as such
    linear = whole[:-1, :-1] * (spacing[None, :] / spacing[:, None])
    slant = whole[-1, :-1] * spacing
    weight = whole[-1, -1] - slant @ after
    matrix = np.empty_like(whole)
    matrix[:-1, :-1] = linear + np.outer(before, slant)
    matrix[:-1, -1] = _snapped(whole[:-1, -1] / spacing - linear @ after + before * weight)
    matrix[-1, :-1], matrix[-1, -1] = slant, weight
    control = fields[0] / spacing.reshape(-1, *([1] * facts.dims)) if fields else None
    return Warp(matrix, control)


def _snapped(shift: Float64[np.ndarray, "D"]) -> Float64[np.ndarray, "D"]:
    """Shifts of whole voxels but for the rounding of mm to voxels, as whole numbers."""
    near = np.rint(shift)
    return np.where(np.abs(shift - near) < 1e-9, near, shift)


def _by_kind(records: Sequence[Record]) -> list[tuple[type[GreyStep], list[_Use]]]:
    """The grey steps of all patches, kind by kind in the order of a scan."""
    found: dict[type[GreyStep], list[_Use]] = {}
    for image, record in enumerate(records):
        for step in record:
            if isinstance(step, GreyStep) and not step.is_identity:
                found.setdefault(type(step), []).append(_Use(image, step))
    return sorted(found.items(), key=lambda item: (item[0].rank, item[0].__name__))


def _apply_kind(
    images: Tensor, kind: type[GreyStep], uses: list[_Use], facts: Sequence[Facts], *, is_own: bool
) -> Tensor:
    """One kind of step on the images that have it; a second one on the same image comes in a second round."""
    rounds: list[list[_Use]] = []
    for use in uses:
        free = next((one for one in rounds if all(other.image != use.image for other in one)), None)
        if free is None:
            rounds.append([use])
        else:
            free.append(use)
    for members in rounds:
        place = [use.image for use in members]
        steps, own = [use.step for use in members], [facts[n] for n in place]
        if place == list(range(len(images))):
            images = kind.apply(images, steps, own)
        else:
            index = torch.tensor(place, device=images.device)
            changed = kind.apply(images[index], steps, own)
            # written over where nobody else, no gradient among them, reads the tensor
            is_free = is_own and not images.requires_grad
            images = (images.index_copy_ if is_free else images.index_copy)(0, index, changed)
            is_own = True
    return images
