"""What every augmentation keeps."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.plugins import kinds, load_plugin
from medaug.core.volume import Unit
from medaug.transforms.base import parse_transforms

KINDS = kinds("transforms")


def patch(shape):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, *shape)).astype(np.float32)
    labels = (image[0] > 1).astype(np.uint8) * rng.integers(1, 4, size=shape).astype(np.uint8)
    image.setflags(write=False)
    labels.setflags(write=False)
    return image, labels


@pytest.mark.parametrize("kind", KINDS)
def test_config_is_called_as_its_file(kind):
    assert load_plugin("transforms", kind).Config().kind == kind


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("shape", [(32, 24), (16, 12, 8), (5, 7)])
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_ids_and_inputs_are_kept(kind, shape, unit):
    augment = parse_transforms({"kind": kind}).build(unit)
    image, labels = patch(shape)
    before = image.copy(), labels.copy()
    for seed in range(8):
        changed, ids = augment(image, labels, np.random.default_rng(seed))
        assert changed.shape == image.shape
        assert changed.dtype == np.float32
        assert (ids.shape, ids.dtype) == (labels.shape, labels.dtype)
        assert set(np.unique(ids)) <= set(np.unique(labels))
        assert np.isfinite(changed).all()
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rng_gives_the_same_patch_whatever_ran_before(kind):
    image, labels = patch((24, 24))
    first = parse_transforms({"kind": kind}).build(Unit.ARBITRARY)
    second = parse_transforms({"kind": kind}).build(Unit.ARBITRARY)
    for seed in range(3):
        second(image, labels, np.random.default_rng(100 + seed))
        a, b = (
            first(image, labels, np.random.default_rng(seed)),
            second(image, labels, np.random.default_rng(seed)),
        )
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[1], b[1])
