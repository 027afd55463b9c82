"""How typical a lesion is of its class: its distance among the radiological features of real lesions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, final

import numpy as np
from jaxtyping import Float

from medaug.core.seeding import SeedTree
from medaug.quality.features import Features, Standardiser
from medaug.quality.groups import FEWEST, parts_by_patient
from medaug.quality.samples import LesionSample, figures_of

Values = Float[np.ndarray, " _"]
_FEWEST_OF_CLASS: Final = 10  # training lesions that a class's own distances are compared with
_PARTS: Final = 5
_LIMIT: Final = 5.0  # deviations: beyond, a figure is odd, no matter how far


@final
class _ClassCentres:
    """Class medians of radiological features, and Mahalanobis distances of lesions to that of their class.

    Args:
        samples: Real lesions; at least one.
    """

    def __init__(self, samples: Sequence[LesionSample]) -> None:
        figures = figures_of(samples)
        self._scale = Standardiser.fitted_on(figures)
        rows = self._rows(figures)
        names = np.asarray([sample.class_name for sample in samples])
        counts = Counter(names.tolist())
        self._middle = {
            name: np.median(rows[names == name], axis=0) for name, n in counts.items() if n >= FEWEST
        }
        self._any = np.median(rows, axis=0)
        off = rows - np.stack([self._middle.get(name, self._any) for name in names.tolist()])
        self._whiten = np.linalg.inv(np.linalg.cholesky(shrunk(off)))

    def _rows(self, figures: Features) -> Features:
        return np.asarray(np.clip(self._scale.apply(figures), -_LIMIT, _LIMIT))

    def distances(self, samples: Sequence[LesionSample]) -> Values:
        """Of lesions to the middle of their class."""
        if not samples:
            return np.zeros(0)
        middles = np.stack([self._middle.get(sample.class_name, self._any) for sample in samples])
        off = self._rows(figures_of(samples)) - middles
        return np.asarray(np.linalg.norm(off @ self._whiten.T, axis=1))


@final
class Typicality:
    """How typical a lesion is of its class, by Mahalanobis distance on radiological features.

    The centre is the median of the class's training lesions; the covariance is that within all classes, shrunk (oracle
    approximating, Chen et al., IEEE Trans Signal Process 2010), since a rare class has fewer lesions than there are
    features. A distance is compared with those of the training lesions of the class, or of all where it has fewer than
    ten, each cross-fitted: to centres and a covariance that its patient's part had no share in.

    Args:
        training: Real lesions of the training patients; at least one.
        seed: Of the dealing to parts.
    """

    def __init__(self, training: Sequence[LesionSample], seed: SeedTree) -> None:
        self._centres = _ClassCentres(training)
        far = self._left_out(training, seed)
        of = np.asarray([sample.class_name for sample in training])
        self._usual = {
            name: np.sort(far[of == name])
            for name, n in Counter(of.tolist()).items()
            if n >= _FEWEST_OF_CLASS
        }
        self._usual_any = np.sort(far)

    def _left_out(self, training: Sequence[LesionSample], seed: SeedTree) -> Values:
        """Cross-fitted distances of the training lesions; of one patient alone, not cross-fitted."""
        parts = parts_by_patient([sample.patient_id for sample in training], _PARTS, seed.rng())
        if len(np.unique(parts)) == 1:
            return self._centres.distances(training)
        far = np.zeros(len(training))
        for part in np.unique(parts):
            rows = np.flatnonzero(parts == part)
            others = [training[int(row)] for row in np.flatnonzero(parts != part)]
            far[rows] = _ClassCentres(others).distances([training[int(row)] for row in rows])
        return far

    def shares(self, samples: Sequence[LesionSample]) -> Values:
        """Share of real lesions that lie at least as far out, the lesion itself counted, so that it is never 0."""
        found = []
        for sample, distance in zip(samples, self._centres.distances(samples), strict=True):
            usual = self._usual.get(sample.class_name, self._usual_any)
            farther = len(usual) - int(np.searchsorted(usual, distance))
            found.append((farther + 1) / (len(usual) + 1))
        return np.asarray(found)


def shrunk(off: Features) -> Float[np.ndarray, "F F"]:
    """Covariance of deviations, shrunk towards equal variances so that it can be inverted.

    Args:
        off: (N, F) deviations from the middle.
    """
    n, p = off.shape
    plain = off.T @ off / n
    level = float(np.trace(plain)) / p
    alpha = float(np.square(plain).mean())
    least = (n + 1) * (alpha - level**2 / p)
    share = 1.0 if least <= 0 else min(1.0, (alpha + level**2) / least)
    return np.asarray((1 - share) * plain + (share * level + 1e-9) * np.eye(p))
