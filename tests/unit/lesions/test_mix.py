"""Mixing: regions as the papers define them, voxels that come from one side alone, joints that fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medaug.core.errors import GeometryError
from medaug.lesions.mix import (
    Mixture,
    carve_region,
    cut_region,
    join,
    like_place,
    mix_share,
    pasted_region,
)
from medaug.lesions.poisson import poisson

SHAPES = [(12, 10, 1), (9, 11, 7)]


def pair(shape: tuple[int, int, int], channels: int = 2) -> tuple[Mixture, Mixture]:
    rng = np.random.default_rng(0)
    made = []
    for number in (1, 2):
        image = ndimage.gaussian_filter(rng.normal(size=(channels, *shape)), (0, 1, 1, 0)).astype(np.float32)
        made.append(Mixture(image + number, (image[0] > 0).astype(np.uint8) * number))
    return made[0], made[1]


@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_cut_is_a_box_of_about_its_share_or_less(seed, share):
    region = cut_region((20, 30, 1), np.random.default_rng(seed), share=share)
    filled = np.argwhere(region)
    if len(filled):
        spans = filled.max(axis=0) - filled.min(axis=0) + 1
        assert spans.prod() == len(filled)
    assert region.mean() <= share + 0.1


def test_shares_of_cuts_spread_over_everything():
    shares = [cut_region((16, 16, 16), np.random.default_rng(n)).mean() for n in range(300)]
    assert min(shares) < 0.02
    assert max(shares) > 0.6


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 0.5, 3.0)])
def test_carving_shrinks_and_grows_the_lesion_by_half_and_whole_its_depth(spacing_mm):
    axes = np.meshgrid(
        *[(np.arange(n) - n // 2) * s for n, s in zip((41, 41, 13), spacing_mm, strict=True)], indexing="ij"
    )
    radius_mm = np.sqrt(sum(axis**2 for axis in axes))
    lesion = radius_mm <= 5
    carved = [carve_region(lesion, spacing_mm, np.random.default_rng(n)) for n in range(60)]
    inner, outer = radius_mm < 2.0, radius_mm > 11
    smaller = sum((one & ~lesion).sum() == 0 for one in carved)
    assert all((one & inner).sum() == inner.sum() for one in carved)
    assert not any((one & outer).any() for one in carved)
    assert 18 <= smaller <= 42


def test_nothing_to_carve_is_refused():
    with pytest.raises(GeometryError, match="no lesion to carve"):
        carve_region(np.zeros((4, 4, 1), bool), (1.0, 1.0, 1.0), np.random.default_rng(0))


def test_a_lesion_that_fills_its_patch_can_be_carved():
    assert carve_region(np.ones((4, 4, 1), bool), (1.0, 1.0, 1.0), np.random.default_rng(0)).any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("joint", ["hard", "feather", "poisson"])
def test_labels_come_from_one_side_and_the_host_stays_outside(shape, joint):
    host, donor = pair(shape)
    before = host.image.copy(), host.labels.copy()
    region = np.zeros(shape, bool)
    region[2:6, 3:8] = True
    mixed = join(host, donor, region, joint)
    assert np.array_equal(mixed.labels, np.where(region, donor.labels, host.labels))
    far = ~ndimage.binary_dilation(region, iterations=4)
    assert np.array_equal(mixed.image[:, far], host.image[:, far])
    assert not np.allclose(mixed.image[:, region], host.image[:, region])
    assert np.array_equal(host.image, before[0])
    assert np.array_equal(host.labels, before[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_poisson_keeps_the_donors_gradients_and_the_hosts_level(shape):
    host, donor = pair(shape)
    region = np.zeros(shape, bool)
    region[3:8, 3:8] = True
    joined = poisson(host.image, donor.image, region)
    # laplace(f) = laplace(donor) inside, by the plain five- or seven-point formula
    for channel, source in zip(joined, donor.image, strict=True):
        kernel_axes = [axis for axis, n in enumerate(shape) if n > 1]
        laplace = [
            sum(np.roll(one, 1, a) + np.roll(one, -1, a) - 2 * one for a in kernel_axes)
            for one in (channel, source)
        ]
        touches_border = np.zeros(shape, bool)
        if shape[2] > 1:
            touches_border[:, :, [0, -1]] = True
        assert np.abs(laplace[0] - laplace[1])[region & ~touches_border].max() < 1e-4
    assert np.array_equal(joined[:, ~region], host.image[:, ~region])


def test_poisson_removes_a_difference_of_brightness():
    host, _ = pair((16, 16, 1), channels=1)
    region = np.zeros((16, 16, 1), bool)
    region[4:12, 4:12] = True
    joined = poisson(host.image, host.image + 5, region)
    assert np.allclose(joined, host.image, atol=1e-4)


def test_large_and_small_regions_are_solved_alike(monkeypatch):
    host, donor = pair((14, 14, 6))
    region = np.zeros((14, 14, 6), bool)
    region[2:12, 2:12, 1:5] = True
    direct = poisson(host.image, donor.image, region)
    monkeypatch.setattr("medaug.lesions.poisson._DIRECT_UNKNOWNS", 0)
    assert np.allclose(poisson(host.image, donor.image, region), direct, atol=1e-3)


def test_the_host_has_the_larger_share():
    shares = [mix_share(0.4, np.random.default_rng(n)) for n in range(200)]
    assert min(shares) >= 0.5
    assert max(shares) < 1
    # Beta(0.4, 0.4), folded: its mean by numerical integration
    assert 0.80 < np.mean(shares) < 0.88


def test_shapes_that_do_not_agree_are_refused():
    host, donor = pair((6, 6, 1))
    with pytest.raises(GeometryError, match="do not agree"):
        join(host, donor, np.zeros((5, 6, 1), bool))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.9, 3.0)])
def test_carving_is_the_threshold_of_the_papers_signed_distance(spacing_mm):
    rng = np.random.default_rng(1)
    lesion = ndimage.gaussian_filter(rng.normal(size=(20, 18, 7)), 2) > 0.12
    framed = np.pad(lesion, 1)
    signed = ndimage.distance_transform_edt(~framed, sampling=spacing_mm)
    signed -= ndimage.distance_transform_edt(framed, sampling=spacing_mm)
    depth = -signed.min()
    for seed in range(12):
        draws = np.random.default_rng(seed)
        low, high = (-depth / 2, 0.0) if draws.random() < 0.5 else (0.0, depth)
        expected = (signed <= draws.uniform(low, high))[1:-1, 1:-1, 1:-1]
        assert np.array_equal(carve_region(lesion, spacing_mm, np.random.default_rng(seed)), expected)


def test_lesions_that_the_patch_cuts_off_are_not_pasted():
    labels = np.zeros((20, 20, 1), np.uint8)
    labels[0:4, 5:9] = 1
    assert pasted_region(labels, np.random.default_rng(0)) is None
    labels[10:13, 10:13] = 2
    region = pasted_region(labels, np.random.default_rng(0))
    assert region is not None
    assert region[10:13, 10:13].all()
    assert not region[:7].any()


def test_places_lie_in_like_tissue_clear_of_lesions():
    image, labels = np.zeros((1, 40, 40, 1), np.float32), np.zeros((40, 40, 1), np.uint8)
    image[0, :, 20:] = 5.0
    labels[8:12, 8:12] = 1
    donor = Mixture(image, labels)
    own = np.zeros_like(labels)
    own[25:30, 6:12] = 2
    region = pasted_region(labels, np.random.default_rng(0))
    assert region is not None
    found = set()
    for seed in range(40):
        shift = like_place(Mixture(image, own), donor, region, np.random.default_rng(seed))
        assert shift is not None
        there = np.roll(region, shift, (0, 1, 2))
        assert not there[:, 21:].any()
        assert not (there & (own > 0)).any()
        assert there.sum() == region.sum()
        found.add(shift)
    assert len(found) > 20


def test_no_room_gives_no_place():
    labels = np.zeros((16, 16, 1), np.uint8)
    labels[6:9, 6:9] = 1
    region = pasted_region(labels, np.random.default_rng(0))
    assert region is not None
    donor = Mixture(np.zeros((1, 16, 16, 1), np.float32), labels)
    other_tissue = Mixture(np.full((1, 16, 16, 1), 9.0, np.float32), np.zeros_like(labels))
    assert like_place(other_tissue, donor, region, np.random.default_rng(0)) is None
