"""The figures of a lesion, against lesions that were made with known ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.errors import GeometryError
from medaug.generators._procedural.figures import CORE, GRAIN, HALO, LEVEL, PROFILE, RIM, measure
from medaug.generators._procedural.laws import Laws, Sample, fit_laws
from medaug.generators._procedural.region import Region
from medaug.lesions.harmonise import fine_part, robust_deviation
from tests.made_lesions import ball

SHAPE = (64, 64, 1)
SPACING = (0.5, 0.5, 1.0)
NOBODY = np.zeros(SHAPE, dtype=bool)


def made(level: float = 1.0, around: float = -1.0) -> tuple[np.ndarray, np.ndarray]:
    mask = ball(SHAPE, 20)
    return np.where(mask, level, around)[None].astype(np.float32), mask


def test_depth_runs_from_the_outline_to_the_middle():
    region = Region.around(ball(SHAPE, 20), SPACING)
    inside = region.depth[region.mask]
    assert (inside.min(), inside.max()) == (0.0, 1.0)
    assert not region.depth[~region.mask].any()
    assert not (region.ring & region.mask).any()
    assert region.outside[region.ring].min() >= 2.0
    assert region.outside[region.ring].max() <= 6.0


def test_level_and_tissue_around_are_told_apart():
    image, mask = made()
    found = measure(image, mask, NOBODY, SPACING)
    assert found.figures[0, LEVEL] == pytest.approx(1.0)
    assert found.around[0] == pytest.approx(-1.0)
    assert found.figures[0, HALO] == pytest.approx(0.0)
    np.testing.assert_allclose(found.figures[0, PROFILE], 0.0, atol=1e-6)


def test_other_lesions_are_not_tissue():
    image, mask = made()
    others = NOBODY.copy()
    others[:40] = ~mask[:40]
    image[0][others] = 9.0
    assert measure(image, mask, others, SPACING).around[0] == pytest.approx(-1.0)


def test_a_bright_middle_is_a_rising_profile():
    image, mask = made()
    region = Region.around(mask, SPACING)
    image[(slice(None), *region.window)] += region.depth[None]
    found = measure(image, mask, NOBODY, SPACING).figures[0]
    steps = np.diff(found[PROFILE])
    np.testing.assert_allclose(steps, 0.25, atol=0.04)
    assert np.exp(found[RIM]) < 0.1


@pytest.mark.parametrize("sigma_mm", [0.6, 1.0])
def test_power_and_grain_are_found_again(sigma_mm):
    image, mask = made()
    found = []
    for seed in range(6):
        field = ndimage.gaussian_filter(
            np.random.default_rng(seed).standard_normal(SHAPE[:2]), sigma_mm / 0.5
        )
        textured = image.copy()
        textured[0, ..., 0] += 0.2 * field / field.std()
        textured[0][~mask] = -1.0
        found.append(measure(textured, mask, NOBODY, SPACING).figures[0])
    assert np.exp(np.mean(found, axis=0)[CORE]) == pytest.approx(0.2, rel=0.3)
    assert np.exp(np.mean(found, axis=0)[GRAIN]) == pytest.approx(sigma_mm, rel=0.3)


def test_noise_of_the_scan_is_no_texture():
    image, mask = made()
    noise = np.random.default_rng(0).normal(0, 0.2, image.shape).astype(np.float32)
    noisy = measure(image + noise, mask, NOBODY, SPACING).figures[0]
    assert np.exp(noisy[CORE]) < 0.1
    assert robust_deviation(fine_part(noise).reshape(1, -1))[0] == pytest.approx(
        0.2 * np.sqrt(8 / 9), rel=0.05
    )


def test_nothing_to_measure_is_refused():
    with pytest.raises(GeometryError, match="empty"):
        measure(np.zeros((1, *SHAPE), np.float32), NOBODY, NOBODY, SPACING)


def laws_of(levels: list[float], around: list[float], *, anchored: bool) -> Laws:
    measured, samples = [], []
    for n, (level, there) in enumerate(zip(levels, around, strict=True)):
        image, mask = made(level, there)
        measured.append(measure(image, mask, NOBODY, SPACING))
        samples.append(Sample(class_name="mass", patient_id=f"p{n}", diameter_mm=20.0 + n % 3))
    return fit_laws(samples, measured, anchored=anchored)


def test_levels_follow_the_tissue_around_where_units_are_arbitrary():
    around = np.linspace(-1, 1, 20)
    law = laws_of([a + 0.5 for a in around], list(around), anchored=True).classes[0]
    for there in (-0.5, 0.7):
        contrast = law.draw(21.0, np.array([there]), np.zeros(len(law.intercept)))[0, LEVEL]
        assert contrast == pytest.approx(0.5, abs=0.02)


def test_levels_are_absolute_in_hounsfield_units():
    law = laws_of([0.5] * 20, list(np.linspace(-1, 1, 20)), anchored=False).classes[0]
    drawn = [law.draw(21.0, np.array([a]), np.zeros(len(law.intercept)))[0, LEVEL] for a in (-1.0, 1.0)]
    np.testing.assert_allclose(drawn, 0.5, atol=0.01)


def test_figures_stay_within_what_was_seen_and_sizes_are_clamped():
    law = laws_of([0.2, 0.4, 0.6], [-1.0, -1.0, -1.0], anchored=False).classes[0]
    wild = 50.0 * np.ones(len(law.intercept))
    assert law.draw(21.0, np.array([-1.0]), wild)[0, LEVEL] <= law.high[LEVEL] < 0.8
    calm = 0.0 * wild
    far, near = (law.draw(size, np.array([-1.0]), calm) for size in (500.0, law.diameter_mm[1]))
    np.testing.assert_array_equal(far, near)


def test_one_lesion_of_a_class_is_enough():
    law = laws_of([0.3], [-1.0], anchored=False).classes[0]
    assert law.draw(5.0, np.array([0.0]), np.zeros(len(law.intercept)))[0, LEVEL] == pytest.approx(0.3)
