"""Sections in polar coordinates: what leaves two lesions alike, and what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.copying.polar import largest_section, likeness, sections
from tests.unit.copying.made_up import Blob, blob, copied


def alike(first: Blob, second: Blob) -> float:
    return float(np.tanh(likeness(sections(first), largest_section(second)[None]).max()))


@pytest.fixture
def lesion() -> Blob:
    return blob(np.random.default_rng(3), "one", "solid")


def test_turns_mirrors_levels_and_contrast_make_no_difference(lesion: Blob) -> None:
    for seed in range(8):
        assert alike(lesion, copied(np.random.default_rng(seed), lesion, noise=0.0)) > 0.97


def test_a_zoomed_and_turned_lesion_is_alike_and_others_are_not(lesion: Blob) -> None:
    image = ndimage.rotate(
        ndimage.zoom(lesion.image, (1, 1.5, 1.5, 1), order=1), 33, (1, 2), order=1, mode="nearest"
    )
    mask = (
        ndimage.rotate(ndimage.zoom(lesion.mask.astype(float), (1.5, 1.5, 1), order=1), 33, (0, 1), order=1)
        > 0.5
    )
    changed = replace(lesion, image=image, mask=mask)
    others = [alike(lesion, blob(np.random.default_rng(n), "other", "solid")) for n in range(10, 30)]
    assert alike(lesion, changed) > max(others) + 0.1


def test_what_lies_around_plays_no_part(lesion: Blob) -> None:
    filled = np.where(lesion.mask, lesion.image, 5.0).astype(np.float32)
    outside = replace(
        lesion, image=np.where(ndimage.binary_dilation(lesion.mask), lesion.image, 5.0).astype(np.float32)
    )
    assert alike(lesion, outside) > 0.97
    assert alike(lesion, replace(lesion, image=filled)) > 0.8


def test_every_channel_counts_alike() -> None:
    rng = np.random.default_rng(0)
    two = blob(rng, "one", "solid", channels=2)
    loud = replace(two, image=two.image * np.array([1.0, 50.0], dtype=np.float32)[:, None, None, None])
    assert alike(two, loud) > 0.97
    other = replace(two, image=np.stack([two.image[0], rng.permuted(two.image[1], axis=0)]))
    assert 0.5 < alike(two, other) < 0.9


def test_in_space_a_copy_of_any_thick_section_is_seen() -> None:
    rng = np.random.default_rng(0)
    thick = blob(rng, "one", "solid", depth=9)
    shown = sections(thick)
    areas = thick.mask.sum(axis=(0, 1))
    assert 2 <= len(shown) == min(5, int((2 * areas >= areas.max()).sum()))
    assert shown.shape[1:] == (2, 8, 32)
    np.testing.assert_allclose((shown**2).sum(axis=(1, 2, 3)), 1.0, atol=1e-5)
    first = int(np.flatnonzero(2 * areas >= areas.max())[0])
    flat = Blob("made", "solid", thick.image[..., first : first + 1], thick.mask[..., first : first + 1])
    assert alike(thick, flat) > 0.97


def test_a_flat_lesion_of_one_voxel_is_finite() -> None:
    mask = np.zeros((9, 9, 1), dtype=bool)
    mask[4, 4, 0] = True
    speck = Blob("one", "solid", np.ones((1, 9, 9, 1), dtype=np.float32), mask)
    assert np.isfinite(likeness(sections(speck), sections(speck))).all()


def test_many_pairs_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    some = np.stack([largest_section(blob(rng, "one", "solid")) for _ in range(7)])
    whole = likeness(some, some[:3])
    monkeypatch.setattr("medaug.copying.polar._AT_ONCE", 6)
    np.testing.assert_allclose(likeness(some, some[:3]), whole, atol=1e-5)
    assert (whole.argmax(axis=0) == np.arange(3)).all()
