"""A copy is found under every turn, flip, size and inversion, and named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.quality.spectra import SpectrumLibrary, Variant, lesion_spectra
from tests.unit.quality.textured import lesion

TRAINING = [lesion(n) for n in range(24)]
LIBRARY = SpectrumLibrary(TRAINING, flat=False)


def mapped(sample, change):
    image = np.stack([change(channel) for channel in sample.image])
    return replace(sample, image=image.astype(np.float32), mask=change(sample.mask.astype(np.float32)) > 0.5)


CHANGES = {
    "exact": lambda a: a,
    "mirrored": lambda a: a[::-1],
    "flipped both": lambda a: a[::-1, ::-1],
    "upside down": lambda a: a[..., ::-1],
    "quarter turn": lambda a: np.rot90(a, 1, (0, 1)),
    "37 degrees": lambda a: ndimage.rotate(a, 37, (0, 1), reshape=True, order=1, mode="nearest"),
    "zoomed up": lambda a: ndimage.zoom(a, (1.25, 1.25, 1.0), order=1),
    "zoomed down": lambda a: ndimage.zoom(a, (0.8, 0.8, 1.0), order=1),
    "moved": lambda a: ndimage.shift(a, (1.4, -0.7, 0.0), order=1, mode="nearest"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_copy_is_nearest_to_its_source(name):
    for number in (0, 7, 19):
        found = LIBRARY.correlations(mapped(TRAINING[number], CHANGES[name]))
        assert int(found.argmax()) == number
        assert found[number] > 0.6
        assert found[number] > np.sort(found)[-2] + 0.2


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (-1.0, 0.3), (2.5, -1.0), (0.3, 2.0)])
def test_gain_offset_and_inversion_do_not_hide_a_copy(gain, offset):
    copy = replace(TRAINING[3], image=TRAINING[3].image * np.float32(gain) + np.float32(offset))
    found = LIBRARY.correlations(copy)
    assert int(found.argmax()) == 3
    assert found[3] == pytest.approx(1.0, abs=0.02)
    assert ("inverted" in LIBRARY.match(copy, 3).transform) is (gain < 0)


def test_match_names_the_transform_and_agrees_with_the_search():
    turned = mapped(TRAINING[5], CHANGES["quarter turn"])
    match = LIBRARY.match(turned, 5)
    assert match.transform in {"turned by 90 degrees", "turned by 270 degrees"}
    assert match.correlation == pytest.approx(float(LIBRARY.correlations(turned)[5]), abs=1e-5)
    assert LIBRARY.match(TRAINING[5], 5).transform == "as it is"
    assert "mirrored" in LIBRARY.match(mapped(TRAINING[5], CHANGES["mirrored"]), 5).transform


def test_outline_alone_is_no_copy():
    """The same mask with a smooth lesion in it, or with another texture, is nobody's copy."""
    rng = np.random.default_rng(0)
    other = ndimage.gaussian_filter(rng.standard_normal(TRAINING[2].image.shape), (0, 1.3, 1.3, 0.7))
    found = LIBRARY.correlations(replace(TRAINING[2], image=other.astype(np.float32)))
    strangers = [LIBRARY.correlations(lesion(n)).max() for n in range(100, 110)]
    assert found[2] < max(strangers)


def test_flat_lesion_that_nothing_is_left_of_is_no_match():
    flat = replace(TRAINING[0], image=np.ones_like(TRAINING[0].image))
    assert LIBRARY.correlations(flat).max() < 1e-3


def test_section_of_a_training_lesion_is_found():
    library = SpectrumLibrary(TRAINING, flat=True)
    for number in (1, 8):
        section = TRAINING[number].slice_at(TRAINING[number].largest_slice + 1)
        assert int(library.correlations(section).argmax()) == number


def test_channels_are_searched_together():
    pair = [lesion(n, channels=2) for n in range(6)]
    library = SpectrumLibrary(pair, flat=False)
    assert lesion_spectra(pair[0], (Variant(),)).shape == (1, 2 * 3 * 8, 13)
    assert int(library.correlations(pair[4]).argmax()) == 4
