"""Training slices of two domains, and patches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from medaug.core.case import Case, CaseRecord
from medaug.core.errors import ConfigError, DataError
from medaug.core.geometry import NEIGHBOURS_4
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image, Mask, Volume
from medaug.lesions.body import Body
from medaug.translators._style.look import change_look
from medaug.translators._style.settings import Config, Domain
from medaug.translators.base import TrainingCases

_BODY = 0.1  # a slice with less body teaches nothing
_OUTSIDE = -2.0  # normalised units; the same in all domains, so that no critic looks at the background


@final
@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """The training slices of a domain.

    Attributes:
        by_case: (N, C, I, J) of each case, normalised units, at least one slice each.
        levels: (cases, 3, C) what normalised 0 and 1 are in native units, and the lowest native value.
    """

    by_case: tuple[Float[np.ndarray, "N C I J"], ...]
    levels: Float[np.ndarray, "cases 3 C"]

    def patches(self, owners: Sequence[int], size: int, rng: np.random.Generator) -> Float[Tensor, "B C P P"]:
        """A patch of a random slice of each of these cases; small slices go on beyond their edges."""
        cut = []
        for owner in owners:
            volume = self.by_case[owner]
            plane = volume[int(rng.integers(len(volume)))]
            short = [max(0, size - n) for n in plane.shape[1:]]
            if any(short):
                plane = np.pad(plane, [(0, 0), *((n // 2, n - n // 2) for n in short)], mode="edge")
            i, j = (int(rng.integers(n - size + 1)) for n in plane.shape[1:])
            cut.append(plane[:, i : i + size, j : j + size])
        return torch.from_numpy(np.stack(cut))


def members(
    config: Config, records: Sequence[CaseRecord]
) -> tuple[tuple[CaseRecord, ...], tuple[CaseRecord, ...]]:
    """The training cases of the source and of the target.

    Raises:
        ConfigError: If a domain has no training case, or both are the same images.
    """
    if config.source == config.target:
        hint = "name a channel, a modality, cases or a look, e.g. source: {channel: FLAIR}, target: {channel: T1}"
        raise ConfigError("source and target are the same", where="source, target", hint=hint)
    patients = sorted({record.patient_id for record in records})
    found = []
    for n, domain in enumerate((config.source, config.target)):
        ours = set(patients[n::2] if config.disjoint_patients else patients)
        chosen = tuple(r for r in records if domain.holds(r) and r.patient_id in ours)
        if not chosen:
            name = ("source", "target")[n]
            raise ConfigError("no training case belongs to it", where=name, expected=_offers(records))
        found.append(chosen)
    return found[0], found[1]


def _offers(records: Sequence[CaseRecord]) -> str:
    """What the training cases have to choose from."""
    channels = sorted({name for record in records for name in record.channels})
    modalities = sorted({record.modality for record in records})
    return f"channel {', '.join(channels)}; modality {', '.join(modalities)}; or a case id"


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """What is read for a domain.

    Attributes:
        domain: Its settings.
        cases: Where cases come from.
        chosen: Those of the domain.
        most: Slices to keep in all.
    """

    domain: Domain
    cases: TrainingCases
    chosen: tuple[CaseRecord, ...]
    most: int


def gather(reading: Reading, progress: Progress, seed: SeedTree) -> Slices:
    """Read the slices of a domain, as many of each case; cases are read one after the other.

    Raises:
        DataError: If no slice holds enough of a body.
    """
    domain, chosen = reading.domain, reading.chosen[: reading.most]
    progress.start("slices", len(chosen))
    share = max(1, reading.most // len(chosen))
    kept, levels = [], []
    for record in chosen:
        case = reading.cases.load(record)
        rng = seed.child("look", record.case_id).rng()
        volume = view(case, domain.channel)
        if domain.look is not None:
            image = change_look(volume.image, domain.look, rng)
            volume = Volume(image, volume.grid, volume.unit, volume.channels)
        scale = IntensityScheme.for_volume(volume).case_scale(volume)
        body = body_mask(volume)
        normalised = bodily(scale.normalise(volume.image), body)
        held = np.flatnonzero(body.mean(axis=(0, 1)) > _BODY)
        if len(held):
            picked = held[np.unique(np.linspace(0, len(held) - 1, min(share, len(held))).round().astype(int))]
            kept.append(np.ascontiguousarray(np.moveaxis(normalised[..., picked], -1, 0)))
            levels.append([scale.offset, scale.factor, volume.image.min(axis=(1, 2, 3))])
        progress.advance(1)
    if not kept:
        raise DataError("no slice of the domain shows a body", expected="slices with more than background")
    return Slices(tuple(kept), np.array(levels, dtype=np.float64))


def body_mask(volume: Volume) -> Mask:
    """The body and a voxel around it within slices."""
    return np.asarray(ndimage.binary_dilation(Body.of(volume).mask, structure=NEIGHBOURS_4))


def bodily(normalised: Image, body: Mask) -> Image:
    """The image in the body, with one level around it."""
    return np.where(body, normalised, np.float32(_OUTSIDE))


def view(case: Case, channel: str | None) -> Volume:
    """One channel of a case, or all."""
    volume = case.volume
    if channel is None:
        return volume
    n = volume.channels.index(channel)
    return Volume(volume.image[n : n + 1], volume.grid, volume.unit, (channel,), volume.spacing_known)
