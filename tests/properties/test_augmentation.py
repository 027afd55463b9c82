"""Augmentation, whatever the shape, type, channels and size of a batch."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.engine.warp import Resampling
from medaug.transforms._steps.apply import apply_records, facts_of
from medaug.transforms._steps.policy import Chance, Each, PolicyAugment
from medaug.transforms._steps.registry import STEPS

SIZES = st.one_of(st.just(1), st.integers(2, 17))


@st.composite
def batches(draw):
    """Odd, single-slice and anisotropic patches."""
    shape = tuple(draw(st.lists(SIZES, min_size=2, max_size=3)))
    count, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    images = torch.from_numpy(rng.normal(size=(count, channels, *shape))).to(dtype)
    labels = torch.from_numpy(rng.choice([0, 2, 9], size=(count, *shape)))
    labels = labels.to(draw(st.sampled_from([torch.uint8, torch.int16, torch.int64])))
    spacing_mm = tuple(tuple(float(s) for s in rng.uniform(0.3, 5, len(shape))) for _ in range(count))
    return PatchBatch(images, labels, spacing_mm, draw(st.sampled_from(list(Unit))))


def rngs(seed, count):
    return [np.random.default_rng((seed, n)) for n in range(count)]


POLICIES = st.lists(
    st.builds(
        lambda step, low, high: Chance(step=step, magnitude=(min(low, high), max(low, high))),
        st.sampled_from(sorted(STEPS)),
        st.floats(0, 1),
        st.floats(0, 1),
    ),
    max_size=5,
    unique_by=lambda chance: chance.step,
)


@given(batch=batches(), policy=POLICIES, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_shape_type_and_ids_stay_and_nothing_is_written_to(batch, policy, seed):
    before = batch.images.clone(), batch.labels.clone()
    changed = PolicyAugment(Each(policy), Resampling())(batch, rngs(seed, len(batch.images)))
    assert (changed.images.shape, changed.images.dtype) == (batch.images.shape, batch.images.dtype)
    assert (changed.labels.shape, changed.labels.dtype) == (batch.labels.shape, batch.labels.dtype)
    assert torch.isfinite(changed.images).all()
    assert set(changed.labels.unique().tolist()) <= set(batch.labels.unique().tolist())
    assert torch.equal(batch.images, before[0])
    assert torch.equal(batch.labels, before[1])


@given(batch=batches(), policy=POLICIES, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_records_do_not_depend_on_the_batch(batch, policy, seed):
    augment = PolicyAugment(Each(policy), Resampling())
    drawn = augment.draw(batch, rngs(seed, len(batch.images)))
    together = apply_records(batch, drawn, Resampling())
    for n, rng in reversed(list(enumerate(rngs(seed, len(batch.images))))):
        part = slice(n, n + 1)
        one = PatchBatch(batch.images[part], batch.labels[part], batch.spacing_mm[part], batch.unit)
        assert augment.draw(one, [rng]) == drawn[part]
        alone = apply_records(one, drawn[part], Resampling())
        off = (alone.images[0] - together.images[n]).abs()
        # counts of photons are whole numbers: the last bit of their mean may tip one
        assert (off > 1e-4).float().mean() < 0.02


@given(batch=batches(), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=40, deadline=None)
def test_identities_give_the_batch_back(batch, seed, data):
    names = data.draw(st.lists(st.sampled_from(sorted(STEPS)), max_size=4, unique=True))
    records = [
        tuple(STEPS[name].draw(0.0, rng, facts) for name in names)
        for facts, rng in zip(facts_of(batch), rngs(seed, len(batch.images)), strict=True)
    ]
    changed = apply_records(batch, records, Resampling())
    assert torch.equal(changed.images, batch.images)
    assert torch.equal(changed.labels, batch.labels)


@given(batch=batches(), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=40, deadline=None)
def test_windows_hold_voxels_of_the_patch(batch, seed, data):
    shape = tuple(batch.labels.shape[1:])
    size = tuple(data.draw(st.integers(1, n + 3)) for n in shape)
    padding = data.draw(st.sampled_from(["border", "zeros", "reflection"]))
    augment = PolicyAugment(Each(()), Resampling(padding=padding), size)
    cut = augment(batch, rngs(seed, len(batch.images)))
    assert tuple(cut.labels.shape[1:]) == size
    for before, after in zip(batch.images, cut.images, strict=True):
        held = set(before.flatten().tolist()) | ({0.0} if padding == "zeros" else set())
        assert set(after.flatten().tolist()) <= held
