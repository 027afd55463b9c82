from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.generators._patches.window import Window, signed_distance
from tests.made_lesions import ball

SPACING = (0.7, 0.7, 2.1)


def image(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 8)])
def test_small_lesion_is_seen_at_native_resolution_and_comes_back_unchanged(size: tuple[int, ...]) -> None:
    mask = ball((40, 40, 6), 4)[..., :4]
    window = Window.around(mask, size, SPACING)
    host = image((40, 40, 4))
    back = window.back(window.frames(host), (40, 40, 4))
    seen = window.box.clipped((40, 40, 4)).slices
    np.testing.assert_array_equal(back[(slice(None), *seen)], host[(slice(None), *seen)])
    outside = np.ones((40, 40, 4), dtype=bool)
    outside[seen] = False
    assert not back[:, outside].any()


def test_slices_are_frames_in_2d_and_one_volume_in_3d() -> None:
    mask = ball((40, 40, 6), 5)
    slices = int(mask.any(axis=(0, 1)).sum())
    flat, deep = Window.around(mask, (16, 16), SPACING), Window.around(mask, (16, 16, 8), SPACING)
    assert flat.frames(image((40, 40, 6))).shape == (slices, 2, 16, 16)
    assert deep.frames(image((40, 40, 6))).shape == (1, 2, 16, 16, 8)


def test_large_lesion_is_shrunk_with_room_to_spare() -> None:
    mask = ball((80, 80, 1), 35)
    window = Window.around(mask, (16, 16), SPACING)
    assert window.box.shape[0] == pytest.approx(1.6 * 70, abs=1)
    distance = window.distances(mask)
    assert distance.shape == (1, 1, 16, 16)
    assert float((distance > 0).float().mean()) == pytest.approx(np.pi / 4 / 1.6**2, rel=0.1)


def test_change_of_a_large_lesion_is_brought_back_smoothly() -> None:
    mask = ball((80, 80, 1), 35)
    window = Window.around(mask, (16, 16), SPACING)
    back = window.back(torch.ones(1, 1, 16, 16), (80, 80, 1))
    np.testing.assert_allclose(back[0][mask], 1.0, rtol=1e-5)


def test_window_may_reach_outside_the_patch() -> None:
    mask = np.zeros((20, 20, 1), dtype=bool)
    mask[:3, 17:, 0] = True
    window = Window.around(mask, (16, 16), SPACING)
    host = image((20, 20, 1))
    assert torch.isfinite(window.frames(host)).all()
    back = window.back(window.frames(host), (20, 20, 1))
    np.testing.assert_array_equal(back[:, mask], host[:, mask])


def test_line_of_voxels_survives_shrinking() -> None:
    mask = np.zeros((100, 100, 1), dtype=bool)
    mask[10:90, 50, 0] = True
    assert float(Window.around(mask, (16, 16), SPACING).distances(mask).max()) > 0


def test_distance_counts_in_plane_voxels_and_slices_by_their_ratio() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, 4] = True
    distance = signed_distance(mask, 3.0)
    assert distance[4, 4, 4] == 0.5
    assert distance[6, 4, 4] == -1.5
    assert distance[4, 4, 5] == -2.5


def test_slice_without_lesion_is_far_from_one() -> None:
    assert (signed_distance(np.zeros((5, 5), dtype=bool), 1.0) == -24).all()
