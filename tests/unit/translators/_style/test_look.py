from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from medaug.translators._style.look import Look, change_look
from tests.made_scans import scan

IMAGE = scan(0, channels=("T1", "T2")).volume.image


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_no_look_changes_nothing() -> None:
    np.testing.assert_allclose(change_look(IMAGE, Look(), rng()), IMAGE, rtol=1e-4)


def test_gamma_darkens_the_middle_and_keeps_the_ends() -> None:
    changed = change_look(IMAGE, Look(gamma=2.0), rng())
    body = IMAGE > 0
    assert (changed[body] <= IMAGE[body] * 1.01).all()
    assert changed[0].max() == pytest.approx(IMAGE[0].max(), rel=0.05)
    assert not changed[~body].any()


def test_blur_stays_within_slices() -> None:
    image = np.zeros((1, 9, 9, 3), np.float32)
    image[0, 4, 4, 1] = 100.0
    changed = change_look(image, Look(blur=1.0), rng())
    assert changed[0, 4, 5, 1] > 0
    assert not changed[..., (0, 2)].any()


def test_bias_is_smooth_and_noise_is_not() -> None:
    flat = np.full((1, 24, 24, 12), 50.0, np.float32)
    flat[0, 0] = 0
    biased, noisy = (change_look(flat, look, rng())[0, 1:] for look in (Look(bias=0.3), Look(noise=0.2)))
    assert biased.std() > 3
    assert np.abs(np.diff(biased, axis=0)).mean() < 0.3 * biased.std()
    assert np.abs(np.diff(noisy, axis=0)).mean() > 0.9 * noisy.std()


def test_same_rng_same_scanner() -> None:
    look = Look(bias=0.2, noise=0.05)
    np.testing.assert_array_equal(change_look(IMAGE, look, rng(1)), change_look(IMAGE, look, rng(1)))
    assert (change_look(IMAGE, look, rng(1)) != change_look(IMAGE, look, rng(2))).any()


def test_impossible_looks_are_refused() -> None:
    with pytest.raises(ValidationError, match="gamma"):
        Look(gamma=0.0)
