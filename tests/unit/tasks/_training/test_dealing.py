"""Every class keeps its share of the patches, whatever is synthetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaug.tasks._training.dealing import Dealing, Shares

SHARE = st.floats(0, 1)


def tables(shares: Shares, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lesions and synthetic lesions of each class, and pastes of healthy tissue, up to and with each step."""
    dealing, classes = Dealing(shares, steps), len(shares.synthetic)
    lesions, synthetic, null = np.zeros((steps, classes)), np.zeros((steps, classes)), np.zeros(steps)
    for step in range(steps):
        places = dealing.places(step)
        assert len(places) == shares.batch_size
        for place in places:
            if place.class_index is None:
                null[step] += place.synthetic
            else:
                lesions[step, place.class_index] += 1
                synthetic[step, place.class_index] += place.synthetic
    return lesions.cumsum(axis=0), synthetic.cumsum(axis=0), null.cumsum()


@given(st.integers(1, 9), SHARE, st.lists(SHARE, min_size=1, max_size=4), SHARE)
def test_running_sums_follow_the_shares_within_one_patch(batch, lesion, synthetic, null):
    lesions, made, pasted = tables(Shares(batch, lesion, tuple(synthetic), null), 25)
    step = np.arange(1, 26)
    assert np.abs(lesions.sum(axis=1) - lesion * batch * step).max() <= 1 + 1e-6
    assert np.abs(lesions - lesions.mean(axis=1, keepdims=True)).max() <= 1
    assert np.abs(made - lesions * synthetic).max() <= 1 + 1e-6
    assert np.abs(pasted - null * (batch * step - lesions.sum(axis=1))).max() <= 1 + 1e-6


@given(st.integers(1, 9), SHARE, st.lists(SHARE, min_size=3, max_size=3), st.sampled_from((0.0, 0.1, 0.5)))
def test_what_is_synthetic_changes_the_class_of_no_place(batch, lesion, synthetic, tail):
    mixed = Dealing(Shares(batch, lesion, tuple(synthetic), 0.5, tail), 12)
    real = Dealing(Shares(batch, lesion, (0.0, 0.0, 0.0)), 12)
    for step in range(12):
        assert [p.class_index for p in mixed.places(step)] == [p.class_index for p in real.places(step)]
        assert not any(place.synthetic for place in real.places(step))


def test_what_is_synthetic_fades_linearly_and_the_tail_is_real_only():
    _, made, pasted = tables(Shares(100, 0.5, (0.8, 0.8), 0.6, real_only_tail=0.2), 100)
    for sums, share in ((made.sum(axis=1), 40), (pasted, 30)):
        each = np.diff(sums, prepend=0)
        assert np.abs(each[:60] - share).max() <= 1
        assert (each[80:] == 0).all()
        assert each[60:80].sum() == pytest.approx(0.5 * share * 20, abs=2)


def test_classes_are_dealt_by_their_weights_and_every_one_in_its_turn():
    dealing = Dealing(Shares(5, 0.8, (0.5, 0.0, 0.0), weights=(6.0, 3.0, 1.0)), 50)
    order = [
        place.class_index
        for step in range(50)
        for place in dealing.places(step)
        if place.class_index is not None
    ]
    assert len(order) == 200
    for upto in (20, 60, 200):
        counts = np.bincount(order[:upto], minlength=3)
        assert np.abs(counts - np.array([0.6, 0.3, 0.1]) * upto).max() <= 1.5
    synthetic = [place for step in range(50) for place in dealing.places(step) if place.synthetic]
    assert len(synthetic) == 60
    assert {place.class_index for place in synthetic} == {0}
