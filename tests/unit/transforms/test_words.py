"""Captions say what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.volume import Unit
from medaug.transforms import (
    STEPS,
    Blur,
    Elastic,
    Facts,
    Flip,
    Gamma,
    Ghosting,
    LowDoseNoise,
    Motion,
    Permute,
    Rotate,
    Scale,
    Streaks,
    Translate,
)
from medaug.transforms._words import in_words


@pytest.mark.parametrize(
    ("step", "dims", "words"),
    [
        (Rotate(angles_deg=(0.0, 0.2, 12.3)), 3, "12 deg about K"),
        (Rotate(angles_deg=(-4.0, 0.0, 12.3)), 3, "-4 deg about I, 12 deg about K"),
        (Rotate(angles_deg=(-4.0, 0.0, 0.1)), 2, "less than 0.5 deg"),
        (Flip(axes=(0, 1)), 3, "along I and J"),
        (Flip(axes=()), 3, "no axis"),
        (Permute(order=(1, 0, 2)), 3, "shows axes J, I, K"),
        (Scale(factors=(1.25, 0.8, 1.0)), 2, "times 1.2 I, 0.8 J"),
        (Translate(shift_mm=(12.4, -3.0, 0.0)), 3, "12 I, -3 J, 0 K mm"),
        (Elastic(cells=(5, 5, 2), share=0.3, seed=1), 3, "5 x 5 x 2 cells, 30% of the bound"),
        (Gamma(exponent=0.73), 3, "exponent 0.73"),
        (Gamma(exponent=0.73, is_inverted=True), 3, "exponent 0.73, inverted"),
        (Blur(sigma_mm=(1.0, 0.5, 0.25)), 3, "sigma 1 I, 0.5 J, 0.25 K mm"),
        (LowDoseNoise(sigma_hu=34.2, grain_voxels=2.0, seed=9), 3, "sigma 34 HU, grain 2 voxels"),
        (Ghosting(axis=1, period=4, weakening=0.25), 3, "along J, period 4, weakening 0.25"),
        (
            Motion(axis=0, moments=(0.0, 0.6), shifts_mm=((1.0, -2.5), (0.0, 0.0))),
            2,
            "along I, moments 0 and 0.6, 2 shifts up to 2.5 mm",
        ),
        (
            Streaks(
                place=(0.5, 1.2),
                angles_deg=(1.0, 90.0, 33.0, 2.0),
                heights_hu=(-40.0, 1.0, 2.0, 33.0),
                width_deg=2.0,
            ),
            3,
            "place 0.5 and 1.2, angles 1 to 90 deg, heights -40 to 33 HU, width 2 deg",
        ),
    ],
)
def test_words(step, dims, words):
    assert in_words(step, dims) == words


@pytest.mark.parametrize("kind", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("dims", [2, 3])
def test_every_step_fits_a_caption_and_hides_its_seed(kind, dims):
    facts = Facts((64, 48, 12)[:dims], (0.7, 0.8, 2.5)[:dims], Unit.ARBITRARY)
    for seed in range(5):
        said = in_words(kind.draw(1.0, np.random.default_rng(seed), facts), dims)
        assert "seed" not in said
        assert len(said) < 110
