"""A step at the outline is found, and where nothing was done nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.seeding import SeedTree
from medaug.quality.looks import look_at
from medaug.quality.networks import Training
from medaug.quality.samples import LesionSample
from medaug.quality.seams import (
    KINDS,
    PastePair,
    Pastes,
    detect,
    estimate_auc,
    paste_auc,
    paste_pair,
    seam_features,
    weighted_auc,
)
from tests.unit.quality.textured import textured

QUICK = Training(steps=40, batch=8, noise=0.0, shift=1)


def _pastes(first: int, count: int, step: float, *, smoothed: bool = False) -> Pastes:
    """Discs in correlated noise; where pasted, brighter by a step, or without their grain."""
    samples = []
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        i, j = np.indices((32, 32))
        mask = ((i - 16) ** 2 + (j - 16) ** 2 < rng.uniform(5, 7) ** 2)[..., None]
        image = ndimage.gaussian_filter(rng.normal(0.0, 1.0, (1, 32, 32, 1)), (0, 1, 1, 0))
        pasted = image + step * mask
        if smoothed:
            pasted = np.where(mask, ndimage.gaussian_filter(image, (0, 2, 2, 0)), image)
        for kind, shown in zip(KINDS, (image, pasted), strict=True):
            seen, owner = shown.astype(np.float32), f"p{number}"
            samples.append(LesionSample(owner, owner, kind, seen, mask, (1.0, 1.0, 1.0)))
    return Pastes(look_at(samples, (24, 24), KINDS))


def test_hard_edges_are_found_by_both_detectors():
    found = detect(_pastes(0, 24, 2.0), _pastes(100, 16, 2.0), SeedTree(0), QUICK)
    assert found.features.value > 0.95
    assert found.network.value > 0.8
    assert found.n == 16


def test_missing_grain_is_found():
    found = detect(
        _pastes(0, 24, 0.0, smoothed=True), _pastes(100, 16, 0.0, smoothed=True), SeedTree(0), QUICK
    )
    assert found.features.value > 0.95


def test_nothing_is_found_where_nothing_was_done():
    found = detect(_pastes(0, 24, 0.0), _pastes(100, 16, 0.0), SeedTree(0), Training(steps=5, batch=8))
    assert found.features.value == pytest.approx(0.5)
    assert found.network.value == pytest.approx(0.5)


def test_the_area_under_the_curve_counts_pairs():
    scores, positive = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    assert weighted_auc(scores, positive, np.ones((1, 4)))[0] == pytest.approx(3.5 / 4)
    assert weighted_auc(scores, positive, np.array([[0.0, 1, 1, 0]]))[0] == pytest.approx(0.5)
    assert np.isnan(weighted_auc(scores, positive, np.array([[0.0, 0, 1, 0]]))[0])
    assert estimate_auc(scores, positive, np.ones((3, 4))).value == pytest.approx(3.5 / 4)


def test_features_are_finite_for_volumes_and_for_tiny_outlines():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 20, 20, 4)).astype(np.float32)
    mask = np.zeros((20, 20, 4), dtype=bool)
    mask[10, 10, 1] = True
    found = seam_features(image, mask)
    assert np.isfinite(found).all()
    assert len(found) == 2 * len(seam_features(image[:1, ..., 0], mask[..., 1]))


def _null_paste(number: int, step_hu: float) -> PastePair:
    host = textured(number)
    edit = np.zeros(host.volume.grid.shape, dtype=bool)
    edit[4:10, 20:27, 1:4] = True
    image = host.volume.image + np.float32(step_hu) * edit
    made = replace(host, case_id=f"syn_{number}", volume=replace(host.volume, image=image))
    return paste_pair(made, host, edit, "solid" if number % 4 else "ground_glass")


def test_null_pastes_that_differ_are_found_and_those_that_do_not_are_not():
    seen, unseen = ([_null_paste(n, step) for n in range(24)] for step in (150.0, 0.0))
    found, nothing = (paste_auc(pairs, "solid", SeedTree(0)) for pairs in (seen, unseen))
    assert found is not None
    assert nothing is not None
    assert found.low > 0.9
    assert nothing.value == pytest.approx(0.5)
    assert paste_auc(seen, "unheard", SeedTree(0)) is not None
    assert paste_auc(seen[:9], "solid", SeedTree(0)) is None


def test_a_null_paste_is_cut_with_its_surroundings_from_case_and_host():
    pair = _null_paste(1, 150.0)
    assert np.array_equal(pair.pasted.mask, pair.untouched.mask)
    differs = pair.pasted.image[0] != pair.untouched.image[0]
    assert np.array_equal(differs, pair.pasted.mask)
    assert not pair.pasted.mask.all()
    assert pair.pasted.patient_id == pair.untouched.patient_id
