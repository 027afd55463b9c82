"""One linear map a case."""

import numpy as np

from medaug.core.geometry import Grid
from medaug.core.intensity import IntensityScheme
from medaug.core.volume import Unit, Volume


def volume_of(image: np.ndarray, unit: Unit) -> Volume:
    return Volume(
        image.astype(np.float32), Grid(image.shape[1:], np.eye(4)), unit, tuple("ab"[: image.shape[0]])
    )


def test_hu_mean_the_same_in_every_case() -> None:
    rng = np.random.default_rng(0)
    one, two = (volume_of(rng.normal(mean, 50, (1, 8, 8, 8)), Unit.HU) for mean in (-700, 40))
    scheme = IntensityScheme.for_volume(one)
    assert scheme.case_scale(one) == scheme.case_scale(two)
    assert scheme.case_scale(one).normalise(np.full((1, 1, 1, 1), -3000.0, np.float32)).min() >= -1.3


def test_arbitrary_units_are_scaled_case_by_case_inside_the_body() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((2, 16, 16, 4), np.float32)
    image[:, 4:12, 4:12] = rng.normal(500, 50, (2, 8, 8, 4))
    image[1] *= 7
    volume = volume_of(image, Unit.ARBITRARY)
    body = IntensityScheme.for_volume(volume).case_scale(volume).normalise(image)[:, 4:12, 4:12]
    np.testing.assert_allclose(body.mean(axis=(1, 2, 3)), 0, atol=0.05)
    np.testing.assert_allclose(body.std(axis=(1, 2, 3)), 1, atol=0.05)


def test_restore_undoes_normalise() -> None:
    image = np.random.default_rng(1).normal(100, 20, (1, 6, 6, 6)).astype(np.float32)
    scale = IntensityScheme.for_volume(volume_of(image, Unit.ARBITRARY)).case_scale(
        volume_of(image, Unit.ARBITRARY)
    )
    np.testing.assert_allclose(scale.restore(scale.normalise(image)), image, atol=1e-3)


def test_a_constant_case_does_not_divide_by_zero() -> None:
    flat = volume_of(np.full((1, 3, 3, 3), 5.0), Unit.ARBITRARY)
    assert np.isfinite(IntensityScheme.for_volume(flat).case_scale(flat).normalise(flat.image)).all()
