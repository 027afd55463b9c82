"""One map a sample: against scipy in float64, exact where voxels only change places, the same in slabs and in batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.interpolate import BSpline

from medaug.core.errors import GeometryError
from medaug.engine import resample as module
from medaug.engine.warp import Resampling, Warp, unwarp_images, warp_images, warp_pairs

RNG = np.random.default_rng(0)


def smooth(shape: tuple[int, ...]) -> np.ndarray:
    """An image of range 1."""
    image = ndimage.gaussian_filter(
        np.random.default_rng(1).normal(size=shape), [min(1.0, n / 6) for n in shape]
    )
    return np.asarray(image / np.ptp(image), dtype=np.float32)


def some_warp(dims: int, *, points: int | None = 7, strength: float = 0.1) -> Warp:
    """An affine map near the identity, with a displacement of a voxel or so."""
    matrix = np.eye(dims + 1)
    matrix[:dims, :dims] += RNG.normal(size=(dims, dims)) * strength
    matrix[:dims, dims] = RNG.normal(size=dims)
    control = None if points is None else RNG.uniform(-1.5, 1.5, (dims, *([points] * dims)))
    return Warp(matrix, control)


def looked_at(warp: Warp, out: tuple[int, ...]) -> np.ndarray:
    """Where each voxel of the output looks, in float64: scipy's B-splines along each axis."""
    places = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in out], indexing="ij"))
    if warp.control is not None:
        moved = warp.control
        for axis, n in enumerate(out):
            count = moved.shape[axis + 1]
            knots = np.arange(-2, count + 2) - 1.0
            spline = BSpline(knots, np.moveaxis(moved, axis + 1, 0), 3)
            moved = np.moveaxis(spline(np.linspace(0, count - 3, n)), 0, axis + 1)
        places = places + moved
    seen = np.tensordot(warp.matrix, np.concatenate([places, np.ones((1, *out))]), axes=1)
    return seen[:-1] / seen[-1:]


@pytest.mark.parametrize("shape", [(31, 50), (17, 22, 9), (64, 70, 40)])
def test_agrees_with_scipy_in_float64(shape):
    image, warp = smooth(shape), some_warp(len(shape))
    if len(shape) == 2:
        warp.matrix[-1, :2] = (1e-3, -5e-4)
    labels = (image > 0.1).astype(np.uint8) * 3
    moved, ids = warp_pairs(
        torch.from_numpy(image)[None, None], torch.from_numpy(labels)[None], [warp], Resampling()
    )
    seen = looked_at(warp, shape)
    expected = ndimage.map_coordinates(image.astype(np.float64), seen, order=1, mode="nearest")
    off = np.abs(moved[0, 0].numpy() - expected)
    # float32 tells places on the rows of all slices of a slab apart by a thousandth of a row at worst
    assert off.max() < 1e-3
    assert off.mean() < 2e-5
    nearest = ndimage.map_coordinates(labels, seen, order=0, mode="nearest")
    # places half-way between two voxels may round either way
    assert (ids[0].numpy() != nearest).mean() < 1e-3


def keys(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel with a = -0.75."""
    a, x = -0.75, np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def test_cubic_is_keys_kernel():
    image, warp = smooth((24, 26)), some_warp(2, points=None, strength=0.02)
    moved = warp_images(torch.from_numpy(image)[None, None], [warp], Resampling("cubic"))[0, 0].numpy()
    seen = looked_at(warp, (24, 26))
    rows, columns = (keys(seen[axis][..., None] - np.arange(n)) for axis, n in enumerate((24, 26)))
    expected = np.einsum("xyi,xyj,ij->xy", rows, columns, image.astype(np.float64))
    inner = (slice(5, -5), slice(5, -5))
    assert np.abs(moved[inner] - expected[inner]).max() < 1e-4


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 5), (8, 8, 1)])
def test_identity_is_the_input_itself(shape):
    images = torch.rand(2, 3, *shape)
    labels = (images[:, 0] > 0.5).int()
    moved, ids = warp_pairs(images, labels, [Warp.identity(len(shape))] * 2, Resampling())
    assert moved is images
    assert torch.equal(ids, labels)


@given(axes=st.permutations([0, 1, 2]), flips=st.tuples(st.booleans(), st.booleans(), st.booleans()))
@settings(max_examples=30, deadline=None)
def test_turns_and_flips_are_exact(axes, flips):
    size = 6
    linear, shift = np.zeros((3, 3)), np.zeros(3)
    for axis, (source, flip) in enumerate(zip(axes, flips, strict=True)):
        linear[source, axis] = -1.0 if flip else 1.0
        shift[source] = size - 1.0 if flip else 0.0
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    image = torch.rand(1, 2, size, size, size, dtype=torch.float64)
    moved = warp_images(image, [Warp(matrix)], Resampling())
    expected = image[0].numpy().transpose(0, *(axis + 1 for axis in axes))
    expected = np.flip(expected, tuple(axis + 1 for axis, flip in enumerate(flips) if flip))
    assert np.array_equal(moved[0].numpy(), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_sample_does_not_depend_on_its_batch(dims):
    shape = (20, 18, 12)[:dims]
    warps = [some_warp(dims), Warp.identity(dims), some_warp(dims, points=None), some_warp(dims, points=5)]
    images = torch.rand(4, 2, *shape)
    labels = (images[:, 0] * 4).to(torch.uint8)
    together = warp_pairs(images, labels, warps, Resampling())
    for n, warp in enumerate(warps):
        alone = warp_pairs(images[n : n + 1], labels[n : n + 1], [warp], Resampling())
        # one matrix product for several images may differ in the last bits
        assert torch.allclose(together[0][n], alone[0][0], atol=1e-5)
        assert (together[1][n] != alone[1][0]).float().mean() < 1e-3


def test_slabs_join_without_a_seam(monkeypatch):
    images, warp = torch.rand(1, 1, 21, 10, 9), some_warp(3)
    whole = warp_images(images, [warp], Resampling())
    monkeypatch.setattr(module, "SLAB_VOXELS", 4 * 90)
    assert torch.allclose(warp_images(images, [warp], Resampling()), whole, atol=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "argmax"])
@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
def test_labels_hold_no_other_ids(mode, padding):
    labels = torch.tensor([2, 7, 7, 5])[
        torch.randint(0, 4, (3, 15, 14), generator=torch.Generator().manual_seed(0))
    ]
    how = Resampling("linear", mode, padding)
    _, ids = warp_pairs(
        torch.zeros(3, 1, 15, 14), labels, [some_warp(2, strength=0.4) for _ in range(3)], how
    )
    allowed = {2, 5, 7} | ({0} if padding == "zeros" or mode == "argmax" else set())
    assert set(ids.unique().tolist()) <= allowed
    assert ids.dtype == labels.dtype


def test_argmax_follows_the_greater_share():
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, 4:] = 1
    matrix = np.eye(3)
    matrix[0, 2] = 0.4
    _, ids = warp_pairs(torch.zeros(1, 1, 8, 8), labels, [Warp(matrix)], Resampling(labels="argmax"))
    assert ids[0, :, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    matrix[0, 2] = 0.6
    _, ids = warp_pairs(torch.zeros(1, 1, 8, 8), labels, [Warp(matrix)], Resampling(labels="argmax"))
    assert ids[0, :, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
@pytest.mark.parametrize("shape", [(11, 9), (8, 7, 6), (5, 1, 6), (1, 6, 5), (6, 5, 1)])
def test_whole_shifts_copy_what_resampling_finds(shape, padding):
    dims = len(shape)
    matrix = np.eye(dims + 1)
    matrix[:dims, dims] = (-2, 3, 1)[:dims]
    matrix[0, 0], matrix[0, dims] = -1.0, 4.0
    nudged = matrix.copy()
    nudged[:dims, dims] += 1e-9
    out = tuple(n + 2 for n in shape)
    images = torch.rand(1, 2, *shape, dtype=torch.float64)
    how = Resampling("linear", "nearest", padding)
    copied = warp_images(images, [Warp(matrix)], how, out)
    assert Warp(matrix).copy() is not None
    assert Warp(nudged).copy() is None
    # an axis of one voxel stays on it when it is resampled
    wide = [axis for axis in range(dims) if shape[axis] > 1]
    if len(wide) == dims:
        assert torch.allclose(copied, warp_images(images, [Warp(nudged)], how, out), atol=1e-5)
    places = looked_at(Warp(matrix), out)
    mode = {"border": "nearest", "zeros": "constant", "reflection": "mirror"}[padding]
    expected = ndimage.map_coordinates(images[0, 1].numpy(), places, order=0, mode=mode)
    assert np.array_equal(copied[0, 1].numpy(), expected)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_many_rows_are_read_as_few_are(monkeypatch, padding):
    images, warp, labels = torch.rand(1, 2, 12, 11, 10), some_warp(3), torch.randint(0, 3, (1, 12, 11, 10))
    how = Resampling("linear", "nearest", padding)
    few = warp_pairs(images, labels, [warp], how)
    monkeypatch.setattr(module, "_ROWS", 1)
    many = warp_pairs(images, labels, [warp], how)
    assert torch.allclose(few[0], many[0], atol=1e-4)
    assert (few[1] != many[1]).float().mean() < 5e-3


def test_gradients_of_rows_are_those_of_a_volume(monkeypatch):
    warp = some_warp(3, points=5)
    found: list[torch.Tensor] = []
    for rows in (1 << 15, 1):
        monkeypatch.setattr(module, "_ROWS", rows)
        images = torch.rand(1, 2, 6, 7, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = (warp_images(images, [warp], Resampling()) ** 2).sum()
        found += torch.autograd.grad(loss, images)
    assert torch.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize("dims", [2, 3])
def test_gradients_flow_to_the_images(dims):
    images = torch.rand(1, 1, *(5, 6, 4)[:dims], dtype=torch.float64, requires_grad=True)
    warp = some_warp(dims, points=5)
    assert torch.autograd.gradcheck(lambda x: warp_images(x, [warp], Resampling()), images)


def test_channels_last_is_kept():
    images = torch.rand(2, 3, 9, 8).to(memory_format=torch.channels_last)
    moved = warp_images(images, [some_warp(2), some_warp(2)], Resampling())
    assert moved.is_contiguous(memory_format=torch.channels_last)


def test_output_may_have_another_size():
    image = torch.arange(36.0).view(1, 1, 6, 6)
    matrix = np.eye(3)
    matrix[:2, 2] = (2, 1)
    moved = warp_images(image, [Warp(matrix)], Resampling(), (3, 4))
    assert torch.allclose(moved[0, 0], image[0, 0, 2:5, 1:5], atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 36), (32, 28, 24)])
def test_what_was_moved_comes_back(shape):
    dims = len(shape)
    axes = np.meshgrid(*[np.linspace(0, 3, n) for n in shape], indexing="ij")
    image = torch.from_numpy(np.sin(sum(axes)).astype(np.float32))[None, None].repeat(2, 1, *([1] * dims))
    matrix = np.eye(dims + 1)
    matrix[0, 1], matrix[1, 0], matrix[0, -1] = 0.05, -0.05, 0.7
    control = RNG.uniform(-1, 1, (dims, *([8] * dims))) * 1.8
    warps = [Warp(matrix, control), Warp(matrix)]
    back = unwarp_images(warp_images(image, warps, Resampling()), warps, Resampling(), shape)
    inner = (slice(None), slice(None), *[slice(6, -6)] * dims)
    assert (back - image)[inner].abs().max() < 0.02
    assert (warp_images(image, warps, Resampling()) - image)[inner].abs().max() > 0.1


def test_wrong_calls_are_refused():
    with pytest.raises(GeometryError, match="2 maps for 1 images"):
        warp_images(torch.rand(1, 1, 4, 4), [Warp.identity(2)] * 2, Resampling())
    with pytest.raises(GeometryError, match="cubic interpolation is for 2D"):
        warp_images(torch.rand(1, 1, 4, 4, 4), [some_warp(3)], Resampling("cubic"))
