"""A hard edge at the outline, or missing grain, is told from real rims; real ones are not told from each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.seeding import SeedTree
from medaug.quality.rims import Rims, detect_rims, rim_auc, rim_features
from medaug.quality.samples import LesionSample


def _lesion(number: int, kind: str = "real", name: str = "solid") -> LesionSample:
    """A soft disc in grain; pasted: its edge is cut hard; smooth: it has no grain of its own."""
    rng = np.random.default_rng(number)
    i, j, _ = np.indices((34, 34, 1))
    away = np.hypot(i - 17 + rng.normal(), j - 17 + rng.normal())
    radius, contrast = rng.uniform(4, 7), rng.uniform(1.0, 2.0) * (1 if name == "solid" else 0.5)
    grain = ndimage.gaussian_filter(rng.normal(0.0, 0.3, away.shape), (0.6, 0.6, 0))
    shape = (away < radius).astype(float) if kind == "hard" else 1 / (1 + np.exp((away - radius) / 0.8))
    inside = grain if kind != "smooth" else np.where(away < radius + 1, 0.2, 1.0) * grain
    image = (contrast * shape + inside).astype(np.float32)[None]
    return LesionSample(f"c{number}", f"p{number % 25}", name, image, away < radius, (1.0, 1.0, 1.0))


def _auc(kind: str) -> tuple[float, float, float]:
    made = Rims.of([_lesion(1000 + n, kind) for n in range(40)])
    real = Rims.of([_lesion(n) for n in range(60)])
    told = detect_rims(made, real, SeedTree(0))
    assert told is not None
    found = rim_auc(told, made, real, "solid", SeedTree(1))
    assert found is not None
    return found.low, found.value, found.high


@pytest.mark.parametrize("kind", ["hard", "smooth"])
def test_a_seam_is_found(kind: str) -> None:
    low, value, _ = _auc(kind)
    assert value > 0.9
    assert low > 0.8


def test_no_seam_is_found_where_there_is_none() -> None:
    low, value, high = _auc("real")
    assert 0.3 < value < 0.7
    assert low < 0.5 < high + 0.1


def test_the_mix_of_classes_tells_nothing() -> None:
    real = Rims.of([_lesion(n, name="solid" if n % 4 else "faint") for n in range(80)])
    made = Rims.of([_lesion(2000 + n, name="faint" if n % 4 else "solid") for n in range(60)])
    told = detect_rims(made, real, SeedTree(0))
    assert told is not None
    better = float(np.mean(told.made[:, None] > told.real))
    assert 0.35 < better < 0.65


def test_too_few_are_not_judged() -> None:
    some, one = Rims.of([_lesion(n) for n in range(12)]), Rims.of([_lesion(99)])
    assert detect_rims(one, some, SeedTree(0)) is None
    told = detect_rims(some, some, SeedTree(0))
    assert told is not None
    assert rim_auc(told, some, some, "faint", SeedTree(0)) is None


def test_a_tiny_lesion_at_the_edge_is_measured_as_far_as_there_is_something() -> None:
    sample = _lesion(1)
    mask = np.zeros(sample.mask.shape, dtype=bool)
    mask[0:2, 0:2] = True
    tiny = replace(sample, mask=mask)
    assert np.isnan(rim_features(tiny.image, tiny.mask)).any()
    rims = Rims.of([tiny, *(_lesion(n) for n in range(20))])
    told = detect_rims(rims, Rims.of([_lesion(100 + n) for n in range(20)]), SeedTree(0))
    assert told is not None
    assert np.isfinite(told.made).all()
