"""What CT and PET scanners do, in Hounsfield units and in counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medaug.core.volume import Unit
from medaug.transforms._steps import ct
from medaug.transforms._steps.step import Facts

SPACING = (0.7, 1.1, 2.5)


def facts(shape, count=3):
    return [Facts(shape, SPACING[: len(shape)], Unit.HU)] * count


def in_hu(normalised):
    """-400 HU is 0, and 500 HU are 1."""
    return np.asarray(normalised, dtype=np.float64) * 500 - 400


@pytest.mark.parametrize("shape", [(9, 7), (6, 5, 4)])
def test_a_window_shifts_and_stretches_about_water(shape):
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 2, *shape)).astype(np.float32))
    steps = [ct.WindowJitter(level_hu=level, stretch=s) for level, s in ((15, 1.02), (-7, 0.98), (0, 1.0))]
    changed = ct.WindowJitter.apply(images, steps, facts(shape))
    for n, step in enumerate(steps):
        expected = in_hu(images[n].numpy()) * step.stretch + step.level_hu
        assert np.abs(in_hu(changed[n].numpy()) - expected).max() < 1e-3


@pytest.mark.parametrize("size", [32, 128])
@pytest.mark.parametrize("grain", [1.0, 2.5])
def test_low_dose_noise_has_its_deviation_in_hu(size, grain):
    images = torch.zeros(6, 1, size, size)
    steps = [ct.LowDoseNoise(sigma_hu=40, grain_voxels=grain, seed=n) for n in range(6)]
    noise = ct.LowDoseNoise.apply(images, steps, facts((size, size), 6)).numpy()[:, 0] * 500
    assert noise.std() == pytest.approx(40, rel=0.05 if size == 32 else 0.02)
    assert noise.mean() == pytest.approx(0, abs=1)
    # grain, as the high pass of filtered back-projection leaves it: neighbours differ
    assert (noise[:, 1:] * noise[:, :-1]).mean() < 0
    spectrum = np.abs(np.fft.fft2(noise)).mean(axis=0)
    assert spectrum[1, 1] < 0.3 * spectrum[size // 2, size // 2]


def test_slices_have_noise_of_their_own():
    step = ct.LowDoseNoise(sigma_hu=20, grain_voxels=1.5, seed=0)
    noise = ct.LowDoseNoise.apply(torch.zeros(1, 1, 64, 64, 5), [step], facts((64, 64, 5), 1))[0, 0].numpy()
    assert noise.std() * 500 == pytest.approx(20, rel=0.03)
    between = np.corrcoef(noise.reshape(-1, 5).T) - np.eye(5)
    assert np.abs(between).max() < 0.06


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
def test_streaks_run_through_their_object(shape):
    step = ct.Streaks(place=(0.3, 0.5), angles_deg=(20.0, 110.0), heights_hu=(120.0, -60.0), width_deg=2.0)
    images = torch.zeros(1, 2, *shape)
    seen = ct.Streaks.apply(images, [step], facts(shape, 1))[0, 1].numpy() * 500
    reach = max(40 * 0.7, 30 * 1.1) / 4
    expected = np.zeros(shape[:2])
    for i in range(40):
        for j in range(30):
            x, y = (i + 0.5 - 12) * 0.7, (j + 0.5 - 15) * 1.1
            for angle, height in ((20.0, 120.0), (110.0, -60.0)):
                # the angle between two lines, of no direction
                off = math.degrees(math.atan2(y, x)) - angle
                between = abs((off + 90) % 180 - 90)
                expected[i, j] += height * math.exp(-(between**2) / 8) / (1 + math.hypot(x, y) / reach)
    for plane in np.moveaxis(seen.reshape(40, 30, -1), -1, 0):
        assert np.abs(plane - expected).max() < 0.05
    assert expected.max() > 60
    assert expected.min() < -30


def test_counted_photons_vary_as_their_mean():
    images = torch.linspace(-1, 3, 5).repeat_interleave(40000).view(1, 1, 500, 400)
    step = ct.PoissonNoise(counts=20, seed=1)
    seen = ct.PoissonNoise.apply(images, [step], facts((500, 400), 1)).view(5, -1)
    for level, one in enumerate(seen):
        counts = (one.double() + 1) / 4 * 20
        assert float(counts.mean()) == pytest.approx(5 * level, abs=0.05)
        assert float(counts.var()) == pytest.approx(5 * level, rel=0.03, abs=1e-9)
        assert torch.allclose(counts, counts.round(), atol=1e-4)


def test_draws_stay_within_their_limits():
    rng, one = np.random.default_rng(0), facts((40, 30, 3))[0]
    for _ in range(200):
        window = ct.WindowJitter.draw(1.0, rng, one)
        assert abs(window.level_hu) <= 15
        assert abs(window.stretch - 1) <= 0.02
        low = ct.LowDoseNoise.draw(1.0, rng, one)
        assert low.sigma_hu <= 40
        assert 1 <= low.grain_voxels <= 2.5
        streaks = ct.Streaks.draw(1.0, rng, one)
        assert max(map(abs, streaks.heights_hu)) <= 150
        assert 4 <= len(streaks.angles_deg) == len(streaks.heights_hu) <= 12
        counts = ct.PoissonNoise.draw(1.0, rng, one).counts
        assert counts == 0 or counts >= 20
