"""The blend fades and leaves everything outside its edit mask as it was."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import GeometryError
from medaug.lesions.blend import Feather, blend, feather
from tests.shapes import wrong_on_purpose


def square(shape=(20, 20, 1), size=8):
    mask = np.zeros(shape, dtype=bool)
    mask[6 : 6 + size, 6 : 6 + size] = True
    return mask


def test_ramp_is_whole_inside_and_nothing_outside():
    ramp = feather(square(), Feather())
    assert ramp[10, 10, 0] == 1.0
    assert ramp[7, 10, 0] == pytest.approx(1.0, abs=0.2)
    assert 0.4 < ramp[6, 10, 0] < 1.0
    assert 0.0 < ramp[5, 10, 0] < ramp[6, 10, 0]
    assert ramp[3, 10, 0] == 0.0


def test_ramp_can_cover_the_rim():
    ramp = feather(square(), Feather(full=0.5, end=2.5))
    assert (ramp[square()] == 1.0).all()
    assert ramp[5, 10, 0] == 1.0
    assert 0.0 < ramp[4, 10, 0] < 1.0


def test_slices_mix_only_where_they_are_near():
    mask = np.zeros((20, 20, 5), dtype=bool)
    mask[6:14, 6:14, 2] = True
    assert not feather(mask, Feather(through_plane=4.0))[..., 1].any()
    assert feather(mask, Feather(through_plane=1.0))[10, 10, 1] > 0.0


def test_a_slab_filled_by_its_mask_is_replaced():
    host = np.zeros((1, 4, 4, 1), dtype=np.float32)
    blended, edited = blend(host, host + 5, np.ones((4, 4, 1), dtype=bool), Feather())
    assert (blended == 5).all()
    assert edited.all()


def test_shapes_must_agree():
    host = np.zeros((1, 20, 20, 1), dtype=np.float32)
    with wrong_on_purpose(), pytest.raises(GeometryError, match="do not agree"):
        blend(host, host[:, 1:], square(), Feather())


def test_empty_mask_changes_nothing():
    host = np.ones((1, 20, 20, 1), dtype=np.float32)
    blended, edited = blend(host, host + 1, np.zeros((20, 20, 1), dtype=bool), Feather())
    np.testing.assert_array_equal(blended, host)
    assert not edited.any()


def test_poisson_takes_on_the_brightness_of_the_host():
    host = np.zeros((1, 20, 20, 1), dtype=np.float32)
    lesion = host + 100
    lesion[0, 9:11, 9:11] += 50
    blended, edited = blend(host, lesion, square(), Feather(), "poisson")
    peak = blended[0, 9:11, 9:11].mean() - blended[0, 7, 7, 0]
    assert peak == pytest.approx(50, abs=15)
    assert abs(blended[0, 6, 6, 0]) < 20
    np.testing.assert_array_equal(blended[:, ~edited], host[:, ~edited])


def rim_and_core():
    i, j, _ = np.indices((64, 64, 1))
    mask = np.hypot(i - 32, j - 32) < 20
    alpha = feather(mask, Feather(-2.0, 4.0))
    return mask, (alpha > 0.2) & (alpha < 0.8)


def test_kept_grain_is_as_rough_on_the_rim_as_on_either_side():
    mask, rim = rim_and_core()
    rng = np.random.default_rng(0)
    host, lesion = (rng.normal(0, 20, (1, 64, 64, 1)).astype(np.float32) for _ in range(2))
    plain, _ = blend(host, lesion, mask, Feather(-2.0, 4.0))
    kept, edited = blend(host, lesion, mask, Feather(-2.0, 4.0), keep_grain=True)
    assert plain[0, rim].std() < 16.5
    assert kept[0, rim].std() == pytest.approx(20, rel=0.07)
    assert kept[:, ~edited].tobytes() == host[:, ~edited].tobytes()


def test_one_grain_in_both_images_is_not_made_stronger():
    mask, rim = rim_and_core()
    host = np.random.default_rng(0).normal(0, 20, (1, 64, 64, 1)).astype(np.float32)
    kept, _ = blend(host, host + 5, mask, Feather(-2.0, 4.0), keep_grain=True)
    assert kept[0, rim].std() == pytest.approx(host[0, rim].std(), rel=0.03)


def test_a_smooth_lesion_gets_no_grain_and_a_bright_edge_stays():
    mask, _ = rim_and_core()
    host = np.random.default_rng(0).normal(0, 20, (1, 64, 64, 1)).astype(np.float32)
    flat = np.zeros_like(host)
    np.testing.assert_array_equal(
        blend(host, flat, mask, Feather(-2.0, 4.0), keep_grain=True)[0],
        blend(host, flat, mask, Feather(-2.0, 4.0))[0],
    )
