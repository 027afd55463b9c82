"""Near-duplicates: copies are found through what changes a copy, other patients are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.ingest._battery import likeness
from medaug.ingest._battery.likeness import Pair, fingerprint, near_pairs, sidedness, windowed
from medaug.io.nifti import read_nifti

SHAPE = (60, 56, 30)
PATIENTS = 5
RNG = np.random.default_rng(7)


def _patient(seed: int) -> np.ndarray:
    """A head-like shape that all share, with structure of its own at several sizes."""
    rng = np.random.default_rng(seed)
    image = sum(
        s * ndimage.gaussian_filter(rng.normal(size=SHAPE), s) * 12 for s in (1.5, 3.0, 6.0)
    ) + np.zeros(SHAPE)
    away = [np.linspace(-1, 1, n) ** 2 for n in SHAPE]
    body = (away[0][:, None, None] + away[1][None, :, None] + away[2][None, None, :]) < 1
    return np.where(body, 400 + 100 * image, 0).astype(np.float32)


SET = [_patient(seed) for seed in range(PATIENTS)]
THUMBS = [fingerprint(image) for image in SET]
COPIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], tuple[bool, bool, bool]]] = {
    "the same": (lambda x: x, (False, False, False)),
    "gamma": (lambda x: (x.clip(0) / x.max()) ** 1.5, (False, False, False)),
    "another scale": (lambda x: 0.01 * x - 7, (False, False, False)),
    "noise": (lambda x: x + 40 * RNG.normal(size=x.shape), (False, False, False)),
    "crop": (lambda x: x[2:-1, 1:-2, 1:], (False, False, False)),
    "shift": (lambda x: np.roll(x, (2, -2), axis=(0, 1)), (False, False, False)),
    "resampled": (lambda x: ndimage.zoom(x, (0.7, 0.7, 1.0), order=1), (False, False, False)),
    "mirrored": (lambda x: x[::-1], (True, False, False)),
    "turned over": (lambda x: x[:, ::-1, ::-1], (False, True, True)),
}


def _pairs(images: list[np.ndarray], loaded: list[int] | None = None) -> list[Pair]:
    def load(number: int) -> np.ndarray:
        if loaded is not None:
            loaded.append(number)
        return images[number]

    return list(near_pairs([fingerprint(image) for image in images], load, lambda: None))


def test_other_patients_are_not_alike_and_are_not_read_again() -> None:
    loaded: list[int] = []
    assert _pairs(SET, loaded) == []
    assert loaded == []


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_and_its_flip_named(how: str) -> None:
    change, flip = COPIES[how]
    (pair,) = _pairs([*SET, change(SET[3]).astype(np.float32)])
    assert (pair.first, pair.second, pair.flip) == (3, PATIENTS, flip)
    assert pair.likeness >= 0.75
    if flip != likeness.UPRIGHT:
        assert pair.upright < 0.6


def test_two_cases_are_enough_and_one_or_none_are_no_pair() -> None:
    assert len(_pairs([SET[0], SET[0]])) == 1
    assert _pairs([SET[0]]) == []
    assert _pairs([]) == []


def test_every_pair_of_three_copies_is_named_once() -> None:
    found = _pairs([*SET, SET[1], SET[1]])
    assert {(pair.first, pair.second) for pair in found} == {(1, 5), (1, 6), (5, 6)}
    assert len(found) == 3
    assert all(pair.is_sure for pair in found)


def test_where_all_follow_one_template_only_copies_are_named() -> None:
    template = _patient(99)
    alike = [template + 0.6 * image for image in SET]
    assert _pairs(alike) == []
    (pair,) = _pairs([*alike, alike[2] * 1.1])
    assert (pair.first, pair.second) == (2, PATIENTS)


def test_a_set_that_was_taken_in_twice_is_no_template() -> None:
    found = _pairs([*SET, *(0.9 * image + 10 for image in SET)])
    assert [(pair.first, pair.second) for pair in found] == [(n, n + PATIENTS) for n in range(PATIENTS)]


def test_many_cases_are_compared_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [*SET, SET[0][::-1]]
    whole = _pairs(images)
    monkeypatch.setattr(likeness, "_ROWS", 2)
    assert _pairs(images) == whole


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5))
@settings(max_examples=25)
def test_fingerprints_of_any_shape_do_not_depend_on_scale(i: int, j: int, k: int) -> None:
    image = np.random.default_rng(i).normal(size=(i, j, k)).astype(np.float32)
    thumb = fingerprint(image)
    assert thumb.shape == (24, 24, 24)
    assert np.abs(fingerprint(3 * image + 5).astype(int) - thumb).max() <= 1


def test_a_fingerprint_is_the_mean_of_what_a_cell_covers() -> None:
    image = np.zeros((48, 24, 12), np.float32)
    image[:24, 12:, 6:] = 1
    thumb = fingerprint(image)
    assert (thumb[:12, 12:, 12:] == 255).all()
    assert np.count_nonzero(thumb) == 12**3


def test_flat_images_are_like_nothing() -> None:
    flat = np.zeros(SHAPE, np.float32)
    assert _pairs([flat, flat, *SET[:2]]) == []


def test_padding_of_ct_is_clipped_away() -> None:
    image = np.array([[[[-3024.0, 40.0, 3000.0]]]], np.float32)
    grid = Grid((1, 1, 3), np.eye(4))
    assert windowed(Volume(image, grid, Unit.HU, ("CT",))).min() == -1024
    assert windowed(Volume(image, grid, Unit.ARBITRARY, ("MR",))).min() == -3024


def test_the_mirrored_one_fits_the_others_mirrored() -> None:
    template = _patient(99)
    images = [template + 0.3 * image for image in SET]
    images[4] = images[4][::-1]
    sides = sidedness([fingerprint(image) for image in images])
    assert sides[4] < -0.1
    assert (np.delete(sides, 4) > 0.05).all()


def test_real_patients_are_told_apart_and_a_copy_of_one_is_found(medaug_data: Path) -> None:
    files = sorted((medaug_data / "hippocampus" / "images").glob("*.nii.gz"))[:60]
    if not files:
        pytest.skip("no hippocampus in MEDAUG_DATA")
    images = [read_nifti(file).array.astype(np.float32) for file in files]
    assert _pairs(images) == []
    copy = images[20][1:-1, 2:, 1:] * 0.2
    copy = copy + RNG.normal(0, 0.03 * copy.std(), copy.shape)
    (pair,) = _pairs([*images, copy.astype(np.float32)])
    assert (pair.first, pair.second, pair.flip) == (20, len(images), (False, False, False))
