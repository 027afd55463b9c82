"""Mixing within a batch: what a patch takes, what it keeps, and who takes part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medaug.core.errors import ConfigError
from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.transforms.base import parse_transforms

PARTS = ["cutmix", "carvemix", "copy_paste"]
SHAPES = [(24, 20), (28, 26, 5)]


def batch_of(shape, size=8):
    """Patches on levels of their own with noise; every other one holds a brighter lesion of its own class."""
    rng = np.random.default_rng(0)
    labels = np.zeros((size, *shape), np.uint8)
    images = rng.normal(0, 0.05, (size, 1, *shape)).astype(np.float32)
    for n in range(0, size, 2):
        i, j = (int(place) for place in rng.integers(4, 9, 2))
        spot = (n, slice(i, i + 5), slice(j, j + 4), *((slice(1, 4),) if len(shape) == 3 else ()))
        labels[spot] = 1 + n // 2
        images[(n, 0, *spot[1:])] += 2
    spacing_mm = ((1.0, 1.0, 2.0)[: len(shape)],) * size
    return PatchBatch(torch.from_numpy(images), torch.from_numpy(labels), spacing_mm, Unit.ARBITRARY)


def mixed(kind, batch, seed=0, **settings):
    raw = {"kind": kind, "base": {"kind": "none"}, "probability": 1.0, **settings}
    rngs = [np.random.default_rng((seed, n)) for n in range(len(batch.images))]
    return parse_transforms(raw).build(batch.unit)(batch, rngs)


def holders(batch):
    return batch.labels.flatten(1).any(dim=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", PARTS)
def test_every_voxel_and_its_label_come_from_the_same_patch(kind, shape):
    batch = batch_of(shape)
    changed = mixed(kind, batch, joint="hard", hosts="any")
    assert not torch.equal(changed.images, batch.images)
    # a lesion is 2 brighter, wherever it lies
    assert torch.equal(changed.images[:, 0] > 1, changed.labels > 0)


@pytest.mark.parametrize("kind", ["carvemix", "copy_paste"])
def test_by_default_no_more_patches_hold_a_lesion_than_before(kind):
    batch = batch_of((24, 20), size=12)
    for seed in range(5):
        changed = mixed(kind, batch, seed)
        assert torch.equal(holders(changed), holders(batch))
        assert (changed.labels != batch.labels).any()
    assert holders(mixed(kind, batch, hosts="any")).sum() > holders(batch).sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("joint", ["hard", "feather", "poisson"])
def test_a_pasted_lesion_leaves_the_hosts_own_one_alone(shape, joint):
    batch = batch_of(shape)
    pasted = 0
    for seed in range(6):
        changed = mixed("copy_paste", batch, seed, joint=joint)
        before, after = batch.labels, changed.labels
        assert torch.equal(after[before > 0], before[before > 0])
        pasted += int(((after > 0) & (before == 0)).any())
    assert pasted > 0


def test_a_pasted_lesion_is_whole_and_moved():
    batch = batch_of((24, 20))
    for seed in range(6):
        changed = mixed("copy_paste", batch, seed, joint="hard")
        new = (changed.labels > 0) & (batch.labels == 0)
        for n in range(len(new)):
            assert int(new[n].sum()) in (0, 20)


def test_a_lesion_goes_where_tissue_is_alike():
    batch = batch_of((48, 20))
    images = batch.images.clone()
    images[:, :, 24:] += 40  # other tissue below; the donors' lesions lie above
    changed = mixed("copy_paste", replace(batch, images=images), joint="hard")
    new = (changed.labels > 0) & (batch.labels == 0)
    assert new.any()
    assert not new[:, 24:].any()


def test_a_patch_alone_has_nobody_to_mix_with():
    batch = batch_of((24, 20), size=1)
    for kind in (*PARTS, "mixup"):
        changed = mixed(kind, batch)
        assert torch.equal(changed.images, batch.images)
        assert changed.second is None


def test_mixup_averages_images_and_keeps_both_labels():
    batch = batch_of((24, 20))
    changed = mixed("mixup", batch)
    assert changed.second is not None
    share = changed.second.share
    assert float(share.max()) <= 0.5
    assert float(share.min()) >= 0
    assert len(set(share.tolist())) == len(share)
    assert torch.equal(changed.labels, batch.labels)
    for n, part in enumerate(share):
        partner = next(
            m
            for m in range(len(share))
            if torch.allclose(
                changed.images[n], torch.lerp(batch.images[n], batch.images[m], part), atol=1e-5
            )
        )
        assert partner != n
        assert torch.equal(changed.second.labels[n], batch.labels[partner])


def test_patches_that_mix_nothing_keep_their_label_alone():
    changed = mixed("mixup", batch_of((24, 20)), probability=0.0)
    assert changed.second is None
    some = mixed("mixup", batch_of((24, 20)), probability=0.4)
    assert some.second is not None
    assert 0 < int((some.second.share == 0).sum()) < 8


@pytest.mark.parametrize("kind", [*PARTS, "mixup"])
def test_gradients_flow_to_the_images(kind):
    batch = batch_of((24, 20))
    images = batch.images.clone().requires_grad_()
    changed = mixed(kind, replace(batch, images=images), joint="hard") if kind in PARTS[:2] else None
    changed = changed or mixed(kind, replace(batch, images=images))
    changed.images.sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


@pytest.mark.parametrize("base", ["cutmix", "mixup", "adaptive"])
def test_mixing_before_mixing_and_a_base_that_is_not_learnt_are_refused(base):
    with pytest.raises(ConfigError, match=r"mixes patches itself|has not learnt"):
        parse_transforms({"kind": "carvemix", "base": {"kind": base}}).build(Unit.HU)
