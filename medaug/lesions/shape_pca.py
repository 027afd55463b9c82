"""Shapes from the principal components of signed distance maps (Leventon et al., CVPR 2000; Tsai et al., IEEE TMI 2003)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float32

from medaug.lesions.distance_maps import FARTHEST, Map

_EXPLAINED = 0.98  # of the variance; what is left is grid noise
_FARTHEST_DEVIATIONS = 2.0


@final
@dataclass(frozen=True, slots=True, eq=False)
class PcaShapes:
    """A mean map and the components in which lesions differ from it.

    Attributes:
        mean: (*S) map.
        components: (k, *S) each times the standard deviation along it.
    """

    mean: Map
    components: Float32[np.ndarray, "k *S"]

    @staticmethod
    def fit(maps: Float32[np.ndarray, "n *S"], lesions: int) -> PcaShapes:
        """Fit to maps; at most a third as many components as lesions, and no more than explain nearly all variance.

        Args:
            maps: As of :func:`medaug.lesions.distance_maps.maps_of`, at least one.
            lesions: Of how many lesions the maps are.
        """
        flat = maps.reshape(len(maps), -1).astype(np.float64)
        mean = flat.mean(axis=0)
        _, sizes, rows = np.linalg.svd(flat - mean, full_matrices=False)
        total = float((sizes**2).sum())
        needed = 1 + int(np.searchsorted(np.cumsum(sizes**2), _EXPLAINED * total)) if total > 0 else 0
        kept = min(lesions // 3, needed, len(sizes))
        components = rows[:kept] * sizes[:kept, None] / np.sqrt(max(len(maps) - 1, 1))
        shape = maps.shape[1:]
        return PcaShapes(
            mean.reshape(shape).astype(np.float32), components.reshape(kept, *shape).astype(np.float32)
        )

    def sample(self, rng: np.random.Generator) -> Map:
        """A new map: each component drawn from its normal distribution, within two deviations."""
        shares = _within(rng, len(self.components))
        drawn = self.mean + np.tensordot(shares, self.components, axes=1)
        return np.asarray(np.clip(drawn, -FARTHEST, FARTHEST), dtype=np.float32)


def _within(rng: np.random.Generator, count: int) -> Float[np.ndarray, " k"]:
    """Normal draws, those beyond two deviations drawn again."""
    shares = rng.standard_normal(count)
    while (far := np.abs(shares) > _FARTHEST_DEVIATIONS).any():
        shares[far] = rng.standard_normal(int(far.sum()))
    return np.asarray(shares)
