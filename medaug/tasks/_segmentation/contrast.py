"""CT scaled by the grey values of the lesions themselves, as nnU-Net does (Isensee et al., Nat Methods 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np
from jaxtyping import Float, Float32
from pydantic import Field

from medaug.core.case import Case
from medaug.core.config import Frozen
from medaug.core.intensity import IntensityScheme

_PERCENTILES: Final = (0.5, 99.5)
_VOXELS: Final = 10_000  # of each case: more change nothing but time


@final
class Foreground(Frozen):
    """Grey values of labelled voxels in all training cases, a channel each, in the scheme's normalised units."""

    low: tuple[float, ...] = Field(description="0.5th percentile; smaller values are raised to it")
    high: tuple[float, ...] = Field(description="99.5th percentile; larger values are lowered to it")
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def scale(self, image: Float32[np.ndarray, "C *S"]) -> Float32[np.ndarray, "C *S"]:
        """Clip to the percentiles, then to mean 0 and deviation 1."""
        low, high, mean, deviation = (
            np.asarray(values, np.float32).reshape(-1, *(1,) * (image.ndim - 1))
            for values in (self.low, self.high, self.mean, self.deviation)
        )
        return np.asarray((np.clip(image, low, high) - mean) / deviation, dtype=np.float32)


def take_foreground(cases: Sequence[Case], scheme: IntensityScheme) -> Foreground | None:
    """From every so many-th labelled voxel of each case; None where none is labelled."""
    parts = [_labelled(case, scheme) for case in cases if case.label_map is not None]
    values = np.concatenate(parts, axis=1) if parts else np.empty((0, 0))
    if not values.size:
        return None
    low, high = np.percentile(values, _PERCENTILES, axis=1)
    return Foreground(
        low=_rounded(low),
        high=_rounded(high),
        mean=_rounded(values.mean(axis=1)),
        deviation=_rounded(np.maximum(values.std(axis=1), 1e-3)),
    )


def _labelled(case: Case, scheme: IntensityScheme) -> Float[np.ndarray, "C N"]:
    if case.label_map is None:
        return np.empty((len(case.volume.channels), 0))
    inside = case.volume.image[:, case.label_map.labels > 0]
    some = inside[:, :: max(1, -(-inside.shape[1] // _VOXELS))]
    return (case.scale or scheme.case_scale(case.volume)).normalise(some)


def _rounded(values: Float[np.ndarray, "C"]) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
