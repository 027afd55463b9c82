"""Anatomy labels without an atlas: tissue clusters that mean the same in every case.

Weighted k-means (Lloyd, IEEE Trans Inf Theory 1982) on smoothed normalised intensity, all channels together. The centres
are learnt once, on voxels of all training cases, and sorted by the first channel, so that tissue 1 is the darkest
everywhere. Where intensities have no unit, each case moves the centres a little towards its own. Place enters by the
smoothing of the labels: small parts join what surrounds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.errors import DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.volume import Labels, Mask, Unit, Volume
from medaug.lesions.body import Body

OUTSIDE = 0
_ROUNDS = 40
_OWN_ROUNDS = 3
_OWN_WEIGHT = 0.5
_BINS = 64
_VOXELS_PER_CASE = 4000


@final
@dataclass(frozen=True, slots=True, eq=False)
class Tissues:
    """Where the tissues of a fold lie in intensity.

    Attributes:
        centres: (k, C) normalised, sorted by the first channel.
        smoothing: Deviation of the filter in plane, voxels.
        smallest_part: Smaller connected parts join their surroundings, voxels.
        own: Whether a case moves the centres towards its own.
    """

    centres: Float[np.ndarray, "k C"]
    smoothing: float
    smallest_part: int
    own: bool

    def label(self, volume: Volume, hidden: Mask | None = None) -> Labels:
        """(I, J, K) uint8: 0 outside the body, 1..k the tissues from dark to bright.

        Args:
            volume: A whole case.
            hidden: (I, J, K) voxels to be labelled as what surrounds them: lesions.
        """
        scale = IntensityScheme.for_volume(volume).case_scale(volume)
        smooth = _smoothed(scale.normalise(volume.image), self.smoothing)
        body = Body.of(volume).mask
        shown = body if hidden is None else body & ~hidden
        if not shown.any():
            shown = body = np.ones(body.shape, dtype=bool)
        centres = self._own_centres(smooth[:, shown].T) if self.own else self.centres
        labels = np.zeros(body.shape, dtype=np.uint8)
        labels[body] = 1 + _nearest(smooth[:, body].T, centres)
        if hidden is not None and hidden.any():
            labels = _filled(labels, hidden)
        return _without_crumbs(labels, self.smallest_part)

    def _own_centres(self, voxels: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "k C"]:
        weights = np.ones(len(voxels))
        own = _lloyd(voxels, weights, self.centres, _OWN_ROUNDS)
        return _OWN_WEIGHT * own + (1 - _OWN_WEIGHT) * self.centres


def learn_tissues(
    samples: Sequence[Float[np.ndarray, "n C"]], count: int, settings: tuple[float, int], unit: Unit
) -> Tissues:
    """Cluster the voxels of all training cases.

    Args:
        samples: Of :func:`sample_voxels`, a case each.
        count: Clusters.
        settings: Smoothing and smallest part, see :class:`Tissues`.
        unit: Of the images.

    Raises:
        DataError: If the images hold fewer levels than clusters are asked for.
    """
    voxels = np.concatenate(samples).astype(np.float64)
    first = voxels[:, 0]
    low, high = np.percentile(first, (0.5, 99.5))
    bins = np.clip((first - low) / max(high - low, 1e-6) * _BINS, 0, _BINS - 1).astype(int)
    # rare levels (bone, vessels) would share one cluster if every voxel weighed the same
    weights = 1.0 / np.sqrt(np.bincount(bins, minlength=_BINS)[bins])
    order = np.argsort(first, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    starts = order[np.minimum(np.searchsorted(share, (np.arange(count) + 0.5) / count), len(order) - 1)]
    if len(np.unique(first[starts])) < count:
        raise DataError(
            f"the images hold fewer than {count} levels", where="tissues", hint="ask for fewer tissues"
        )
    centres = _lloyd(voxels, weights, voxels[starts], _ROUNDS)
    return Tissues(centres[np.argsort(centres[:, 0], kind="stable")], *settings, unit is Unit.ARBITRARY)


def sample_voxels(volume: Volume, smoothing: float, rng: np.random.Generator) -> Float[np.ndarray, "n C"]:
    """Smoothed normalised intensities of some voxels of the body."""
    scale = IntensityScheme.for_volume(volume).case_scale(volume)
    smooth = _smoothed(scale.normalise(volume.image), smoothing)
    body = Body.of(volume).mask
    inside = smooth[:, body if body.any() else np.ones_like(body)].T
    return np.asarray(inside[rng.integers(len(inside), size=min(_VOXELS_PER_CASE, len(inside)))])


def _smoothed(image: np.ndarray, deviation: float) -> np.ndarray:
    """Slice by slice."""
    return np.asarray(ndimage.gaussian_filter(image, (0.0, deviation, deviation, 0.0)))


def _nearest(voxels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    distance = [((voxels - centre) ** 2).sum(axis=1) for centre in centres]
    return np.asarray(np.argmin(distance, axis=0), dtype=np.uint8)


def _lloyd(
    voxels: Float[np.ndarray, "n C"],
    weights: Float[np.ndarray, " n"],
    centres: Float[np.ndarray, "k C"],
    rounds: int,
) -> Float[np.ndarray, "k C"]:
    """k-means from given centres; a cluster that loses all its voxels stays where it is."""
    centres = np.array(centres, dtype=np.float64)
    for _ in range(rounds):
        nearest = _nearest(voxels, centres)
        total = np.bincount(nearest, weights, len(centres))
        for channel in range(voxels.shape[1]):
            sums = np.bincount(nearest, weights * voxels[:, channel], len(centres))
            centres[:, channel] = np.where(total > 0, sums / np.maximum(total, 1e-12), centres[:, channel])
    return centres


def _filled(labels: Labels, hidden: Mask) -> Labels:
    """The labels with hidden voxels, and the blurred rim around them, replaced by the nearest others."""
    grown = ndimage.binary_dilation(hidden, np.ones((3, 3, 1), dtype=bool), iterations=2)
    if grown.all():
        return labels
    rows = ndimage.distance_transform_edt(
        grown, sampling=(1, 1, 4), return_distances=False, return_indices=True
    )
    return np.asarray(labels[tuple(rows)])


def _without_crumbs(labels: Labels, smallest: int) -> Labels:
    """Small parts, slice by slice, take the label of what is nearest to them."""
    small = np.zeros(labels.shape, dtype=bool)
    for k in range(labels.shape[2]):
        plane = labels[..., k]
        for value in np.unique(plane):
            parts, _ = ndimage.label(plane == value)
            small[..., k] |= (np.bincount(parts.ravel())[parts] < smallest) & (parts > 0)
    if not small.any() or small.all():
        return labels
    rows = ndimage.distance_transform_edt(
        small, sampling=(1, 1, 1000), return_distances=False, return_indices=True
    )
    return np.asarray(labels[tuple(rows)])
