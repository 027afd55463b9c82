"""Can a detector tell pasted healthy tissue from untouched tissue? If it can, a segmenter can find pastes by their seam.

Each paste is shown twice, at the same place of the same host: with the paste and without it, and with its outline
given away both times. So the place and the anatomy tell nothing, only what pasting did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from medaug.core.assessment import Figure
from medaug.core.case import Case
from medaug.core.geometry import Box
from medaug.core.intensity import IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.core.volume import Mask
from medaug.quality.groups import FEWEST, as_figure, parts_by_patient
from medaug.quality.looks import Looks
from medaug.quality.networks import Training, train_judge
from medaug.quality.recovery import Logistic
from medaug.quality.resampling import DRAWS, Estimate, estimate, patient_weights
from medaug.quality.samples import LesionSample

KINDS = ("untouched", "pasted")
# in-plane voxels from the outline, positive outside
_DISTANCES = (-6.0, -3.0, -1.5, -0.5, 0.5, 1.5, 3.0, 6.0)
_ROOM = 8  # voxels around a paste, in plane
_PARTS = 5
_TRAINING = Training(steps=300, batch=32, noise=0.0, shift=1)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pastes:
    """Places with and without a paste: the classes of the looks are :data:`KINDS`.

    Attributes:
        looks: Pasted and untouched places, with the outline of the paste as mask.
    """

    looks: Looks

    def inputs(self) -> Float[Tensor, "N C *S"]:
        """What a network sees: the image off its local mean, the image, and the distance to the outline."""
        images = torch.from_numpy(self.looks.images)
        middle = images.flatten(2).median(dim=2).values
        images = images - middle.reshape(*middle.shape, *(1,) * (images.ndim - 2))
        fine = torch.from_numpy(fine_part(self.looks.images))
        distance = np.stack([np.clip(signed_distance(mask), -8, 8) / 8 for mask in self.looks.masks])
        return torch.cat([4 * fine, images, torch.from_numpy(distance.astype(np.float32))[:, None]], dim=1)

    def features(self) -> Float[np.ndarray, "N F"]:
        """Grain, edge strength and level in bands around the outline."""
        return np.stack(
            [seam_features(i, m) for i, m in zip(self.looks.images, self.looks.masks, strict=True)]
        )


def fine_part(images: Float[np.ndarray, "N C *S"]) -> Float[np.ndarray, "N C *S"]:
    """What a mean over 3 x 3 voxels of a slice takes away."""
    size = (1, 1, 3, 3, *(1,) * (images.ndim - 4))
    return np.asarray(images - ndimage.uniform_filter(images, size), dtype=np.float32)


def signed_distance(mask: Bool[np.ndarray, "*S"]) -> Float[np.ndarray, "*S"]:
    """Signed distance to the outline, in plane, positive outside; far outside on slices without a paste."""
    planes = mask[..., None] if mask.ndim == 2 else mask
    out = np.full(planes.shape, 24.0, dtype=np.float32)
    for k in range(planes.shape[2]):
        plane = planes[..., k]
        if plane.any():
            outer, inner = (ndimage.distance_transform_edt(part) for part in (~plane, plane))
            out[..., k] = np.where(plane, 0.5 - inner, outer - 0.5)
    return out[..., 0] if mask.ndim == 2 else out


def seam_features(image: Float[np.ndarray, "C *S"], mask: Bool[np.ndarray, "*S"]) -> Float[np.ndarray, " F"]:
    """Bands around the outline: deviation of the fine part, and steps across and along the outline.

    Args:
        image: (C, *S) normalised units.
        mask: (*S) the outline of a paste, or of where one would be.
    """
    distance = signed_distance(mask)
    bands = [(distance >= low) & (distance < high) for low, high in pairwise(_DISTANCES)]
    normal = np.stack(np.gradient(distance, axis=(0, 1)))
    row: list[float] = []
    for channel, fine in zip(image, fine_part(image[None])[0], strict=True):
        slope = np.stack(np.gradient(channel, axis=(0, 1)))
        across = (slope * normal).sum(axis=0)
        along = slope[0] * normal[1] - slope[1] * normal[0]
        far = distance >= _DISTANCES[-1]
        usual = [_log_rms(part[far]) for part in (fine, across, along)]
        for part, common in zip((fine, across, along), usual, strict=True):
            row += [_log_rms(part[band]) - common for band in bands]
        row += [abs(_mean(across[band])) for band in bands]
        row += [_log_rms(across[band]) - _log_rms(along[band]) for band in bands]
        row += usual
    return np.asarray(row)


def _log_rms(values: np.ndarray) -> float:
    return float(0.5 * np.log(np.square(values).mean() + 1e-5)) if values.size else float(0.5 * np.log(1e-5))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


@final
@dataclass(frozen=True, slots=True)
class SeamResult:
    """Areas under the curve of both detectors on patients that they were not trained on."""

    network: Estimate
    features: Estimate
    n: int


def detect(train: Pastes, test: Pastes, seed: SeedTree, training: Training | None = None) -> SeamResult:
    """Train both detectors on some patients' pastes and score them on those of others.

    Args:
        train: Pastes to learn from.
        test: Pastes of other patients.
        seed: Root of all randomness.
        training: Of the network.
    """
    classes = train.looks.class_index
    judge = train_judge(train.inputs(), classes, training or _TRAINING, seed.child("network"), members=2)
    seen = judge.probabilities(test.inputs())[:, 1]
    regression = Logistic(train.features(), classes)
    told = regression.probabilities(test.features())[:, 1]
    weights = patient_weights(test.looks.patients, seed.child("draws").rng(), DRAWS)
    pasted = test.looks.class_index == 1
    network, features = (estimate_auc(scores, pasted, weights) for scores in (seen, told))
    return SeamResult(network, features, int(pasted.sum()))


@final
@dataclass(frozen=True, slots=True, eq=False)
class PastePair:
    """A null paste of a set, and the same place of its host.

    Attributes:
        pasted: The outline of the paste is its mask.
        untouched: The host with the same outline.
    """

    pasted: LesionSample
    untouched: LesionSample


def paste_pair(made: Case, host: Case, edit_mask: Mask, class_name: str) -> PastePair:
    """Cut a null paste out of a case, and its place out of the host.

    Args:
        made: Healthy tissue was pasted in it.
        host: The scan it was pasted in.
        edit_mask: (I, J, K) where they differ; not empty.
        class_name: Of the lesion whose outline was taken.
    """
    # both on the host's scale, which the paste has hardly changed
    scale = IntensityScheme.for_volume(host.volume).case_scale(host.volume)
    box = Box.around(edit_mask, (_ROOM, _ROOM, 0))
    mask, spacing = edit_mask[box.slices], host.volume.grid.spacing_mm
    sides = [
        LesionSample(
            case.case_id,
            host.patient_id,
            class_name,
            scale.normalise(box.cut(case.volume.image)),
            mask,
            spacing,
        )
        for case in (made, host)
    ]
    return PastePair(sides[0], sides[1])


def paste_auc(pairs: Sequence[PastePair], class_name: str, seed: SeedTree) -> Figure | None:
    """Area under the curve of a detector of null pastes, cross-fitted by patient; 0.5: pastes are not seen.

    Args:
        pairs: Null pastes of all classes; the detector learns from all.
        class_name: The class that is scored; where it has fewer than 5, all are.
        seed: Of dealing and draws.

    Returns:
        None for fewer than 10 pairs, or pairs of fewer than 2 patients.
    """
    owners = [pair.untouched.patient_id for pair in pairs]
    if len(pairs) < 2 * FEWEST or len(set(owners)) < 2:
        return None
    inputs = np.stack(
        [seam_features(s.image, s.mask) for pair in pairs for s in (pair.pasted, pair.untouched)]
    )
    pasted = np.tile([1, 0], len(pairs))
    parts = np.repeat(parts_by_patient(owners, _PARTS, seed.child("parts").rng()), 2)
    told = np.zeros(len(inputs))
    for part in np.unique(parts):
        here = parts == part
        told[here] = Logistic(inputs[~here], pasted[~here]).probabilities(inputs[here])[:, 1]
    of_class = np.asarray([pair.pasted.class_name == class_name for pair in pairs], dtype=bool)
    chosen = np.repeat(of_class if of_class.sum() >= FEWEST else np.ones_like(of_class), 2)
    weights = patient_weights(np.repeat(owners, 2)[chosen].tolist(), seed.child("draws").rng())
    return as_figure(estimate_auc(told[chosen], pasted[chosen] == 1, weights))


def estimate_auc(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"], weights: Float[np.ndarray, "D N"]
) -> Estimate:
    """Area under the receiver operating curve with an interval by patient."""
    whole = float(weighted_auc(scores, positive, np.ones((1, len(scores))))[0])
    return estimate(whole, weighted_auc(scores, positive, weights))


def weighted_auc(
    scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"], weights: Float[np.ndarray, "D N"]
) -> Float[np.ndarray, " D"]:
    """Share of (positive, negative) pairs in the right order, ties half, for each row of weights (Mann and Whitney)."""
    ours, theirs = scores[positive], scores[~positive]
    better = (ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)
    first, second = weights[:, positive], weights[:, ~positive]
    total = first.sum(axis=1) * second.sum(axis=1)
    right = np.einsum("dn,nm,dm->d", first, better, second, optimize=True)
    return np.asarray(np.where(total > 0, right / np.maximum(total, 1e-9), np.nan))
