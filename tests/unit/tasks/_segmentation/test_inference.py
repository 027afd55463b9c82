"""Labelling a volume with networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medaug.tasks._segmentation.inference import predict_labels, predict_probabilities
from medaug.tasks._segmentation.sliding import SlidingWindow

CPU = torch.device("cpu")


class Threshold(nn.Module):
    """Class 1 where the image is above 0."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([-image, image], dim=1)


class LeftToRight(nn.Module):
    """Class 1 in the second half of the first axis, whatever the image shows."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(-1, 1, image.shape[2]).reshape(1, 1, -1, *[1] * (image.ndim - 3))
        return torch.cat([-ramp.expand_as(image), ramp.expand_as(image)], dim=1)


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize(
    ("shape", "patch"), [((20, 13, 5), (16, 16, 8)), ((20, 13, 37), (16, 16)), ((5, 5, 1), (8, 8))]
)
def test_every_voxel_gets_its_own_answer(shape, patch, flips):
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    before = image.copy()
    labels, confidence = predict_labels(SlidingWindow(Threshold(), patch, CPU, flips), image)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, image[0] > 0)
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence, 1 / (1 + np.exp(-2 * np.abs(image[0]))), atol=1e-5)
    assert np.array_equal(image, before)


def test_flips_average_out_what_depends_on_the_side():
    image = np.zeros((1, 8, 8, 2), np.float32)
    assert predict_labels(SlidingWindow(LeftToRight(), (8, 8), CPU), image)[0][4:].all()
    assert not predict_labels(SlidingWindow(LeftToRight(), (8, 8), CPU, flips=True), image)[0].all()


class Above(nn.Module):
    """Class 1 where the slice above is above 0."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([-image[:, 2:], image[:, 2:]], dim=1)


def test_every_slice_is_shown_with_its_neighbours():
    image = np.random.default_rng(0).normal(size=(1, 9, 8, 19)).astype(np.float32)
    window = SlidingWindow(Above(), (8, 8), CPU)
    labels, _ = predict_labels(window, image, context=1)
    probabilities = predict_probabilities(window, image, context=1)
    expected = np.concatenate([image[0, ..., 1:], image[0, ..., -1:]], axis=-1) > 0
    assert np.array_equal(labels, expected)
    assert np.array_equal(probabilities[1] > 0.5, expected)
