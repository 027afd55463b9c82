"""Intensities as whole numbers: kept where 16 bits can hold them, else within the bound that is stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medaug.core.errors import UnreadableError
from medaug.core.volume import Unit
from medaug.layouts._dicom.stored import MOST_STEPS, decimal, store

SHAPE = (6, 16, 20)


def counts(low: int, high: int) -> np.ndarray:
    values = np.random.default_rng(1).integers(low, high, SHAPE)
    values.flat[:2] = low, high - 1
    return values


@pytest.mark.parametrize(
    ("low", "high", "unit", "intercept", "dtype"),
    [
        (-1024, 3000, Unit.HU, -1024, np.uint16),
        (-3000, 3000, Unit.HU, 0, np.int16),
        (0, MOST_STEPS + 1, Unit.ARBITRARY, 0, np.uint16),
        (-300, 4000, Unit.ARBITRARY, 0, np.int16),
        (5, 9, Unit.ARBITRARY, 0, np.uint16),
        (100_000, 100_009, Unit.ARBITRARY, 100_000, np.uint16),
    ],
)
def test_whole_numbers_have_slope_1(low: int, high: int, unit: Unit, intercept: int, dtype: type) -> None:
    stored = store(counts(low, high).astype(np.float32), unit)
    assert (stored.coding.slope, stored.coding.intercept) == (1, intercept)
    assert stored.frames.dtype == dtype
    assert stored.loss == 0


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [
        (0.25, 0),
        (4, 0),
        (1.2345, 0),
        (0.037, -3.5),
        (2.0878388278388, 0),
        (1 / 3, 0),
        (1e-5, 7),
        (0.1, 100.3),
    ],
)
def test_values_of_a_rescale_are_kept_exactly(slope: float, intercept: float) -> None:
    image = (counts(0, 4096) * decimal(slope) + intercept).astype(np.float32)
    stored = store(image, Unit.ARBITRARY)
    assert stored.loss == 0
    assert np.array_equal(stored.coding.decode(stored.frames), image)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.25, 1e-12, 3e20])
def test_a_flat_image_is_kept_exactly(value: float) -> None:
    image = np.full(SHAPE, value, np.float32)
    stored = store(image, Unit.ARBITRARY)
    assert np.array_equal(stored.coding.decode(stored.frames), image)
    assert stored.window[1] > 0


@settings(max_examples=60, deadline=None)
@given(
    middle=st.floats(-1e4, 1e4), power=st.integers(-12, 12), seed=st.integers(0, 2**32 - 1), hu=st.booleans()
)
# 2**-17, which takes 16 characters with the exponent e-6 and 17 with e-06
@example(middle=65.0, power=-2, seed=0, hu=False)
def test_other_values_lose_no_more_than_is_said(middle: float, power: int, seed: int, hu: bool) -> None:
    image = np.random.default_rng(seed).normal(middle, 10.0**power, SHAPE).astype(np.float32)
    stored = store(image, Unit.HU if hu else Unit.ARBITRARY)
    found, coding = stored.coding.decode(stored.frames), stored.coding
    assert np.abs(found - image.astype(np.float64)).max() == stored.loss
    rounding = float(np.spacing(np.abs(image).max()))
    assert stored.loss <= coding.slope / 2 + rounding
    # within a factor of two of the finest steps there are, where float32 itself is no coarser
    span = float(image.max()) - float(image.min())
    assert stored.loss <= max(span / MOST_STEPS, rounding) * 1.01
    assert (decimal(coding.slope), decimal(coding.intercept)) == (coding.slope, coding.intercept)
    again = store(found, Unit.HU if hu else Unit.ARBITRARY)
    assert np.array_equal(again.coding.decode(again.frames), found)


def test_whole_numbers_among_others_stay() -> None:
    image = counts(-1024, 3000).astype(np.float32)
    edited = image.copy()
    edited[2, 4:8, 4:8] += np.random.default_rng(2).random((4, 4), np.float32)
    stored = store(edited, Unit.HU)
    changed = stored.coding.decode(stored.frames) != image
    assert 0 < stored.loss <= 1 / 32
    assert not changed[edited == image].any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    image = np.zeros(SHAPE, np.float32)
    image[1, 2, 3] = value
    with pytest.raises(UnreadableError, match="not finite"):
        store(image, Unit.HU)
