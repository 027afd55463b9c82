"""Grey values against their formulas in float64, written anew."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from medaug.core.volume import Unit
from medaug.transforms._steps import grey
from medaug.transforms._steps.step import Facts

SHAPES = [(21, 18), (9, 12, 7)]


def stack(shape, dtype=torch.float32, count=3):
    """Images of two channels, each with a range of its own."""
    image = np.random.default_rng(3).normal(size=(count, 2, *shape)) * (1 + np.arange(count)).reshape(
        -1, 1, *[1] * len(shape)
    )
    return torch.from_numpy(image).to(dtype)


def facts(shape, unit=Unit.ARBITRARY, count=3):
    return [Facts(shape, (0.8, 1.3, 2.5)[: len(shape)], unit)] * count


def agrees(steps, expected, shape, dtype=torch.float32):
    """Whether a step changes every channel as a formula of one channel says."""
    images = stack(shape, dtype, len(steps))
    before = images.clone()
    changed = type(steps[0]).apply(images, steps, facts(shape, count=len(steps)))
    assert changed.dtype == dtype
    assert torch.equal(images, before)
    for n, step in enumerate(steps):
        for channel in range(2):
            exact = images[n, channel].double().numpy()
            off = np.abs(changed[n, channel].double().numpy() - expected(exact, step))
            assert off.max() < 1e-4 * np.ptp(exact)
    return changed


def bent(image, step):
    low, high = image.min(), image.max()
    if step.is_inverted:
        return high - (high - low) * ((high - image) / (high - low)) ** step.exponent
    return low + (high - low) * ((image - low) / (high - low)) ** step.exponent


def curve(image, step):
    cells = len(step.shifts) + 1
    low, high = image.min(), image.max()
    points = np.arange(cells + 1) / cells
    heights = points + np.array([0, *step.shifts, 0]) / cells
    return low + (high - low) * np.interp((image - low) / (high - low), points, heights)


FORMULAS = [
    ([grey.Gamma(exponent=e, is_inverted=i) for e, i in ((0.6, False), (1.6, False), (1.3, True))], bent),
    ([grey.Brightness(shift=s) for s in (-0.3, 0.1, 0.2)], lambda x, step: x + step.shift),
    (
        [grey.Contrast(factor=f) for f in (0.7, 1.0, 1.35)],
        lambda x, step: x.mean() + step.factor * (x - x.mean()),
    ),
    ([grey.Invert()] * 3, lambda x, step: x.max() - (x - x.min())),
    (
        [grey.HistogramWarp(shifts=s) for s in ((0.4, -0.4, 0.1, 0.2), (0.3,), (-0.4, 0.4, -0.4, 0.4))],
        curve,
    ),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("steps", "expected"), FORMULAS, ids=lambda v: type(v[0]).__name__ if isinstance(v, list) else ""
)
def test_formulas(steps, expected, shape, dtype):
    agrees(steps, expected, shape, dtype)


def test_grey_curves_rise():
    rng = np.random.default_rng(0)
    ramp = torch.linspace(0, 1, 500).view(1, 1, 20, 25)
    for _ in range(20):
        step = grey.HistogramWarp.draw(1.0, rng, facts((20, 25))[0])
        assert max(map(abs, step.shifts)) <= 0.45
        assert (grey.HistogramWarp.apply(ramp, [step], facts((20, 25), count=1)).flatten().diff() > 0).all()


@pytest.mark.parametrize("shape", [(90, 80), (30, 20, 12)])
def test_gaussian_noise_is_normal_and_of_its_deviation(shape):
    images = stack(shape)
    steps = [grey.GaussianNoise(sigma=s, seed=n) for n, s in enumerate((0.05, 0.25, 1.0))]
    noise = grey.GaussianNoise.apply(images, steps, facts(shape)) - images
    for one, step in zip(noise, steps, strict=True):
        drawn = one.double().numpy().ravel() / step.sigma
        assert stats.kstest(drawn, "norm").pvalue > 1e-3
        assert np.corrcoef(one[0].ravel(), one[1].ravel())[0, 1] == pytest.approx(0, abs=0.06)
    assert np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1] == pytest.approx(0, abs=0.05)


def test_multiplicative_noise_grows_with_the_signal():
    images = torch.linspace(-1, 3, 5).repeat_interleave(20000).view(1, 1, 500, 200)
    step = grey.MultiplicativeNoise(sigma=0.2, seed=1)
    noise = (grey.MultiplicativeNoise.apply(images, [step], facts((500, 200), count=1)) - images).view(5, -1)
    for level, one in zip((0, 1, 2, 3, 4), noise, strict=True):
        assert float(one.std()) == pytest.approx(0.2 * level, rel=0.03)
        assert float(one.mean()) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("unit", "share"), [(Unit.ARBITRARY, 1.0), (Unit.SUV, 1.0), (Unit.HU, 0.2)])
def test_draws_stay_within_their_limits(unit, share):
    rng, one = np.random.default_rng(0), facts((8, 8), unit)[0]
    close = 1 + 1e-9
    for _ in range(200):
        exponent = grey.Gamma.draw(1.0, rng, one).exponent
        assert abs(math.log(exponent)) <= share * math.log(1 / 0.6) * close
        assert abs(grey.Brightness.draw(1.0, rng, one).shift) <= share * 0.3
        assert abs(math.log(grey.Contrast.draw(1.0, rng, one).factor)) <= share * math.log(1.35) * close
        assert grey.GaussianNoise.draw(1.0, rng, one).sigma <= share * 0.25
        assert grey.MultiplicativeNoise.draw(1.0, rng, one).sigma <= share * 0.2
        assert max(map(abs, grey.HistogramWarp.draw(1.0, rng, one).shifts)) <= share * 0.45
    inverted = {grey.Invert.draw(1.0, rng, one).is_on for _ in range(40)}
    assert inverted == ({False} if unit is Unit.HU else {False, True})


@pytest.mark.parametrize("step", [grey.Gamma(exponent=0.6), grey.HistogramWarp(shifts=(0.2,)), grey.Invert()])
def test_a_constant_channel_stays_as_it_is(step):
    images = torch.full((1, 2, 5, 4), 0.7)
    assert torch.equal(type(step).apply(images, [step], facts((5, 4), count=1)), images)


def test_the_slope_of_a_root_at_the_minimum_is_no_infinity():
    images = torch.tensor([[[[0.0, 0.2], [0.5, 1.0]]]], dtype=torch.float64, requires_grad=True)
    bright = grey.Gamma.apply(images, [grey.Gamma(exponent=0.6)], facts((2, 2), count=1))
    (slope,) = torch.autograd.grad(bright.sum(), images)
    assert torch.isfinite(slope).all()
