"""Geometry in mm: against maps of points written anew, a dot that must go where it is sent, and fields that do not fold."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from medaug.core.errors import ConfigError
from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.engine.warp import Padding, Resampling
from medaug.transforms._steps import spatial
from medaug.transforms._steps.apply import apply_records, compose
from medaug.transforms._steps.step import Facts, SpatialStep

SPACING = (0.7, 1.1, 2.5)
FACTS = {
    2: Facts((41, 30), (0.7, 1.1), Unit.ARBITRARY),
    3: Facts((21, 30, 12), SPACING, Unit.ARBITRARY),
}


def forward(step, points, facts):
    """Where a step takes points, in mm from the middle of the patch."""
    dims = facts.dims
    moved = points
    match step:
        case spatial.Flip():
            moved = points * [-1 if axis in step.axes else 1 for axis in range(dims)]
        case spatial.Rotate():
            angles = step.angles_deg if dims == 3 else (0, 0, step.angles_deg[2])
            three = np.pad(points, ((0, 0), (0, 3 - dims)))
            moved = Rotation.from_euler("xyz", angles, degrees=True).apply(three)[:, :dims]
        case spatial.Scale():
            moved = points * step.factors[:dims]
        case spatial.Shear():
            moved = points.copy()
            pairs = [(a, b) for a in range(dims) for b in range(dims) if a != b]
            for (a, b), amount in zip(pairs, step.amounts, strict=True):
                moved[:, a] += amount * points[:, b]
        case spatial.Translate():
            moved = points + step.shift_mm[:dims]
        case spatial.Permute():
            moved = points[:, list(step.order)]
        case spatial.Perspective():
            half = (np.array(facts.shape) - 1) / 2 * facts.spacing_mm
            moved = points / (1 - points @ (np.array(step.slant) / half))[:, None]
    return moved


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dims", [2, 3])
def test_a_record_acts_as_its_steps_one_after_the_other(dims, seed):
    facts, rng = FACTS[dims], np.random.default_rng(seed)
    kinds: list[type[SpatialStep]] = [
        spatial.Flip,
        spatial.Rotate,
        spatial.Scale,
        spatial.Shear,
        spatial.Translate,
    ]
    kinds += [spatial.Perspective] if dims == 2 else []
    record = tuple(kinds[n].draw(1.0, rng, facts) for n in rng.permutation(len(kinds)))
    warp = compose(record, facts)
    seen = rng.uniform(0, 1, (50, dims)) * facts.shape
    found = np.c_[seen, np.ones(50)] @ warp.matrix.T
    middle = (np.array(facts.shape) - 1) / 2
    points = (found[:, :-1] / found[:, -1:] - middle) * facts.spacing_mm
    for step in record:
        points = forward(step, points, facts)
    assert np.allclose(points / facts.spacing_mm + middle, seen, atol=1e-6)


def dot(shape, at):
    image = np.zeros(shape, np.float32)
    image[at] = 1
    return ndimage.maximum_filter(image, 3)


def moved_dot(step, shape, spacing_mm, at):
    """The voxel at which a dot is found after a step."""
    images = torch.from_numpy(dot(shape, at))[None, None]
    batch = PatchBatch(images, (images[:, 0] > 0).to(torch.uint8), (spacing_mm,), Unit.ARBITRARY)
    changed = apply_records(batch, [(step,)], Resampling(padding="zeros"))
    middle = ndimage.center_of_mass(changed.images[0, 0].numpy())
    assert np.allclose(middle, ndimage.center_of_mass(changed.labels[0].numpy()), atol=0.5)
    return np.array(middle)


@pytest.mark.parametrize(
    ("step", "at", "goes"),
    [
        (spatial.Translate(shift_mm=(4.0, 0.0, 6.0)), (10, 10, 5), (14, 10, 8)),
        (spatial.Scale(factors=(1.5, 1.0, 1.0)), (14, 10, 5), (16, 10, 5)),
        # counter-clockwise as seen from +K: +I goes to +J
        (spatial.Rotate(angles_deg=(0, 0, 90.0)), (14, 10, 5), (10, 14, 5)),
        # 4 mm along J are two slices of 2 mm along K
        (spatial.Rotate(angles_deg=(90.0, 0, 0)), (10, 14, 5), (10, 10, 7)),
        (spatial.Rotate(angles_deg=(0, 90.0, 0)), (10, 10, 7), (14, 10, 5)),
        (spatial.Flip(axes=(0,)), (14, 10, 5), (6, 10, 5)),
        (spatial.Crop(size=(21, 21, 11), start=(3, -2, 0)), (14, 10, 5), (11, 12, 5)),
        (spatial.Shear(amounts=(0.5, 0, 0, 0, 0, 0)), (10, 14, 5), (12, 14, 5)),
    ],
)
def test_a_dot_goes_where_it_is_sent(step, at, goes):
    assert np.allclose(moved_dot(step, (21, 21, 11), (1.0, 1.0, 2.0), at), goes, atol=0.15)


def test_a_picture_turns_counter_clockwise_too():
    found = moved_dot(spatial.Rotate(angles_deg=(0, 0, 90.0)), (21, 21), (1.0, 2.0), (16, 10))
    assert np.allclose(found, (10, 13), atol=0.15)


def test_perspective_grows_the_side_it_slants_to():
    step = spatial.Perspective(slant=(0.2, 0.0))
    near = moved_dot(step, (41, 41), (1.0, 1.0), (30, 30))
    far = moved_dot(step, (41, 41), (1.0, 1.0), (10, 30))
    assert abs(near[1] - 20) > 10.5
    assert abs(far[1] - 20) < 9.5


def spline(control, counts):
    """scipy's B-spline through control points of which (1, 1, ...) lies on the first voxel."""
    for axis, count in enumerate(counts):
        points = control.shape[axis + 1]
        values = BSpline(np.arange(-2, points + 2) - 1.0, np.moveaxis(control, axis + 1, 0), 3)(
            np.linspace(0, points - 3, count)
        )
        control = np.moveaxis(values, 0, axis + 1)
    return control


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dims", [2, 3])
def test_images_show_what_the_maps_of_points_say(dims, dtype):
    facts = FACTS[dims]
    image = ndimage.gaussian_filter(
        np.random.default_rng(5).normal(size=(3, 2, *facts.shape)), (0, 0, *[1] * dims)
    )
    image /= np.ptp(image)
    kinds: list[type[SpatialStep]] = [spatial.Rotate, spatial.Scale, spatial.Shear, spatial.Elastic]
    records = [
        tuple(kind.draw(0.7, np.random.default_rng((n, m)), facts) for m, kind in enumerate(kinds))
        for n in range(3)
    ]
    labels = torch.from_numpy((image[:, 0] > 0.05).astype(np.int16) * 7)
    batch = PatchBatch(torch.from_numpy(image).to(dtype), labels, (facts.spacing_mm,) * 3, Unit.ARBITRARY)
    changed = apply_records(batch, records, Resampling())
    assert set(changed.labels.unique().tolist()) <= {0, 7}
    middle = (np.array(facts.shape) - 1) / 2
    grid = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in facts.shape], indexing="ij"))
    for n, record in enumerate(records):
        linear = np.eye(dims)
        for step in record[:-1]:
            linear = forward(step, linear, facts)
        control = np.asarray(record[-1].control(facts))
        points = (grid.reshape(dims, -1).T - middle) * facts.spacing_mm
        points = points + spline(control, facts.shape).reshape(dims, -1).T
        found = (points @ np.linalg.inv(linear)) / facts.spacing_mm + middle
        for channel in range(2):
            expected = ndimage.map_coordinates(image[n, channel], found.T, order=1, mode="nearest")
            off = np.abs(changed.images[n, channel].numpy().ravel() - expected)
            assert off.mean() < 1e-4
            assert off.max() < 1e-2
        ids = ndimage.map_coordinates(labels[n].numpy(), found.T, order=0, mode="nearest")
        assert (changed.labels[n].numpy().ravel() != ids).mean() < 1e-3


def jacobian(control, counts, spans):
    """Determinants of 1 + the gradient of a displacement, by the derivatives of scipy's B-splines."""
    dims = len(counts)
    found = np.zeros((*counts, dims, dims))
    for by in range(dims):
        moved = control
        for axis, count in enumerate(counts):
            points = control.shape[axis + 1]
            piece = BSpline(np.arange(-2, points + 2) - 1.0, np.moveaxis(moved, axis + 1, 0), 3)
            place = np.linspace(0, points - 3 - 1e-9, count)
            values = piece(place) if axis != by else piece.derivative()(place) * (points - 3) / spans[by]
            moved = np.moveaxis(values, 0, axis + 1)
        found[..., by] = np.moveaxis(moved, 0, -1)
    return np.linalg.det(found + np.eye(dims))


@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [((64, 48), (1.0, 1.0)), ((90, 20), (0.5, 3.0)), ((40, 40, 9), (0.7, 0.7, 5.0)), ((24, 30, 18), SPACING)],
)
def test_elastic_fields_never_fold(shape, spacing_mm):
    facts = Facts(shape, spacing_mm, Unit.ARBITRARY)
    spans = [(n - 1) * s for n, s in zip(shape, spacing_mm, strict=True)]
    counts = [min(2 * n, 45) for n in shape]
    lowest = []
    for seed in range(6):
        step = spatial.Elastic.draw(1.0, np.random.default_rng(seed), facts)
        assert step.share == 1
        control = np.asarray(step.control(facts))
        lowest.append(jacobian(control, counts, spans).min())
        # every control point as far as any may go, to a corner
        bound = np.array([span / cells for span, cells in zip(spans, step.cells, strict=True)]) * (
            0.48 if len(shape) == 2 else 0.40
        )
        assert (np.abs(control) <= bound.reshape(-1, *[1] * len(shape)) + 1e-12).all()
        worst = np.sign(control) * bound.reshape(-1, *[1] * len(shape))
        assert jacobian(worst, counts, spans).min() > 0
    assert min(lowest) > 0
    assert min(lowest) < 0.8


def test_an_elastic_field_of_a_smaller_window_does_not_fold():
    facts = Facts((60, 60), (1.0, 1.0), Unit.ARBITRARY)
    step = spatial.Elastic.draw(1.0, np.random.default_rng(0), facts)
    crop = spatial.Crop(size=(20, 30), start=(10, 10))
    control = compose((step, crop), facts).control
    assert control is not None
    assert jacobian(control, [60, 60], [19, 29]).min() > 0


@pytest.mark.parametrize("dims", [2, 3])
def test_draws_stay_within_their_limits(dims):
    facts, rng = FACTS[dims], np.random.default_rng(0)
    edge = [n * s for n, s in zip(facts.shape, facts.spacing_mm, strict=True)]
    for _ in range(200):
        turned = spatial.Rotate.draw(1.0, rng, facts).angles_deg
        assert max(abs(a) for a in turned[:2]) <= (15 if dims == 3 else 0)
        assert abs(turned[2]) <= 30
        assert all(1 / 1.54 <= f <= 1.54 for f in spatial.Scale.draw(1.0, rng, facts).factors)
        assert sum(map(abs, spatial.Shear.draw(1.0, rng, facts).amounts)) <= 0.4
        shift = spatial.Translate.draw(1.0, rng, facts).shift_mm
        assert all(abs(s) <= 0.2 * e for s, e in zip(shift, [*edge, 0.0], strict=False))
        assert set(spatial.Flip.draw(1.0, rng, facts).axes) <= {0, 1}
        start = spatial.Crop.draw(1.0, rng, facts).start
        assert all(abs(s) <= round(n / 8) for s, n in zip(start, facts.shape, strict=True))
        slant = spatial.Perspective.draw(1.0, rng, facts).slant
        assert max(map(abs, slant)) <= (0.11 if dims == 2 else 0)
        assert (1 + 0.11) / (1 - 0.11) <= 1.25


def test_axes_are_exchanged_only_where_they_are_alike():
    rng = np.random.default_rng(0)
    facts = Facts((8, 8, 8), (1.0, 1.0, 3.0), Unit.ARBITRARY)
    orders = {spatial.Permute.draw(1.0, rng, facts).order for _ in range(30)}
    assert orders == {(0, 1, 2), (1, 0, 2)}
    image = torch.rand(1, 1, 8, 8, 8)
    batch = PatchBatch(image, torch.zeros(1, 8, 8, 8, dtype=torch.uint8), (facts.spacing_mm,), Unit.ARBITRARY)
    changed = apply_records(batch, [(spatial.Permute(order=(1, 0, 2)),)], Resampling())
    assert torch.equal(changed.images, image.transpose(2, 3))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.31, 2.5)])
def test_crops_copy_voxels(spacing_mm):
    images = torch.rand(2, 2, 9, 8, 7)
    labels = (images[:, 0] * 5).long()
    batch = PatchBatch(images, labels, (spacing_mm,) * 2, Unit.ARBITRARY)
    records = [(spatial.Crop(size=(5, 8, 9), start=start),) for start in ((3, 0, -1), (0, 0, 0))]
    modes: list[tuple[Padding, Literal["edge", "constant"]]] = [("border", "edge"), ("zeros", "constant")]
    for padding, mode in modes:
        cut = apply_records(batch, records, Resampling(padding=padding))
        first = np.pad(images[0, :, 3:8].numpy(), ((0, 0), (0, 0), (0, 0), (1, 1)), mode=mode)
        assert np.array_equal(cut.images[0].numpy(), first)
        ids = np.pad(labels[1, :5].numpy(), ((0, 0), (0, 0), (0, 2)), mode=mode)
        assert np.array_equal(cut.labels[1].numpy(), ids)


def test_windows_lie_anywhere_they_fit():
    facts, rng = Facts((10, 6, 4), (1.0, 1.0, 1.0), Unit.ARBITRARY), np.random.default_rng(0)
    starts = np.array([spatial.Crop.anywhere((7, 6, 6), rng, facts).start for _ in range(200)])
    assert [set(column) for column in starts.T] == [{0, 1, 2, 3}, {0}, {-2, -1, 0}]


def test_what_does_not_go_together_is_refused():
    facts = FACTS[2]
    elastic = spatial.Elastic.draw(0.5, np.random.default_rng(0), facts)
    with pytest.raises(ConfigError, match="two elastic steps"):
        compose((elastic, elastic), facts)
    crops = tuple(spatial.Crop(size=size, start=(0, 0)) for size in ((4, 4), (5, 4)))
    with pytest.raises(ConfigError, match="several sizes"):
        compose(crops, facts)


def test_quarter_turns_are_exact():
    image = torch.rand(1, 1, 6, 6)
    batch = PatchBatch(image, torch.zeros(1, 6, 6).int(), ((0.3, 0.3),), Unit.ARBITRARY)
    for axes, order in itertools.product(((), (0,), (1,), (0, 1)), ((0, 1), (1, 0))):
        record = (spatial.Flip(axes=axes), spatial.Permute(order=order))
        expected = image.flip([axis + 2 for axis in axes]).permute(0, 1, *(axis + 2 for axis in order))
        assert torch.equal(apply_records(batch, [record], Resampling()).images, expected)


def test_growing_and_shrinking_are_alike():
    rng = np.random.default_rng(0)
    logs = [math.log(spatial.Scale.draw(1.0, rng, FACTS[2]).factors[0]) for _ in range(2000)]
    assert abs(np.mean(logs)) < 0.02
