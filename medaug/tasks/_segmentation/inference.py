"""Labelling a whole volume: sliding windows with Gaussian weights, slice by slice in 2D."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float32
from monai.inferers.utils import sliding_window_inference
from torch import nn

from medaug.core.volume import Confidence, Image, Labels
from medaug.engine.launch import memory_format, mixed_precision

_SLICES = 16  # slices in one go; more gain nothing on two cores and cost memory


def predict_labels(
    network: nn.Module, image: Image, patch: tuple[int, ...], device: torch.device, *, flips: bool
) -> tuple[Labels, Confidence]:
    """Class ids of a volume (uint8), and the probability of each.

    Args:
        network: In evaluation mode, on ``device``.
        image: (C, I, J, K) float32, normalised units; smaller than the patch is fine.
        patch: Window size, two numbers (slice by slice) or three.
        device: Where the network is.
        flips: Average the answers over all mirrored images.
    """
    with torch.no_grad():
        if len(patch) == 3:
            labels, confidence = _answer(network, torch.from_numpy(image)[None], patch, device, flips=flips)
            return labels[0], confidence[0]
        slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))
        parts = [_answer(network, part, patch, device, flips=flips) for part in slices.split(_SLICES)]
    return _stack([labels for labels, _ in parts]), _stack([confidence for _, confidence in parts])


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    """(K, I, J) in parts as one (I, J, K)."""
    return np.ascontiguousarray(np.moveaxis(np.concatenate(parts), 0, -1))


def _answer(
    network: nn.Module, images: torch.Tensor, patch: tuple[int, ...], device: torch.device, *, flips: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Most probable class of every voxel of (B, C, *S) images, and its probability."""
    padded, inner = _pad(images, patch)
    padded = padded.to(device, memory_format=memory_format(len(patch)))
    total = _slide(network, padded, patch, device)
    if flips:
        total = torch.softmax(total, dim=1)
        for mirrored in _mirrors(images.ndim):
            scores = torch.flip(_slide(network, torch.flip(padded, mirrored), patch, device), mirrored)
            total += torch.softmax(scores, dim=1)
    labels = total.argmax(dim=1, keepdim=True)
    chances = total / (1 + len(_mirrors(images.ndim))) if flips else torch.softmax(total, dim=1)
    confidence = chances.gather(1, labels)[:, 0][inner]
    return labels[:, 0][inner].to(torch.uint8).cpu().numpy(), confidence.cpu().numpy()


def _mirrors(ndim: int) -> list[list[int]]:
    """All sets of spatial axes that can be mirrored together, but for the empty one."""
    axes = range(2, ndim)
    return [list(chosen) for n in range(1, ndim - 1) for chosen in combinations(axes, n)]


def _slide(
    network: nn.Module, images: torch.Tensor, patch: tuple[int, ...], device: torch.device
) -> Float32[torch.Tensor, "B N *S"]:
    with mixed_precision(device):
        scores = sliding_window_inference(images, patch, 4, network, overlap=0.5, mode="gaussian")
    return torch.as_tensor(scores).float()


def _pad(images: torch.Tensor, patch: tuple[int, ...]) -> tuple[torch.Tensor, tuple[slice, ...]]:
    """Repeat edge values until a patch fits, as in training; also where the image itself then lies."""
    sizes = images.shape[2:]
    short = [max(0, size - n) for size, n in zip(patch, sizes, strict=True)]
    before = [n // 2 for n in short]
    pads = [(0, 0), (0, 0), *((b, n - b) for b, n in zip(before, short, strict=True))]
    padded = torch.from_numpy(np.pad(images.numpy(), pads, mode="edge")) if any(short) else images
    return padded, (slice(None), *(slice(b, b + n) for b, n in zip(before, sizes, strict=True)))
