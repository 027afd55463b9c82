"""Laws of space: LPS to RAS and back, reorientation and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medaug.core.geometry import Box, Grid, lps_to_ras, ras_to_lps, to_ras

Voxel = tuple[int, int, int]
Parts = tuple[list[int], list[float], list[float], list[float], float]

affines = st.tuples(
    st.permutations([0, 1, 2]),
    st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3),
    st.lists(st.floats(0.2, 5.0), min_size=3, max_size=3),
    st.lists(st.floats(-300, 300), min_size=3, max_size=3),
    st.floats(-0.4, 0.4),
)


def build(parts: Parts) -> np.ndarray:
    order, signs, spacing, origin, angle_rad = parts
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle_rad), -np.sin(angle_rad)], [np.sin(angle_rad), np.cos(angle_rad)]]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.eye(3)[:, order] @ np.diag(signs) @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def moved(voxel: Voxel, by: Voxel) -> Voxel:
    return (voxel[0] + by[0], voxel[1] + by[1], voxel[2] + by[2])


@given(affines)
def test_lps_to_ras_is_its_own_inverse(parts: Parts) -> None:
    affine = build(parts)
    np.testing.assert_array_equal(ras_to_lps(lps_to_ras(affine)), affine)


@given(affines, st.tuples(*[st.integers(1, 6)] * 3))
def test_reorientation_moves_every_voxel_with_its_place(parts: Parts, shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, build(parts))
    array = np.arange(float(np.prod(shape))).reshape(shape)
    ras, turn = to_ras(grid)
    turned = turn.apply(array)
    assert turned.shape == ras.shape
    assert np.array_equal(turn.invert(turned), array)
    index = tuple(n // 2 for n in shape)
    place = np.rint(ras.to_index(grid.to_mm(np.array(index)))).astype(int)
    assert turned[tuple(place)] == array[index]
    assert ras.spacing_mm == tuple(np.array(grid.spacing_mm)[list(turn.order)])


@given(
    arrays(np.int16, (1, 4, 5, 3)),
    st.tuples(*[st.integers(-3, 2)] * 3),
    st.tuples(*[st.integers(4, 7)] * 3),
)
def test_a_cut_holds_the_image_where_they_meet(image: np.ndarray, start: Voxel, size: Voxel) -> None:
    box = Box(start, moved(start, size))
    part = box.clipped((4, 5, 3))
    offset = moved(part.start, (-start[0], -start[1], -start[2]))
    inner = Box(offset, moved(offset, part.shape))
    assert np.array_equal(box.cut(image)[(0, *inner.slices)], image[(0, *part.slices)])
