"""Realism and diversity: how far synthetic lesions lie from held-out real ones, against the real-to-real floor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from medaug.core.assessment import ClassQuality
from medaug.quality.features import Features, Standardiser
from medaug.quality.samples import LesionSample

_FEWEST = 5
_HALVINGS = 50


def kernel_distance(first: Features, second: Float[np.ndarray, "M F"]) -> float:
    """Squared maximum mean discrepancy with the cubic polynomial kernel, unbiased; may fall below 0.

    The estimate of Gretton et al. (JMLR 2012) with the kernel of the kernel inception distance (Binkowski et al.,
    ICLR 2018).

    Args:
        first: (N, F) standardised features, N at least 2.
        second: (M, F), M at least 2.
    """
    within_first, within_second = polynomial_kernel(first, first), polynomial_kernel(second, second)
    n, m = len(first), len(second)
    own = (within_first.sum() - np.trace(within_first)) / (n * (n - 1))
    other = (within_second.sum() - np.trace(within_second)) / (m * (m - 1))
    return float(own + other - 2.0 * polynomial_kernel(first, second).mean())


def polynomial_kernel(first: Features, second: Float[np.ndarray, "M F"]) -> Float[np.ndarray, "N M"]:
    """``(x . y / F + 1) ** 3`` of all pairs."""
    return np.asarray((first @ second.T / first.shape[1] + 1.0) ** 3)


def diversity(samples: Sequence[LesionSample]) -> float | None:
    """1 - mean correlation over all pairs of lesion patches; None for fewer than two lesions."""
    if len(samples) < 2:
        return None
    patches = np.stack([sample.patch.ravel() for sample in samples]).astype(np.float64)
    patches -= patches.mean(axis=1, keepdims=True)
    patches /= np.maximum(np.linalg.norm(patches, axis=1, keepdims=True), 1e-9)
    n = len(patches)
    together = float(np.square(np.linalg.norm(patches.sum(axis=0)))) - float(np.square(patches).sum())
    return 1.0 - together / (n * (n - 1))


def real_floor(features: Features, patient_ids: Sequence[str], rng: np.random.Generator) -> float | None:
    """Mean kernel distance between two random halves of the patients' real lesions.

    None if there are not two halves of at least five lesions.
    """
    owners = np.asarray(patient_ids)
    patients = np.unique(owners)
    distances = []
    for _ in range(_HALVINGS):
        chosen = np.isin(owners, rng.permutation(patients)[: len(patients) // 2])
        if min(chosen.sum(), (~chosen).sum()) >= _FEWEST:
            distances.append(kernel_distance(features[chosen], features[~chosen]))
    return float(np.mean(distances)) if distances else None


def class_quality(
    class_name: str,
    synthetic: Sequence[LesionSample],
    training: Sequence[LesionSample],
    held_out: Sequence[LesionSample],
    rng: np.random.Generator,
) -> ClassQuality:
    """Realism and diversity of one class.

    Features are standardised on the training lesions of all classes, so that classes can be compared.
    """
    scale = Standardiser.fitted_on(_figures(training))
    made = [sample for sample in synthetic if sample.class_name == class_name]
    kept = [sample for sample in held_out if sample.class_name == class_name]
    real = [sample for sample in (*training, *held_out) if sample.class_name == class_name]
    enough = min(len(made), len(kept)) >= _FEWEST
    distance = kernel_distance(scale.apply(_figures(made)), scale.apply(_figures(kept))) if enough else None
    floor = real_floor(scale.apply(_figures(real)), [s.patient_id for s in real], rng) if real else None
    return ClassQuality(
        class_name=class_name, n_synthetic=len(made), n_real=len(kept),
        feature_distance=distance, real_floor=floor, diversity=diversity(made),
    )  # fmt: skip


def _figures(samples: Sequence[LesionSample]) -> Features:
    return np.stack([sample.figures for sample in samples])
