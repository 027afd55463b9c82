"""Intensities as 16-bit whole numbers: without loss where steps of one size can hold them, else in the finest that fit.

CT and MR Image Storage hold 16 bits a pixel (PS3.3 C.8.2.1.1.4, C.8.3.1.1.4). What is read back is
``stored * slope + intercept``, computed in float64 and rounded once to float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float32, Integer

from medaug.core.errors import UnreadableError
from medaug.core.volume import Unit
from medaug.layouts._dicom.placing import text

MOST_STEPS: Final = 65535
# the finest power of two that 16 characters hold exactly (PS3.5 6.2, DS)
_FINEST_POWER: Final = -17
_SAMPLE: Final = 1 << 17
_AIR_HU: Final = -1024
_DIGITS: Final = range(2, 16)
_FLOAT_BITS: Final = 24
_WINDOW_SHARES: Final = (0.005, 0.995)


@final
@dataclass(frozen=True, slots=True)
class Coding:
    """How whole numbers become values: stored x slope + intercept; both are written in 16 characters without loss."""

    slope: float
    intercept: float
    dtype: np.dtype

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The whole numbers closest to values."""
        limits = np.iinfo(self.dtype)
        steps = (values.astype(np.float64) - self.intercept) / self.slope
        return np.asarray(np.clip(np.rint(steps), limits.min, limits.max).astype(self.dtype))

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """The float32 values that a reader makes of whole numbers."""
        return (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)

    def loss(self, values: np.ndarray, stored: np.ndarray) -> float:
        """The most by which a value differs from what its whole number gives back."""
        return float(np.abs(self.decode(stored).astype(np.float64) - values).max())


@final
@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """An image as it stands in the pixels of a series.

    Attributes:
        frames: (slice, row, column) int16 or uint16.
        coding: From these back to intensities.
        loss: The most by which an intensity was changed; 0 where none was.
        window: Centre and width of what is to be seen, in intensities.
    """

    frames: Integer[np.ndarray, "S R C"]
    coding: Coding
    loss: float
    window: tuple[float, float]


def store(frames: Float32[np.ndarray, "S R C"], unit: Unit) -> Stored:
    """Intensities as 16-bit whole numbers.

    Whole numbers, fractions of a power of two, and multiples of any one step (what a rescale slope once made) are kept
    exactly, where their range takes no more than 65536 of them. Other values are rounded to the finest power of two whose
    steps span their range: by at most half a step, while whole numbers among them stay as they are.

    Args:
        frames: (slice, row, column) intensities.
        unit: Hounsfield units count from air, as scanners have it.

    Raises:
        UnreadableError: If a value is not finite.
    """
    low, high = float(frames.min()), float(frames.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UnreadableError("image holds values that are not finite", expected="numbers")
    # an odd stride, so that no column is met again and again
    sample = frames.reshape(-1)[:: (frames.size // _SAMPLE) | 1]
    starts = _starts(low, unit)
    for coding in _exact(sample, starts, (low, high)):
        stored, loss = _encoded(frames, coding, most=0.0)
        if not loss:
            return Stored(stored, coding, loss, _window(sample))
    coding = _finest(starts, (low, high))
    stored, loss = _encoded(frames, coding, most=math.inf)
    return Stored(stored, coding, loss, _window(sample))


def _encoded(frames: np.ndarray, coding: Coding, *, most: float) -> tuple[np.ndarray, float]:
    """Whole numbers and the most that a value lost; given up at the first frame that loses more than ``most``."""
    stored = np.empty(frames.shape, coding.dtype)
    loss = 0.0
    for one, into in zip(frames, stored, strict=True):
        into[:] = coding.encode(one)
        loss = max(loss, coding.loss(one, into))
        if loss > most:
            break
    return stored, loss


def _starts(low: float, unit: Unit) -> tuple[float, ...]:
    """Intercepts to try; the last one always fits."""
    starts = (0.0, float(math.floor(low)), float(f"{low:.7g}"), decimal(low))
    return (float(_AIR_HU), *starts) if unit is Unit.HU and low >= _AIR_HU else starts


def _exact(sample: np.ndarray, starts: Sequence[float], ends: tuple[float, float]) -> Iterator[Coding]:
    """Codings that lose nothing of a sample."""
    slopes = (1.0, *_lowest_bit(sample))
    likely = [coding for slope in slopes for coding in _spanning(slope, starts, ends)]
    distinct = np.unique(sample).astype(np.float64)
    if 1 < distinct.size <= MOST_STEPS + 1:
        step = _common_step(distinct)
        for start in starts:
            likely += [
                one for slope in _slope(distinct, step, start) for one in _spanning(slope, (start,), ends)
            ]
    for coding in likely:
        if not coding.loss(sample, coding.encode(sample)):
            yield coding


def _lowest_bit(sample: np.ndarray) -> Iterator[float]:
    """The lowest binary digit that any value of a sample has, if 16 characters hold it."""
    mantissa, exponent = np.frexp(sample[sample != 0].astype(np.float64))
    if mantissa.size:
        bits = np.abs(mantissa * (1 << _FLOAT_BITS)).astype(np.int64)
        lowest = int((np.log2((bits & -bits).astype(np.float64)) + exponent).min()) - _FLOAT_BITS
        if lowest >= _FINEST_POWER:
            yield math.ldexp(1.0, lowest)


def _common_step(distinct: np.ndarray) -> float:
    """The step between sorted values, told ever more sharply over ever longer distances."""
    gaps, nearest = distinct - distinct[0], np.diff(distinct)
    step = float(nearest[nearest < 1.5 * nearest.min()].mean())
    reach = 8
    while reach < 8 * MOST_STEPS:
        far = float(gaps[np.searchsorted(gaps, reach * step, side="right") - 1])
        step = far / round(far / step) if far >= step else step
        reach *= 2
    return step


def _slope(distinct: np.ndarray, step: float, start: float) -> Iterator[float]:
    """The shortest number that gives every value back when multiplied, if there is one near a step.

    A float32 stands for the interval of numbers that are rounded to it; each value bounds the slope from both sides.
    """
    counts = np.rint((distinct - start) / step)
    counted = counts != 0
    half = np.spacing(np.abs(distinct[counted]).astype(np.float32)).astype(np.float64) / 2
    sides = (distinct[counted] - start + np.array([[-1.0], [1.0]]) * half) / counts[counted]
    if not sides.size:
        return
    least, most = float(sides.min(axis=0).max()), float(sides.max(axis=0).min())
    middle = (least + most) / 2
    shortened = (decimal(float(f"{middle:.{digits}g}")) for digits in _DIGITS)
    yield from [slope for slope in shortened if 0 < least <= slope <= most][:1]


def _spanning(slope: float, starts: Sequence[float], ends: tuple[float, float]) -> Iterator[Coding]:
    """Ways to let 16 bits span a range in steps of one size."""
    for start in dict.fromkeys(starts):
        first, last = (round((end - start) / slope) for end in ends)
        if first >= 0 and last <= MOST_STEPS:
            yield Coding(slope, start, np.dtype(np.uint16))
        elif first >= -(MOST_STEPS // 2) and last <= MOST_STEPS // 2:
            yield Coding(slope, start, np.dtype(np.int16))


def _finest(starts: Sequence[float], ends: tuple[float, float]) -> Coding:
    """The finest steps that span a range: a power of two, or, for the smallest ranges, any number."""
    low, high = ends
    power = math.ceil(math.log2((high - low) / MOST_STEPS)) if high > low else 0
    finest = math.ldexp(1.0, power)
    for slope in (finest, 2 * finest) if decimal(finest) == finest else ():
        found = next(_spanning(slope, starts, ends), None)
        if found is not None:
            return found
    # a little more than the range, since both numbers are rounded to 16 characters
    return Coding(decimal((high - low) / (MOST_STEPS - 1)), decimal(low), np.dtype(np.uint16))


def _window(sample: np.ndarray) -> tuple[float, float]:
    """Centre and width (PS3.3 C.11.2.1.2) of all but the darkest and the brightest half a percent."""
    low, high = (float(one) for one in np.quantile(sample, _WINDOW_SHARES))
    return (low + high) / 2, high - low if high > low else 1.0


def decimal(value: float) -> float:
    """A number as its decimal string gives it back."""
    return float(text(value))
