"""A canary among the patients: told at once without noise, hidden as promised with it."""

import pytest

from scripts.canary_attack import attack

CLAIMED = 2.0


@pytest.mark.slow
def test_the_attack_beats_the_claim_without_noise_and_not_with_it():
    bare = attack(CLAIMED, 200, noisy=False)
    assert bare.bound > CLAIMED
    hidden = attack(CLAIMED, 200, noisy=True)
    assert hidden.bound < CLAIMED
    assert hidden.right > hidden.wrong  # it is not blind
