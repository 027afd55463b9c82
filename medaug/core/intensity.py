"""Normalised intensities: one linear map a case, so that lesions travel between scanners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Real
from pydantic import Field

from medaug.core.config import Frozen
from medaug.core.volume import Unit, Volume

Intensities = Float[np.ndarray, "C *S"]

_CT_WINDOW_HU = (-1024.0, 1500.0)
_CT_MAP = (-400.0, 500.0)
# ITU-R BT.601 section 2.5.1, in thousandths: whole numbers keep grey pixels exact
_LUMINANCE = (299, 587, 114)


def luminance(colours: Real[np.ndarray, "*S 3"]) -> Float[np.ndarray, "*S"]:
    """Luminance of red, green and blue (ITU-R BT.601), float32; a pixel with R = G = B keeps exactly its value."""
    # 32 bits times a thousand do not fit the type they came in; a double holds them exactly
    red, green, blue = (colours[..., n].astype(np.float64) * weight for n, weight in enumerate(_LUMINANCE))
    return np.asarray((red + green + blue) / sum(_LUMINANCE), dtype=np.float32)


@final
@dataclass(frozen=True, slots=True)
class CaseScale:
    """The linear map of one case between native units and normalised ones, a channel each.

    Attributes:
        offset: Native value that becomes 0.
        factor: Native units for one normalised unit.
        low: Smallest native value the map lets through.
        high: Largest native value the map lets through.
    """

    offset: tuple[float, ...]
    factor: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def normalise(self, image: Intensities) -> Intensities:
        """Native (C, ...) to normalised float32, clipped to low..high first."""
        tail = (-1,) + (1,) * (image.ndim - 1)
        offset, factor, low, high = (
            np.asarray(v, np.float32).reshape(tail) for v in (self.offset, self.factor, self.low, self.high)
        )
        return np.asarray((np.clip(image, low, high) - offset) / factor, dtype=np.float32)

    def restore(self, normalised: Intensities) -> Intensities:
        """Normalised (C, ...) back to native units, float32."""
        tail = (-1,) + (1,) * (normalised.ndim - 1)
        offset, factor = (np.asarray(v, np.float32).reshape(tail) for v in (self.offset, self.factor))
        return np.asarray(normalised * factor + offset, dtype=np.float32)


@final
class IntensityScheme(Frozen):
    """How cases are normalised; fitted on the training patients of a fold and kept in the checkpoint.

    CT (HU) uses one fixed map for all cases, since HU mean the same everywhere; other units are scaled
    case by case to zero mean and unit deviation inside the body (voxels above the case's own background),
    as nnU-Net does (Isensee et al., Nat Methods 2021).
    """

    unit: Unit
    channels: tuple[str, ...]
    offset: tuple[float, ...] = Field(description="used for HU and SUV; per case otherwise")
    factor: tuple[float, ...]

    @staticmethod
    def for_volume(volume: Volume) -> IntensityScheme:
        """The scheme that suits a volume's unit; HU: -1024..1500 with 0 at -400 HU and 500 HU a unit."""
        return IntensityScheme.fixed(volume.unit, volume.channels)

    @staticmethod
    def fixed(unit: Unit, channels: tuple[str, ...]) -> IntensityScheme:
        """The scheme of a unit; no number of it is of any patient."""
        offset, factor = _CT_MAP if unit is Unit.HU else (0.0, 1.0)
        n = len(channels)
        return IntensityScheme(unit=unit, channels=channels, offset=(offset,) * n, factor=(factor,) * n)

    def case_scale(self, volume: Volume) -> CaseScale:
        """The map of one case; always computed on the whole case, never on a crop."""
        n = len(self.channels)
        if self.unit is Unit.HU:
            return CaseScale(self.offset, self.factor, (_CT_WINDOW_HU[0],) * n, (_CT_WINDOW_HU[1],) * n)
        rows = [_body_statistics(channel) for channel in volume.image]
        return CaseScale(*(tuple(row[n] for row in rows) for n in range(4)))


def _body_statistics(channel: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, deviation and 0.1 / 99.9 percentile limits of the voxels above background."""
    low, high = (float(v) for v in np.percentile(channel, (0.1, 99.9)))
    body = channel[channel > low + 0.05 * (high - low)]
    if body.size < 2 or high <= low:
        return float(channel.mean()), 1.0, float(channel.min()), float(channel.max()) + 1.0
    margin = 0.5 * (high - low)
    return float(body.mean()), max(float(body.std()), 1e-6), min(low, float(channel.min())), high + margin
