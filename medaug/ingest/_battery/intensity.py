"""Checks of intensities against what they are said to mean.

Hounsfield units: air is -1000 and water 0 by definition; scanners store -1024 to 3071, with an extended scale up to
about 31743 for metal (DICOM PS3.3 C.11.1.1.2 names the unit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from medaug.core.findings import Code, Finding, finding
from medaug.core.volume import Unit, Volume

_SAMPLE = 1 << 20
_LOWEST_AIR_HU, _HIGHEST_HU, _UNCUT_AIR_HU = -1100.0, 31743.0, -900.0
_GREYS = 255.0
_LEAST_HU_RANGE = 20.0
_LOW_SHARE = 1e-4
_CLIPPED_SHARE, _CLIPPED_JUMP, _BAND = 0.01, 5.0, 0.01
_PADDING_VALUES, _PADDING_SHARE = 32, 0.9


@final
@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What one channel's values are.

    Attributes:
        channel: Its name, empty where the case has one only.
        low: The lowest value.
        high: The highest value.
        at_low: Voxels that have it.
        at_high: Voxels that have it.
        sample: Values of a regular sample of at most 2**20 voxels, sorted.
        stride: Every how many voxels the sample holds one.
    """

    channel: str
    low: float
    high: float
    at_low: int
    at_high: int
    sample: Float[np.ndarray, " n"]
    stride: int

    @staticmethod
    def of(volume: Volume) -> tuple[Levels, ...]:
        """The levels of every channel; finite images only."""
        several = len(volume.channels) > 1
        return tuple(
            _levels(name if several else "", channel)
            for name, channel in zip(volume.channels, volume.image, strict=True)
        )

    @property
    def where(self) -> str:
        """The channel in words, before what is said of it."""
        return f"channel {self.channel}: " if self.channel else ""

    def share_below(self, value: float) -> float:
        """Share of the voxels below a value."""
        return float(np.searchsorted(self.sample, value)) / self.sample.size

    def share_at(self, value: float, count: int) -> float:
        """Share of the voxels with a value among those that are not the lowest."""
        rest = self.sample.size * self.stride - (self.at_low if value == self.high else 0)
        return count / max(rest, 1)

    def is_cut(self, value: float, count: int) -> bool:
        """Whether far more voxels have the extreme value than each value right beside it."""
        if self.share_at(value, count) <= _CLIPPED_SHARE:
            return False
        band = _BAND * (self.high - self.low)
        inside = (self.sample >= value - band) & (self.sample <= value + band) & (self.sample != value)
        beside = self.sample[inside]
        usual = self.stride * beside.size / max(np.unique(beside).size, 1)
        return bool(count > _CLIPPED_JUMP * usual)


def _levels(name: str, channel: np.ndarray) -> Levels:
    low, high = float(channel.min()), float(channel.max())
    stride = -(-channel.size // _SAMPLE)
    sample = np.sort(channel.reshape(-1)[::stride])
    at_low, at_high = (int(np.count_nonzero(channel == value)) for value in (low, high))
    return Levels(name, low, high, at_low, at_high, sample, stride)


def check_hu(levels: Levels, unit: Unit, case_id: str) -> Finding | None:
    """``not-hu``: values said to be HU that never fall below water, span next to nothing, or are display greys."""
    if unit is not Unit.HU:
        return None
    span = f"{levels.where}values from {levels.low:g} to {levels.high:g}"
    if levels.high - levels.low < _LEAST_HU_RANGE:
        message = f"{span} were normalised and are no HU; ingest the original values"
        return finding(Code.NOT_HU, "refused", message, case_id)
    if levels.low < 0:
        return None
    if levels.high <= _GREYS:
        message = f"{span} are display greys and no HU; ingest the original values, or say --modality OT"
        return finding(Code.NOT_HU, "refused", message, case_id)
    air_at_zero = levels.share_below(100.0) > 0.05 and levels.high > 1000.0
    message = f"{span} never fall below water; a rescale intercept such as -1024 may be missing"
    return finding(Code.NOT_HU, "refused" if air_at_zero else "flagged", message, case_id)


def check_hu_range(levels: Levels, unit: Unit, case_id: str) -> Finding | None:
    """``hu-range``: values below air that are no padding, or above what any scanner stores."""
    if unit is not Unit.HU:
        return None
    if levels.high > _HIGHEST_HU:
        message = f"{levels.where}values reach {levels.high:g} HU; expected at most {_HIGHEST_HU:g}; check slope and intercept"
        return finding(Code.HU_RANGE, "flagged", message, case_id)
    share = levels.share_below(_LOWEST_AIR_HU)
    if share <= _LOW_SHARE or _is_padding(levels):
        return None
    message = f"{levels.where}{share:.1%} of the values lie below {_LOWEST_AIR_HU:g} HU; air is -1000; check slope and intercept"
    return finding(Code.HU_RANGE, "flagged", message, case_id)


def check_padding(levels: Levels, unit: Unit, case_id: str) -> Finding | None:
    """``padding``: a few constants far below everything else fill what the scanner did not see."""
    if unit is Unit.HU:
        share = levels.share_below(_LOWEST_AIR_HU)
        found = share > _LOW_SHARE and _is_padding(levels)
    else:
        share = levels.at_low / (levels.sample.size * levels.stride)
        above = levels.sample[levels.sample > levels.low]
        found = share > _LOW_SHARE and above.size > 0 and above[0] - levels.low > levels.high - above[0] > 0
    if not found:
        return None
    message = (
        f"{levels.where}padding down to {levels.low:g} fills {share:.1%} of the image; clip it before use"
    )
    return finding(Code.PADDING, "flagged", message, case_id)


def _is_padding(levels: Levels) -> bool:
    """Whether most values below air are a few constants."""
    below = levels.sample[: np.searchsorted(levels.sample, _LOWEST_AIR_HU)]
    counts = np.sort(np.unique(below, return_counts=True)[1])[::-1]
    return bool(counts[:_PADDING_VALUES].sum() >= _PADDING_SHARE * below.size) and below.size > counts.size


def check_negative(levels: Levels, modality: str, case_id: str) -> Finding | None:
    """``negative-intensity``: magnitude images of MR have none."""
    share = levels.share_below(0.0)
    if modality != "MR" or levels.low >= 0:
        return None
    mean, deviation = float(levels.sample.mean()), float(levels.sample.std())
    normalised = abs(mean) < 0.5 * deviation and deviation < 10.0
    why = (
        "it seems normalised"
        if normalised
        else "it may have been resampled, be a phase image, or have lost its sign bit"
    )
    message = f"{levels.where}{share:.1%} of the values are negative, down to {levels.low:g}; {why}"
    return finding(Code.NEGATIVE_INTENSITY, "flagged", message, case_id)


def check_clipped(levels: Levels, unit: Unit, case_id: str) -> Finding | None:
    """``clipped-range``: many voxels share the highest value, or in HU a lowest one above air."""
    if levels.is_cut(levels.high, levels.at_high):
        share = levels.share_at(levels.high, levels.at_high)
        message = f"{levels.where}{share:.1%} of the values are the highest, {levels.high:g}: the range was cut off there"
        return finding(Code.CLIPPED_RANGE, "flagged", message, case_id)
    if unit is Unit.HU and levels.low > _UNCUT_AIR_HU and levels.is_cut(levels.low, levels.at_low):
        share = levels.share_at(levels.low, levels.at_low)
        message = f"{levels.where}{share:.1%} of the values are the lowest, {levels.low:g}: the range was cut off there"
        return finding(Code.CLIPPED_RANGE, "flagged", message, case_id)
    return None
