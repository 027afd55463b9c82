"""Sizes, shapes and places that differ are seen; units follow what is known of the spacing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.seeding import SeedTree
from medaug.quality.samples import LesionSample, Place
from medaug.quality.spreads import properties, spread_figures


def disc(seed: int, radius: float = 5.0, middle: float = 0.5) -> LesionSample:
    """A disc of about that radius, at about that place of the image."""
    rng = np.random.default_rng(seed)
    i, j = np.indices((30, 30))
    radii = radius * rng.uniform(0.8, 1.2, 2)
    mask = (((i - 15) / radii[0]) ** 2 + ((j - 15) / radii[1]) ** 2 < 1)[..., None]
    image = rng.normal(size=(1, 30, 30, 1)).astype(np.float32)
    at = float(middle + rng.normal(0.0, 0.05))
    place = Place((at, 0.5 + float(rng.normal(0.0, 0.05)), 0.5), 20.0 * at)
    return LesionSample(f"c{seed}", f"p{seed}", "solid", image, mask, (0.5, 0.5, 2.0), place=place)


def discs(first: int, count: int = 30, radius: float = 5.0, middle: float = 0.5) -> list[LesionSample]:
    return [disc(first + n, radius, middle) for n in range(count)]


def test_alike_lesions_lie_at_the_floor():
    found = spread_figures((discs(0), discs(100), discs(200)), SeedTree(0), 5)
    assert {row.name for row in found} == {
        "diameter_mm", "eccentricity", "solidity", "extent", "roundness", "place_i", "place_j", "border_mm",
    }  # fmt: skip
    for row in found:
        assert row.distance is not None
        assert row.floor is not None
        assert row.distance.low <= row.floor.high
        assert row.floor.low <= row.distance.high


def test_larger_lesions_elsewhere_are_seen_and_nothing_else():
    made = discs(0, radius=7.0, middle=0.7)
    found = {row.name: row for row in spread_figures((made, discs(100), discs(200)), SeedTree(0), 5)}
    seen = {
        name
        for name, row in found.items()
        if row.distance is not None and row.floor is not None and row.distance.low > row.floor.high
    }
    assert {"diameter_mm", "place_i", "border_mm"} <= seen
    assert not seen & {"eccentricity", "place_j"}
    deviation = np.std([s.place.shares[0] for s in (*discs(100), *discs(200)) if s.place])
    distance = found["place_i"].distance
    assert distance is not None
    assert distance.value == pytest.approx(0.2 / deviation, rel=0.15)


def test_a_nominal_spacing_leaves_voxels():
    real = discs(100)
    known = properties(real, in_mm=True)
    voxels = properties([replace(sample, is_spacing_known=False) for sample in real], in_mm=False)
    np.testing.assert_allclose(voxels["diameter_voxels"], known["diameter_mm"] / 0.5)
    np.testing.assert_allclose(voxels["border_voxels"], known["border_mm"] / 0.5)
    made = [replace(sample, is_spacing_known=False) for sample in discs(0)]
    names = [row.name for row in spread_figures((made, real, discs(200)), SeedTree(0), 5)]
    assert "diameter_voxels" in names
    assert "diameter_mm" not in names


def test_an_image_averaged_down_measures_in_voxels_of_the_scan():
    sample = disc(0)
    large = replace(sample, spacing_mm=(1.0, 1.0, 2.0), averaged=2)
    found = properties([large], in_mm=False)
    area = float(sample.mask.sum()) * 4
    assert found["diameter_voxels"][0] == pytest.approx(2 * np.sqrt(area / np.pi))


def test_too_few_lesions_leave_nothing_and_one_side_leaves_the_other():
    assert spread_figures((discs(0), discs(100), discs(200, 4)), SeedTree(0), 5) == ()
    rows = spread_figures((discs(0, 3), discs(100), discs(200)), SeedTree(0), 5)
    assert rows
    assert all(row.distance is None and row.floor is not None for row in rows)


def test_lesions_of_unknown_place_are_compared_without():
    sides = [[replace(s, place=None) for s in discs(first)] for first in (0, 100, 200)]
    names = {row.name for row in spread_figures((sides[0], sides[1], sides[2]), SeedTree(0), 5)}
    assert "place_i" not in names
    assert "diameter_mm" in names
