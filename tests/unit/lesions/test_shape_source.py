"""Shapes come from what was asked for, or from what the bank's lesions are enough for, and say so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.lesions.bank import Bank, bank_of_cases
from medaug.lesions.distance_maps import FARTHEST, SIDES, maps_of
from medaug.lesions.shape import ShapeTarget
from medaug.lesions.shape_pca import PcaShapes
from medaug.lesions.shape_source import ShapeSource, choose
from medaug.lesions.shape_vae import VaeShapes, learnt_or_stored
from tests.small_cases import chest, fold_of

CASES = [chest(number, ("solid", "ground_glass")) for number in range(6)]
BANK = bank_of_cases(CASES, fold_of(CASES))
CROPS = [BANK.crop(entry.lesion_id) for entry in BANK.entries()]


@pytest.mark.parametrize(
    ("asked", "own", "every", "kind", "pooled", "words"),
    [
        ("bank", 99, 99, "bank", False, ""),
        ("auto", 50, 99, "vae", False, ""),
        ("auto", 49, 99, "pca", False, ""),
        ("auto", 11, 99, "bank", False, ""),
        ("pca", 12, 12, "pca", False, ""),
        ("pca", 5, 12, "pca", True, "of all classes, it has 5 lesions"),
        ("pca", 5, 11, "bank", False, "bank masks, 11 lesions are too few"),
        ("vae", 50, 50, "vae", False, ""),
        ("vae", 5, 50, "vae", True, "of all classes"),
        ("vae", 20, 40, "pca", False, "would need 50 lesions: principal components instead"),
        ("vae", 2, 3, "bank", False, "too few"),
    ],
)
def test_what_suits_the_number_of_lesions(asked, own, every, kind, pooled, words):
    choice = choose(asked, "solid", own, every)
    assert (choice.kind, choice.pooled) == (kind, pooled)
    assert words in choice.note
    assert bool(choice.note) == bool(words)


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_are_of_one_size_whatever_the_lesions(dims):
    maps = maps_of(CROPS, dims)
    assert maps.shape[1:] == (SIDES[dims],) * dims
    assert len(maps) >= len(CROPS)
    assert np.abs(maps).max() <= FARTHEST
    cell = (2 * 1.1 / SIDES[dims]) ** dims
    volumes = (maps <= 0).sum(axis=tuple(range(1, dims + 1))) * cell
    np.testing.assert_allclose(volumes, np.pi / (4 if dims == 2 else 6), rtol=0.25)


def test_components_are_few_and_samples_differ_about_the_mean():
    maps = maps_of(CROPS, 2)
    model = PcaShapes.fit(maps, len(CROPS))
    assert 1 <= len(model.components) <= len(CROPS) // 3
    drawn = [model.sample(np.random.default_rng(seed)) for seed in range(12)]
    assert np.ptp(np.stack(drawn), axis=0).max() > 0.01
    np.testing.assert_array_equal(drawn[0], model.sample(np.random.default_rng(0)))
    one = PcaShapes.fit(maps[:2], 2)
    np.testing.assert_allclose(one.sample(np.random.default_rng(0)), maps[:2].mean(axis=0), atol=1e-6)


def test_pooled_shapes_carry_the_texture_of_the_donor():
    shapes = ShapeSource(BANK, "pca")
    assert shapes.choice("solid").pooled
    for slices in (1, 8):
        target = ShapeTarget((1.0, 1.0, 2.0), spacing_known=True, slices=slices, diameter_mm=8.0)
        crop = BANK.crop(BANK.entries("solid")[0].lesion_id)
        filled = shapes.outline(crop, target, np.random.default_rng(1)).fill()
        assert filled.texture.shape == (1, *filled.mask.shape)
        assert np.median(filled.texture[0][filled.mask]) == pytest.approx((40 + 400) / 500, abs=0.15)
        assert np.median(filled.texture[0][~filled.mask]) < -0.5


def test_an_open_size_is_that_of_the_donor_within_a_fifth():
    target = ShapeTarget((1.0, 1.0, 2.0), spacing_known=True, slices=8)
    entry = BANK.entries("solid")[0]
    outlines = [
        ShapeSource(BANK, "pca").outline(BANK.crop(entry.lesion_id), target, np.random.default_rng(n))
        for n in range(5)
    ]
    for outline in outlines:
        assert 0.72 * entry.diameter_mm < outline.diameter_mm < 1.25 * entry.diameter_mm


@pytest.mark.parametrize("dims", [2, 3])
def test_a_vae_learns_maps_and_comes_back_from_the_banks_folder(tmp_path, monkeypatch, dims):
    bank = Bank(BANK.index, tmp_path, CROPS)
    monkeypatch.setattr(VaeShapes, "fit", staticmethod(lambda maps, fit=VaeShapes.fit: fit(maps, 3)))
    with torch.no_grad():  # as where lesions are prepared side by side
        first = learnt_or_stored(bank, None, dims)
    (stored,) = tmp_path.glob("shapes_*.npz")
    monkeypatch.setattr(VaeShapes, "fit", staticmethod(lambda maps: pytest.fail("was stored")))
    again = learnt_or_stored(bank, None, dims)
    one, two = (model.sample(np.random.default_rng(0)) for model in (first, again))
    assert one.shape == (SIDES[dims],) * dims
    np.testing.assert_array_equal(one, two)
    stored.write_bytes(b"damaged")
    assert VaeShapes.read(stored) is None


def test_a_trained_vae_draws_round_lesions_and_not_all_alike():
    maps = maps_of(CROPS, 2)
    model = VaeShapes.fit(maps, 120)
    drawn = np.stack([model.sample(np.random.default_rng(seed)) for seed in range(8)])
    inside = drawn <= 0
    shares = (inside & (maps.mean(axis=0) <= 0)).sum(axis=(1, 2)) / inside.sum(axis=(1, 2))
    assert shares.min() > 0.6
    assert np.ptp(drawn, axis=0).max() > 0.005
