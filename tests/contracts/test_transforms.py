"""What every augmentation keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medaug.core.case import AUGMENTATIONS
from medaug.core.plugins import kinds, load_plugin
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.transforms import Journal, read_drawn, replay
from medaug.transforms.base import LearntConfig, parse_transforms

KINDS = kinds("transforms")
SHAPES = [(32, 24), (16, 12, 8), (5, 7), (9, 8, 1)]


def make_batch(shape, size=3, unit=Unit.ARBITRARY):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(size, 2, *shape)).astype(np.float32)
    labels = (images[:, 0] > 1) * rng.integers(1, 4, size=(size, *shape))
    spacing_mm = tuple((0.8, 0.8, 2.5)[: len(shape)] for _ in range(size))
    return PatchBatch(torch.from_numpy(images), torch.from_numpy(labels.astype(np.uint8)), spacing_mm, unit)


def rngs(seed, size=3):
    return [np.random.default_rng((seed, n)) for n in range(size)]


def ids(labels):
    return set(torch.unique(labels).tolist())


def built(kind, unit=Unit.ARBITRARY):
    """The augmentation; of a kind that is learnt, the one that its search begins with."""
    config = parse_transforms({"kind": kind})
    if isinstance(config, LearntConfig):
        config = config.policy(config.propose((), unit, "", SeedTree(0)), unit, "")
    return config.build(unit)


@pytest.mark.parametrize("kind", KINDS)
def test_config_is_called_as_its_file(kind):
    assert load_plugin("transforms", kind).Config().kind == kind


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_ids_and_inputs_are_kept(kind, shape, unit):
    augment = built(kind, unit)
    batch = make_batch(shape, unit=unit)
    before = batch.images.clone(), batch.labels.clone()
    for seed in range(6):
        changed = augment(batch, rngs(seed))
        assert changed.images.shape == batch.images.shape
        assert changed.images.dtype == torch.float32
        assert (changed.labels.shape, changed.labels.dtype) == (batch.labels.shape, batch.labels.dtype)
        assert ids(changed.labels) <= ids(batch.labels)
        assert torch.isfinite(changed.images).all()
        assert changed.spacing_mm == batch.spacing_mm
    assert torch.equal(batch.images, before[0])
    assert torch.equal(batch.labels, before[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rngs_give_the_same_batch_whatever_ran_before(kind):
    batch = make_batch((24, 24))
    first, second = built(kind), built(kind)
    for seed in range(3):
        second(replace(batch, images=batch.images * 2), rngs(100 + seed))
        a, b = first(batch, rngs(seed)), second(batch, rngs(seed))
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_is_written_down_and_replayed_bit_for_bit(kind, tmp_path):
    batch = replace(make_batch((24, 20)), step=7)
    path = tmp_path / AUGMENTATIONS
    changed = Journal(built(kind), path)(batch, rngs(1))
    assert torch.equal(changed.images, built(kind)(batch, rngs(1)).images)
    lines = read_drawn(path)
    again = replay(batch, [lines[7, place] for place in range(3)])
    assert torch.equal(again.images, changed.images)
    assert torch.equal(again.labels, changed.labels)
