"""What every step keeps: nothing changes at magnitude 0, gradients are slopes, formats stay, batches do not mix."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from medaug.core.errors import ConfigError, DataError
from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.engine.warp import Resampling
from medaug.transforms._steps.apply import apply_records, facts_of
from medaug.transforms._steps.registry import STEPS, read_record
from medaug.transforms._steps.step import GreyStep, SpatialStep

SHAPES = [(13, 10), (9, 8, 6), (7, 8, 1), (5, 1)]
TWO_OR_NONE = {"flip", "permute", "invert"}
# its gradient is that of the identity: counts are whole numbers
ROUNDED = {"poisson_noise"}


def batch_of(shape, dtype=torch.float32, count=3, unit=Unit.ARBITRARY):
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(count, 2, *shape))).to(dtype)
    labels = (images[:, 0] > 0.5).to(torch.uint8) * 3 + (images[:, 1] > 1).to(torch.uint8)
    return PatchBatch(images, labels, ((0.8, 1.1, 2.5)[: len(shape)],) * count, unit)


def records(name, batch, magnitude, seed=0):
    return tuple(
        (STEPS[name].draw(magnitude, np.random.default_rng((seed, n)), facts),)
        for n, facts in enumerate(facts_of(batch))
    )


def change(name, batch, magnitude, seed=0):
    return apply_records(batch, records(name, batch, magnitude, seed), Resampling())


@pytest.mark.parametrize("name", STEPS)
def test_at_magnitude_0_the_patch_comes_back_bit_for_bit(name):
    for shape, unit in itertools.product(SHAPES, Unit):
        batch = batch_of(shape, unit=unit)
        changed = change(name, batch, 0.0)
        assert torch.equal(changed.images, batch.images)
        assert torch.equal(changed.labels, batch.labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", STEPS)
def test_at_magnitude_1_shapes_types_and_ids_stay(name, dtype):
    for shape in SHAPES:
        batch = batch_of(shape, dtype)
        before = batch.images.clone(), batch.labels.clone()
        changed = change(name, batch, 1.0)
        assert (changed.images.shape, changed.images.dtype) == (batch.images.shape, dtype)
        assert torch.isfinite(changed.images).all()
        assert set(changed.labels.unique().tolist()) <= set(batch.labels.unique().tolist())
        if issubclass(STEPS[name], GreyStep):
            assert torch.equal(changed.labels, batch.labels)
        assert torch.equal(batch.images, before[0])
        assert torch.equal(batch.labels, before[1])


@pytest.mark.parametrize("name", STEPS)
def test_the_mean_change_grows_with_the_magnitude(name):
    shape = (20, 20) if name in {"perspective", "permute", "crop"} else (10, 9, 6)
    image = ndimage.gaussian_filter(
        np.random.default_rng(0).normal(size=(60, 1, *shape)), (0, 0, *[1.5] * len(shape))
    )
    spacing_mm = ((1.0,) * len(shape),) * 60
    batch = PatchBatch(
        torch.from_numpy(image).float(),
        torch.zeros(60, *shape, dtype=torch.uint8),
        spacing_mm,
        Unit.ARBITRARY,
    )
    off = [float((change(name, batch, m).images - batch.images).abs().mean()) for m in (0.3, 0.65, 1.0)]
    assert off[0] > 0
    assert off[0] == off[1] == off[2] if name in TWO_OR_NONE else off[0] < off[1] < off[2]


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 3)])
@pytest.mark.parametrize("name", STEPS)
def test_gradients_are_slopes(name, shape):
    batch = batch_of(shape, torch.float64, count=2)
    drawn = records(name, batch, 0.8, seed=4)
    along = torch.from_numpy(np.random.default_rng(1).normal(size=batch.images.shape))
    weights = torch.from_numpy(np.random.default_rng(2).normal(size=batch.images.shape))

    def loss(images):
        changed = apply_records(
            PatchBatch(images, batch.labels, batch.spacing_mm, batch.unit), drawn, Resampling()
        )
        return (changed.images * weights).sum()

    images = batch.images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(images), images)
    if name in ROUNDED:
        assert torch.equal(slope, weights)
        return
    h = 1e-6
    expected = float(loss(batch.images + h * along) - loss(batch.images - h * along)) / (2 * h)
    # places and curves of the field are float32, the noise of a seed is the same twice
    assert float((slope * along).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", STEPS)
def test_float32_is_the_same_way_for_a_gradient(name):
    batch = batch_of((9, 8, 6))
    drawn = records(name, batch, 0.8, seed=2)
    plain = apply_records(batch, drawn, Resampling()).images
    images = batch.images.clone().requires_grad_()
    watched = PatchBatch(images, batch.labels, batch.spacing_mm, batch.unit)
    followed = apply_records(watched, drawn, Resampling()).images
    assert torch.allclose(plain, followed.detach(), atol=1e-5)
    followed.square().sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize("name", STEPS)
def test_constant_images_stay_finite(name):
    for value in (0.0, 0.7):
        batch = batch_of((8, 7))
        flat = PatchBatch(torch.full_like(batch.images, value), batch.labels, batch.spacing_mm, batch.unit)
        assert torch.isfinite(change(name, flat, 1.0).images).all()


@pytest.mark.parametrize(
    ("shape", "layout"), [((12, 11), torch.channels_last), ((9, 8, 6), torch.channels_last_3d)]
)
@pytest.mark.parametrize("name", STEPS)
def test_channels_last_is_kept_and_changes_nothing(name, shape, layout):
    plain = batch_of(shape)
    batch = PatchBatch(
        plain.images.contiguous(memory_format=layout), plain.labels, plain.spacing_mm, plain.unit
    )
    changed = change(name, batch, 0.9)
    assert changed.images.is_contiguous(memory_format=layout)
    assert not changed.images.is_contiguous()
    assert torch.allclose(changed.images, change(name, plain, 0.9).images, atol=1e-5)


@pytest.mark.parametrize("shape", [(12, 11), (9, 8, 6)])
@pytest.mark.parametrize("name", STEPS)
def test_an_image_alone_is_the_one_of_its_batch(name, shape):
    batch = batch_of(shape)
    drawn = list(records(name, batch, 0.9))
    drawn[1] = ()
    together = apply_records(batch, drawn, Resampling())
    backwards = apply_records(
        PatchBatch(batch.images.flip(0), batch.labels.flip(0), batch.spacing_mm, batch.unit),
        drawn[::-1],
        Resampling(),
    )
    assert torch.allclose(backwards.images.flip(0), together.images, atol=1e-5)
    assert torch.equal(together.images[1], batch.images[1])
    for n in range(3):
        one = PatchBatch(batch.images[n : n + 1], batch.labels[n : n + 1], batch.spacing_mm[:1], batch.unit)
        alone = apply_records(one, drawn[n : n + 1], Resampling())
        # products of several matrices may round otherwise than one
        assert torch.allclose(alone.images[0], together.images[n], atol=1e-5)
        assert (alone.labels[0] != together.labels[n]).float().mean() < 0.01


@pytest.mark.parametrize("name", STEPS)
def test_records_are_json_and_replay(name):
    batch = batch_of((9, 8, 6))
    drawn = records(name, batch, 0.7)
    text = json.dumps([[step.model_dump(mode="json") for step in record] for record in drawn])
    replayed = tuple(read_record(record) for record in json.loads(text))
    assert replayed == drawn
    first, again = (apply_records(batch, one, Resampling()) for one in (drawn, replayed))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", STEPS)
def test_half_precision_is_computed_in_full(name, dtype):
    batch = batch_of((12, 10), dtype)
    full = PatchBatch(batch.images.float(), batch.labels, batch.spacing_mm, batch.unit)
    changed, expected = change(name, batch, 0.8), change(name, full, 0.8)
    assert changed.images.dtype == dtype
    assert torch.equal(changed.images, expected.images.to(dtype))
    assert torch.equal(changed.labels, expected.labels)


def test_whole_numbers_are_refused():
    batch = batch_of((6, 5))
    # no type checker stands between a user and this
    object.__setattr__(batch, "images", batch.images.int())
    with pytest.raises(DataError, match="int32"):
        apply_records(batch, [()] * 3, Resampling())


def test_a_record_too_few_is_refused():
    with pytest.raises(ConfigError, match="2 records for 3 patches"):
        apply_records(batch_of((6, 5)), [()] * 2, Resampling())


def test_a_second_step_of_a_kind_comes_after_the_first():
    batch = batch_of((6, 5))
    up = STEPS["brightness"].model_validate({"shift": 0.5})
    changed = apply_records(batch, [(up, up), (), (up,)], Resampling())
    for n, shift in enumerate((1.0, 0.0, 0.5)):
        assert torch.allclose(changed.images[n], batch.images[n] + shift)


def test_the_order_of_a_record_is_that_of_a_scan():
    batch = batch_of((8, 7))
    drawn = [
        STEPS[name].draw(0.8, np.random.default_rng(1), facts_of(batch)[0])
        for name in STEPS
        if name != "permute"
    ]
    grey = [step for step in drawn if not isinstance(step, SpatialStep)]
    forth, back = (apply_records(batch, [tuple(one)] * 3, Resampling()) for one in (grey, grey[::-1]))
    assert torch.equal(forth.images, back.images)


def test_the_whole_pipeline_keeps_its_format_and_passes_gradients():
    plain = batch_of((12, 11))
    images = plain.images.contiguous(memory_format=torch.channels_last).requires_grad_()
    batch = PatchBatch(images, plain.labels, plain.spacing_mm, plain.unit)
    names = [name for name in STEPS if name not in {"crop", "permute", "poisson_noise"}]
    record = tuple(STEPS[name].draw(0.5, np.random.default_rng(0), facts_of(batch)[0]) for name in names)
    changed = apply_records(batch, [record, record[:7], record[7:]], Resampling())
    assert changed.images.is_contiguous(memory_format=torch.channels_last)
    changed.images.sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(160, 200), (66, 70, 64)])
def test_several_cores_find_what_one_does(shape):
    count = 9 if len(shape) == 2 else 1
    batch = batch_of(shape, count=count)
    names = ["rotate", "elastic", "gamma", "gaussian_noise", "bias_field", "blur"]
    drawn = tuple(
        tuple(STEPS[name].draw(0.7, np.random.default_rng((n, m)), facts) for m, name in enumerate(names))
        for n, facts in enumerate(facts_of(batch))
    )
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(apply_records(batch, drawn, Resampling()))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    # slabs of another depth round places otherwise, by a thousandth of a voxel at most
    off = (found[0].images - found[1].images).abs() / batch.images.std()
    assert off.max() < 5e-3
    assert off.mean() < 3e-4
    assert (found[0].labels != found[1].labels).float().mean() < 1e-4
    with torch.inference_mode():
        assert torch.allclose(apply_records(batch, drawn, Resampling()).images, found[0].images, atol=1e-2)
