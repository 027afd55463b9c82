"""Sliding windows agree with MONAI's on any image."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers.utils import sliding_window_inference
from torch import nn

from medaug.tasks._segmentation.sliding import SlidingWindow

CPU = torch.device("cpu")


def small_network(dims):
    """What it says of a voxel depends on the whole window and on the place in it."""
    torch.manual_seed(dims)
    convolution, norm = (nn.Conv2d, nn.InstanceNorm2d) if dims == 2 else (nn.Conv3d, nn.InstanceNorm3d)
    return nn.Sequential(
        convolution(2, 4, 3, padding=1), norm(4), nn.ReLU(), convolution(4, 3, 3, padding=1)
    ).eval()


@st.composite
def images(draw, dims):
    """Noise with an empty part, and a patch that fits."""
    patch = draw(st.tuples(*[st.integers(4, 8)] * dims))
    shape = tuple(size + draw(st.integers(0, 12 if dims == 2 else 6)) for size in patch)
    count = draw(st.integers(1, 3))
    image = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(count, 2, *shape))
    image[..., : draw(st.integers(0, shape[-1]))] = draw(st.sampled_from([0.0, -1.5]))
    return torch.from_numpy(image.astype(np.float32)), patch


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("flips", [False, True])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_answer_is_that_of_monai(data, dims, flips):
    image, patch = data.draw(images(dims))
    network = small_network(dims)
    ways = product(*[(False, True)] * dims) if flips else [()]
    axes = [[axis for axis, mirrored in enumerate(way, start=2) if mirrored] for way in ways]

    def averaged(windows):
        turned = [torch.flip(network(torch.flip(windows, way)), way) for way in axes]
        return torch.stack(turned).mean(0)

    with torch.inference_mode():
        expected = sliding_window_inference(image, patch, 4, averaged, overlap=0.5, mode="gaussian")
        found = SlidingWindow(network, patch, CPU, flips).logits(image)
    torch.testing.assert_close(found, torch.as_tensor(expected), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_empty_windows_are_shown_once(dims):
    seen = []

    class Eye(nn.Module):
        def forward(self, windows):
            seen.append(len(windows))
            return windows

    image = torch.zeros(3, 1, *[32] * dims)
    image[0].view(-1)[0] = 1.0  # in one window alone
    with torch.inference_mode():
        SlidingWindow(Eye(), (8,) * dims, CPU).logits(image)
    assert seen == [2]
