"""What the statistics keep whatever the values."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medaug.core.seeding import SeedTree
from medaug.experiments.curves import Curve, monotone
from medaug.experiments.means import achieved_coverage, mean_interval, mean_p
from medaug.experiments.statistics import holm

SEED = SeedTree(3)
# Dice differences: thousandths, zeros among them
differences = st.integers(2, 12).flatmap(
    lambda n: arrays(np.int64, n, elements=st.integers(-1000, 1000)).map(lambda whole: whole / 1000)
)


@settings(deadline=None, max_examples=40)
@given(differences)
def test_interval_holds_the_mean_and_turns_with_the_sign(values: np.ndarray) -> None:
    found = mean_interval(values, SEED, low=-9, high=9)
    mirrored = mean_interval(-values, SEED, low=-9, high=9)
    assert found.low <= values.mean() + 1e-12
    assert found.high >= values.mean() - 1e-12
    assert np.allclose([mirrored.low, mirrored.high], [-found.high, -found.low], atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(differences)
def test_p_is_a_share_never_zero_and_blind_to_the_sign(values: np.ndarray) -> None:
    p = mean_p(values, SEED)
    assert 0 < p <= 1
    assert mean_p(-values, SEED) == p


@settings(deadline=None, max_examples=30)
@given(differences)
def test_patients_without_a_difference_leave_p_and_shrink_the_mean(values: np.ndarray) -> None:
    assume(np.count_nonzero(values) >= 2)
    more = np.concatenate([values, np.zeros(5)])
    assert mean_p(more, SEED) == mean_p(values, SEED)


@settings(deadline=None, max_examples=20)
@given(differences)
def test_coverage_is_a_share_and_blind_to_the_sign(values: np.ndarray) -> None:
    found = achieved_coverage(values, SEED)
    assert found is None or 0 <= found <= 1
    assert achieved_coverage(-values, SEED) == found


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(1e-4, 1)))
def test_holm_is_between_p_and_bonferroni_and_keeps_the_order(p: np.ndarray) -> None:
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(p * len(p), 1) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


curve_means = arrays(np.float64, (3, 4), elements=st.floats(0, 1))


@given(curve_means)
def test_a_monotone_curve_never_falls_keeps_its_sum_and_stays(means: np.ndarray) -> None:
    rising = monotone(means)
    assert (np.diff(rising, axis=1) >= -1e-12).all()
    assert np.allclose(rising.sum(axis=1), means.sum(axis=1))
    assert np.allclose(monotone(rising), rising)


@example(np.eye(3, 4, 3) * 2e-313, np.ones(3), 0.0)  # a rise too small to be divided by
@given(curve_means, arrays(np.float64, 3, elements=st.floats(0, 1)), st.floats(0, 0.5))
def test_a_higher_dice_never_needs_fewer_patients(
    means: np.ndarray, targets: np.ndarray, more: float
) -> None:
    curve = Curve(np.array([4.0, 8.0, 16.0, 34.0]), (4, 8, 16, None))
    assert (curve.reached(means, targets + more) >= curve.reached(means, targets) - 1e-9).all()
