"""Labelling a whole volume: sliding windows with Gaussian weights, slice by slice in 2D."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from monai.inferers.utils import sliding_window_inference
from torch import nn

from medaug.core.volume import Image
from medaug.engine.launch import memory_format, mixed_precision

_SLICES = 16  # slices in one go; more gain nothing on two cores and cost memory


def predict_labels(
    network: nn.Module, image: Image, patch: tuple[int, ...], device: torch.device, *, flips: bool
) -> UInt8[np.ndarray, "I J K"]:
    """Class ids of a volume.

    Args:
        network: In evaluation mode, on ``device``.
        image: (C, I, J, K) float32, normalised units; smaller than the patch is fine.
        patch: Window size, two numbers (slice by slice) or three.
        device: Where the network is.
        flips: Average the answers over all mirrored images.
    """
    with torch.no_grad():
        if len(patch) == 3:
            labels = _answer(network, torch.from_numpy(image)[None], patch, device, flips=flips)
            return np.asarray(labels[0])
        slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))
        parts = [_answer(network, part, patch, device, flips=flips) for part in slices.split(_SLICES)]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(parts), 0, -1))


def _answer(
    network: nn.Module, images: torch.Tensor, patch: tuple[int, ...], device: torch.device, *, flips: bool
) -> UInt8[np.ndarray, "B *S"]:
    """Most probable class of every voxel of (B, C, *S) images."""
    padded, inner = _pad(images, patch)
    padded = padded.to(device, memory_format=memory_format(len(patch)))
    total = _slide(network, padded, patch, device)
    if flips:
        total = torch.softmax(total, dim=1)
        for mirrored in _mirrors(images.ndim):
            scores = torch.flip(_slide(network, torch.flip(padded, mirrored), patch, device), mirrored)
            total += torch.softmax(scores, dim=1)
    return np.asarray(total.argmax(dim=1)[inner].to(torch.uint8).cpu().numpy())


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
