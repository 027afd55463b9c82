"""What is asked of differential privacy, and what is claimed."""

import pytest
from pydantic import ValidationError

from medaug.core.budget import PrivacyBudget, PrivacyRequest


def _budget(**changes):
    figures = {
        "epsilon": 7.98,
        "delta": 1e-5,
        "epsilon_prv": 7.97,
        "epsilon_pld": 7.98,
        "noise_multiplier": 0.9,
        "clip_norm": 1.0,
        "sampling_rate": 0.1,
        "steps": 100,
        "patients": 80,
        "randomness": "system",
    }
    return PrivacyBudget.model_validate({**figures, **changes})


def test_a_budget_states_its_figures_and_its_unit():
    assert _budget().statement == "differential privacy: epsilon 7.98, delta 1e-05, unit patient"


def test_seeded_noise_claims_nothing():
    seeded = _budget(randomness="seeded")
    assert not seeded.is_claimed
    assert "epsilon" not in seeded.statement


@pytest.mark.parametrize(
    "asked", [{}, {"epsilon": 0}, {"epsilon": -1}, {"epsilon": 21}, {"epsilon": 1, "delta": 1}]
)
def test_a_request_without_sense_is_refused(asked):
    with pytest.raises(ValidationError):
        PrivacyRequest.model_validate(asked)


def test_the_same_without_noise_may_be_asked_for():
    assert PrivacyRequest(epsilon=None).epsilon is None
