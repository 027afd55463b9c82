"""Carrying out what was drawn: one resampling for all geometry, then each kind of grey step for all images at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from medaug.core.errors import ConfigError
from medaug.engine.augment import PatchBatch
from medaug.engine.warp import Resampling, Warp, warp_pairs
from medaug.transforms._steps.step import Facts, GreyStep, SpatialStep, Step

Record = tuple[Step, ...]


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

    A patch whose record moves and changes nothing comes back bit for bit. Gradients flow to the images.

    Args:
        batch: What to change; left alone.
        records: One a patch, in any order of steps.
        how: Interpolation and padding.
        out_shape: Crop or pad about the middle to this size; None keeps the size.

    Raises:
        ConfigError: If there is not one record a patch.
    """
    if len(records) != len(batch.images):
        raise ConfigError(f"{len(records)} records for {len(batch.images)} patches", expected="one a patch")
    facts = facts_of(batch)
    warps = [compose(record, fact, out_shape) for record, fact in zip(records, facts, strict=True)]
    images, labels = warp_pairs(batch.images, batch.labels, warps, how, out_shape)
    facts = tuple(replace(fact, shape=tuple(labels.shape[1:])) for fact in facts)
    for kind, uses in _by_kind(records):
        images = _apply_kind(images, kind, uses, facts)
    return PatchBatch(images, labels, batch.spacing_mm, batch.unit)


def compose(record: Record, facts: Facts, out_shape: tuple[int, ...] | None = None) -> Warp:
    """All geometry of a record as one map from output to input voxels, about the middles of both."""
    steps = [step for step in record if isinstance(step, SpatialStep)]
    shape = np.array(facts.shape, dtype=np.float64)
    out = np.array(out_shape or facts.shape, dtype=np.float64)
    if not steps and np.array_equal(shape, out):
        return Warp.identity(facts.dims)
    whole = np.eye(facts.dims + 1)
    for step in steps:
        whole = whole @ step.pull_back(facts)
    fields = [field for step in steps if (field := step.control(facts)) is not None]
    if len(fields) > 1:
        raise ConfigError("two elastic steps in one record", where="policy", expected="at most one")
    spacing, before, after = np.array(facts.spacing_mm), (shape - 1) / 2, (out - 1) / 2
    # every factor is written so that flips and exchanges of axes stay whole numbers, and are recognised as such
    linear = whole[:-1, :-1] * (spacing[None, :] / spacing[:, None])
    slant = whole[-1, :-1] * spacing
    weight = whole[-1, -1] - slant @ after
    matrix = np.empty_like(whole)
    matrix[:-1, :-1] = linear + np.outer(before, slant)
    matrix[:-1, -1] = whole[:-1, -1] / spacing - linear @ after + before * weight
    matrix[-1, :-1], matrix[-1, -1] = slant, weight
    control = fields[0] / spacing.reshape(-1, *([1] * facts.dims)) if fields else None
    return Warp(matrix, control)


def _by_kind(records: Sequence[Record]) -> list[tuple[type[GreyStep], list[_Use]]]:
    """The grey steps of all patches, kind by kind in the order of a scan."""
    found: dict[type[GreyStep], list[_Use]] = {}
    for image, record in enumerate(records):
        for step in record:
            if isinstance(step, GreyStep) and not step.is_identity:
                found.setdefault(type(step), []).append(_Use(image, step))
    return sorted(found.items(), key=lambda item: (item[0].rank, item[0].__name__))


def _apply_kind(images: Tensor, kind: type[GreyStep], uses: list[_Use], facts: Sequence[Facts]) -> Tensor:
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
            images = images.index_copy(0, index, kind.apply(images[index], steps, own).to(images.dtype))
    return images
