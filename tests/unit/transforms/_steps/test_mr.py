"""What MR scanners do, against Fourier transforms and noise of known statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.interpolate import BSpline

from medaug.core.volume import Unit
from medaug.transforms._steps import mr
from medaug.transforms._steps.step import Facts

SHAPES = [(24, 19), (16, 21, 6)]
SPACING = (0.7, 1.1, 2.5)


def stack(shape, dtype=torch.float32):
    image = np.random.default_rng(0).normal(size=(3, 2, *shape))
    return torch.from_numpy(ndimage.gaussian_filter(image, (0, 0, *[1] * len(shape)))).to(dtype)


def facts(shape, unit=Unit.ARBITRARY):
    return [Facts(shape, SPACING[: len(shape)], unit)] * 3


def agrees(steps, expected, shape, dtype):
    images = stack(shape, dtype)
    changed = type(steps[0]).apply(images, steps, facts(shape))
    assert changed.dtype == dtype
    for n, step in enumerate(steps):
        for channel in range(2):
            exact = images[n, channel].double().numpy()
            assert np.abs(changed[n, channel].double().numpy() - expected(exact, step)).max() < 1e-4


def biased(image, step):
    field = step.control(image.ndim)
    assert np.abs(field).max() <= step.strength
    for axis, count in enumerate(image.shape):
        piece = BSpline(np.arange(-2, 7) - 1.0, np.moveaxis(field, axis, 0), 3)
        field = np.moveaxis(piece(np.linspace(0, 2, count)), 0, axis)
    return image.min() + (image - image.min()) * np.exp(field)


def ghosted(image, step):
    if step.axis >= image.ndim:
        return image
    spectrum = np.moveaxis(np.fft.fft(image, axis=step.axis), step.axis, 0).copy()
    size = len(spectrum)
    for line in range(-(size // 2), (size + 1) // 2):
        if line % step.period == 0 and abs(line) > 0.02 * size:
            spectrum[line] *= 1 - step.weakening
    return np.fft.ifft(np.moveaxis(spectrum, 0, step.axis), axis=step.axis).real


def spiked(image, step):
    """A point of k-space, and the one on the other side of its middle."""
    spectrum = np.fft.fftn(image)
    point = tuple(int(w) for w in step.waves[: image.ndim])
    for sign in (1, -1):
        at = tuple(sign * w for w in point)
        spectrum[at] += image.size * step.amplitude / 2 * np.exp(sign * 1j * step.phase)
    return np.fft.ifftn(spectrum).real


def moved(image, step):
    """Lines of k-space of shifted images, read one after the other."""
    low = image.min()
    lines = image.shape[step.axis]
    spectrum = np.zeros(image.shape, complex)
    order = np.argsort(np.fft.fftfreq(lines))
    for number, line in enumerate(order):
        state = sum(number / lines >= at for at in step.moments)
        shift_mm = (0.0, 0.0) if state == 0 else step.shifts_mm[state - 1]
        voxels = [s / h for s, h in zip(shift_mm, SPACING, strict=False)] + [0.0] * (image.ndim - 2)
        there = ndimage.fourier_shift(np.fft.fftn(image - low), voxels)
        place = (line,) if step.axis == 0 else (slice(None), line)
        spectrum[place] = there[place]
    return low + np.abs(np.fft.ifftn(spectrum))


FORMULAS = [
    ([mr.BiasField(strength=s, seed=n) for n, s in enumerate((0.1, 0.3, 0.5))], biased),
    (
        [mr.Ghosting(axis=a, period=p, weakening=w) for a, p, w in ((0, 2, 0.5), (1, 5, 0.2), (0, 8, 0.9))],
        ghosted,
    ),
    (
        [
            mr.Spikes(waves=w, amplitude=a, phase=p)
            for w, a, p in (
                ((3.0, 2.0, 0.0), 0.3, 0.4),
                ((-4.0, 1.0, 0.0), 0.1, 2.0),
                ((0.0, 5.0, 0.0), 0.2, 5.0),
            )
        ],
        spiked,
    ),
    (
        [
            mr.Motion(axis=0, moments=(0.3,), shifts_mm=((2.0, -1.0),)),
            mr.Motion(axis=1, moments=(0.2, 0.7), shifts_mm=((1.0, 1.0), (-2.5, 0.3))),
            mr.Motion(axis=0, moments=(0.0,), shifts_mm=((0.7, 1.1),)),
        ],
        moved,
    ),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("steps", "expected"), FORMULAS, ids=lambda v: type(v[0]).__name__ if isinstance(v, list) else ""
)
def test_formulas(steps, expected, shape, dtype):
    agrees(steps, expected, shape, dtype)


def test_a_move_before_the_first_line_shifts_towards_higher_places():
    image = torch.zeros(1, 1, 20, 20)
    image[0, 0, 8:11, 9] = 1
    step = mr.Motion(axis=0, moments=(0.0,), shifts_mm=((1.4, 3.3),))
    seen = mr.Motion.apply(image, [step], facts((20, 20))[:1])[0, 0].numpy()
    assert np.allclose(ndimage.center_of_mass(seen > 0.5), (11, 12), atol=0.1)


def test_rician_noise_has_the_mean_of_its_paper():
    images = torch.zeros(1, 1, 400, 200)
    images[..., :100] = 10.0
    step = mr.RicianNoise(sigma=0.5, seed=3)
    seen = mr.RicianNoise.apply(images, [step], facts((400, 200))[:1])
    dark, bright = seen[..., 100:], seen[..., :100]
    # Rayleigh where there is no signal, normal where there is much (Gudbjartsson and Patz 1995, equations 2 and 5)
    assert float(dark.mean()) == pytest.approx(0.5 * math.sqrt(math.pi / 2), rel=0.01)
    assert float(dark.var()) == pytest.approx(0.25 * (2 - math.pi / 2), rel=0.03)
    assert float(bright.mean()) == pytest.approx(math.sqrt(100 + 0.25), rel=0.001)
    assert float(bright.std()) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(("unit", "share"), [(Unit.ARBITRARY, 1.0), (Unit.HU, 0.2)])
def test_draws_stay_within_their_limits(unit, share):
    rng, one = np.random.default_rng(0), facts((40, 30, 8), unit)[0]
    for _ in range(200):
        assert mr.BiasField.draw(1.0, rng, one).strength <= share * math.log(1 / 0.6)
        assert mr.RicianNoise.draw(1.0, rng, one).sigma <= share * 0.25
        ghosts = mr.Ghosting.draw(1.0, rng, one)
        assert (ghosts.axis in (0, 1), ghosts.period in range(2, 9)) == (True, True)
        assert ghosts.weakening <= 0.5
        spike = mr.Spikes.draw(1.0, rng, one)
        assert spike.amplitude <= share * 0.3
        assert abs(spike.waves[0]) <= 10
        motion = mr.Motion.draw(1.0, rng, one)
        assert max(abs(s) for shift in motion.shifts_mm for s in shift) <= 3
        assert 1 <= len(motion.moments) == len(motion.shifts_mm) <= 4
        assert list(motion.moments) == sorted(motion.moments)
