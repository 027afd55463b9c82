"""Labelling a whole volume: in one go in 3D, slice by slice in 2D."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from medaug.core.volume import Confidence, Image, Labels, Probabilities
from medaug.tasks._segmentation.slabs import stack_slices
from medaug.tasks._segmentation.sliding import SlidingWindow

_SLICES = 16  # slices in one go; more gain nothing on two cores and cost memory


@torch.inference_mode()
def predict_labels(window: SlidingWindow, image: Image, context: int = 0) -> tuple[Labels, Confidence]:
    """Class ids of a volume (uint8), and the probability of each.

    Args:
        window: Of two axes (slice by slice) or three.
        image: (C, I, J, K) float32, normalised units; smaller than the window is fine.
        context: Neighbouring slices on each side that are further channels (2.5D).
    """
    labels = np.empty(image.shape[1:], dtype=np.uint8)
    confidence = np.empty(image.shape[1:], dtype=np.float32)
    for part, scores in _parts(window, image, context):
        largest, ids = scores.max(dim=0, keepdim=True)
        labels[..., part] = ids[0].to(torch.uint8).cpu().numpy()
        # the largest becomes exp(0): its share is one over the sum
        confidence[..., part] = scores.sub_(largest).exp_().sum(dim=0).reciprocal_().cpu().numpy()
    return labels, confidence


@torch.inference_mode()
def predict_probabilities(window: SlidingWindow, image: Image, context: int = 0) -> Probabilities:
    """Probability of every class in every voxel, background first; see :func:`predict_labels`."""
    found = [
        (part, torch.softmax(scores, dim=0).cpu().numpy()) for part, scores in _parts(window, image, context)
    ]
    return found[0][1] if len(found) == 1 else np.concatenate([values for _, values in found], axis=-1)


def _parts(
    window: SlidingWindow, image: Image, context: int = 0
) -> Iterator[tuple[slice, Float32[Tensor, "N I J P"]]]:
    """Logits of one stack of slices after another, and which these are."""
    if len(window.patch) == 3:
        yield slice(None), _logits(window, torch.from_numpy(image)[None])[0]
        return
    slices = np.moveaxis(image, -1, 0)
    for start in range(0, len(slices), _SLICES):
        part = slice(start, start + _SLICES)
        shown = stack_slices(slices, range(len(slices))[part], context)
        images = torch.from_numpy(np.ascontiguousarray(shown))
        yield part, _logits(window, images).movedim(0, -1)


def _logits(window: SlidingWindow, images: Tensor) -> Float32[Tensor, "B N *S"]:
    """Of (B, C, *S) images, whose edge values are repeated until a patch fits, as in training."""
    sizes = images.shape[2:]
    short = [max(0, size - n) for size, n in zip(window.patch, sizes, strict=True)]
    if not any(short):
        return window.logits(images)
    pads = [(0, 0), (0, 0), *((n // 2, n - n // 2) for n in short)]
    padded = torch.from_numpy(np.pad(images.numpy(), pads, mode="edge"))
    inner = tuple(slice(n // 2, n // 2 + size) for n, size in zip(short, sizes, strict=True))
    return window.logits(padded)[(slice(None), slice(None), *inner)]
