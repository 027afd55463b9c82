"""The learning rate over a training."""

from __future__ import annotations

import pytest

from medaug.tasks._training.optimiser import learning_rate


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_the_rate_rises_then_falls_to_almost_nothing(schedule):
    rates = [learning_rate(step, 200, 0.01, schedule) for step in range(200)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.01)
    assert top <= 6
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 2e-4


def test_a_single_step_has_a_rate():
    assert learning_rate(0, 1, 0.01, "poly") == pytest.approx(0.01)
