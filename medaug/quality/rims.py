"""Are synthetic lesions told from real ones by their rims alone?

Where a set holds no null pastes (:mod:`medaug.quality.seams`), synthetic lesions are compared with the training
patients' real ones, whose scans are their hosts. Only fine texture at and beside the outline is looked at, and within
a class: how sharp the outline is against what lies just beside it, and how much grain there is inside and outside,
against the grain further off. Size, brightness and contrast would tell other things than a seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float, Int

from medaug.core.assessment import Figure
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image, Mask
from medaug.quality.features import Features, Standardiser
from medaug.quality.groups import FEWEST, as_figure, parts_by_patient
from medaug.quality.recovery import Logistic
from medaug.quality.resampling import patient_weights
from medaug.quality.samples import LesionSample
from medaug.quality.seams import estimate_auc, fine_part, signed_distance

# in-plane voxels from the outline, positive outside
_INSIDE: Final = (-6.0, -3.0, -1.5)
_RIM: Final = (-1.5, -0.5, 0.5, 1.5)
_OUTSIDE: Final = (1.5, 3.0, 6.0)
_FEWEST_VOXELS: Final = 6  # of a band
_PARTS: Final = 5
_PENALTY: Final = 0.05
_FLOOR: Final = 1e-5


def rim_features(image: Image, mask: Mask) -> Float[np.ndarray, " F"]:
    """Fine texture about an outline, seven figures a channel; NaN where a band has too few voxels.

    Args:
        image: (C, I, J, K) normalised units, at least 8 voxels more than the lesion to each side in plane.
        mask: (I, J, K) the lesion.
    """
    distance = signed_distance(mask)
    far = distance >= _OUTSIDE[-1]
    rim, off = (
        [(distance >= low) & (distance < high) for ends in some for low, high in pairwise(ends)]
        for some in ((_RIM,), (_INSIDE, _OUTSIDE))
    )
    row: list[float] = []
    for fine in fine_part(image[None])[0]:
        edge = np.asarray([_log_rms(fine[band]) for band in rim])
        usual = _log_rms(fine[far])
        row += [float(value) for value in edge - edge.mean()]
        row += [_log_rms(fine[band]) - usual for band in off]
    return np.asarray(row)


def _log_rms(values: np.ndarray) -> float:
    if values.size < _FEWEST_VOXELS:
        return float("nan")
    return float(0.5 * np.log(np.square(values, dtype=np.float64).mean() + _FLOOR))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Rims:
    """The rims of some lesions.

    Attributes:
        features: (N, F), may hold NaN.
        class_names: (N,) of the lesions.
        patients: (N,) the units of resampling.
    """

    features: Features
    class_names: tuple[str, ...]
    patients: tuple[str, ...]

    @staticmethod
    def of(samples: Sequence[LesionSample]) -> Rims:
        """Measure lesions; at least one."""
        return Rims(
            np.stack([rim_features(sample.image, sample.mask) for sample in samples]),
            tuple(sample.class_name for sample in samples),
            tuple(sample.patient_id for sample in samples),
        )

    def of_class(self, name: str) -> Bool[np.ndarray, " N"]:
        """Which rows are of a class."""
        return np.asarray([one == name for one in self.class_names], dtype=bool)

    def __len__(self) -> int:
        return len(self.patients)


@final
@dataclass(frozen=True, slots=True, eq=False)
class RimOpinions:
    """What a detector says that has not seen the lesion's patient: probability of being synthetic.

    Attributes:
        made: (N,) of the synthetic lesions.
        real: (M,) of the real ones.
    """

    made: Float[np.ndarray, " N"]
    real: Float[np.ndarray, " M"]


def detect_rims(made: Rims, real: Rims, seed: SeedTree) -> RimOpinions | None:
    """Tell synthetic from real rims, cross-fitted by patient; both sides weigh the same in learning.

    Args:
        made: Rims of synthetic lesions; their patients are their hosts'.
        real: Rims of real lesions.
        seed: Of the dealing.

    Returns:
        None where a side is too small to be learnt.
    """
    inputs = np.concatenate([_within_class(side, real) for side in (made, real)])
    wanted: Int[np.ndarray, " B"] = np.repeat([1, 0], [len(made), len(real)])
    parts = parts_by_patient((*made.patients, *real.patients), _PARTS, seed.rng())
    told = np.full(len(inputs), np.nan)
    for part in np.unique(parts):
        here = parts == part
        if min(np.bincount(wanted[~here], minlength=2)) < FEWEST:
            return None
        model = Logistic(inputs[~here], wanted[~here], _PENALTY)
        told[here] = model.probabilities(inputs[here])[:, 1]
    return RimOpinions(told[: len(made)], told[len(made) :])


def _within_class(side: Rims, real: Rims) -> Features:
    """Features against the real lesions of the same class, so that the mix of classes tells nothing."""
    out = np.zeros_like(side.features)
    for name in sorted(set(side.class_names)):
        here, there = side.of_class(name), real.of_class(name)
        known = real.features[there] if there.sum() >= FEWEST else real.features
        filled = np.where(np.isnan(known), np.nan_to_num(np.nanmedian(known, axis=0)), known)
        scale = Standardiser.fitted_on(filled)
        rows = side.features[here]
        out[here] = scale.apply(np.where(np.isnan(rows), scale.mean, rows))
    return out


def rim_auc(told: RimOpinions, made: Rims, real: Rims, class_name: str, seed: SeedTree) -> Figure | None:
    """Area under the curve within a class, with its interval by patient; 0.5: rims look the same.

    None for fewer than 5 lesions of the class on a side.
    """
    ours, theirs = made.of_class(class_name), real.of_class(class_name)
    if min(ours.sum(), theirs.sum()) < FEWEST:
        return None
    scores = np.concatenate([told.made[ours], told.real[theirs]])
    positive = np.arange(len(scores)) < ours.sum()
    owners = [
        p
        for side, rows in ((made, ours), (real, theirs))
        for p, taken in zip(side.patients, rows, strict=True)
        if taken
    ]
    # hosts and donors of real lesions are the same patients, and are drawn together
    return as_figure(estimate_auc(scores, positive, patient_weights(owners, seed.rng())))
