"""The way into MONAI leaves no trace outside."""

from __future__ import annotations

import numpy as np
import pytest
from monai.data.meta_obj import get_track_meta
from monai.transforms.intensity.array import RandGaussianNoise
from monai.transforms.spatial.array import RandFlip

from medaug.engine.bridge import MonaiChain, plain_tensors


def test_tracking_is_off_inside_and_as_before_outside():
    before = get_track_meta()
    inside = []

    def fail():
        with plain_tensors():
            inside.append(get_track_meta())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [False]
    assert get_track_meta() is before


def test_every_random_number_comes_from_the_given_generator():
    chain = MonaiChain(None, [RandFlip(0.5, spatial_axis=0)], [RandGaussianNoise(prob=1.0)], 0.0)
    image, labels = np.zeros((1, 6, 6), np.float32), np.arange(36, dtype=np.int16).reshape(6, 6)
    first = chain(image, labels, np.random.default_rng(1))
    chain(image, labels, np.random.default_rng(2))
    again = chain(image, labels, np.random.default_rng(1))
    other = chain(image, labels, np.random.default_rng(2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert first[1].dtype == np.int16


def test_inputs_are_left_alone():
    image, labels = np.zeros((1, 4, 4), np.float32), np.zeros((4, 4), np.uint8)
    image.setflags(write=False)
    labels.setflags(write=False)
    changed, _ = MonaiChain(None, [], [RandGaussianNoise(prob=1.0)], 0.0)(
        image, labels, np.random.default_rng(0)
    )
    assert changed.any()
    assert not image.any()
