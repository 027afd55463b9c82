"""Structural similarity of lesions: do different draws, and different lesions of a class, look different?

SSIM after Wang et al., IEEE Trans Image Process 2004; MS-SSIM after Wang et al., Asilomar 2003, with fewer scales
and a smaller window than usual, since lesions are small. Windows are uniform, statistics are those of a population.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from medaug.core.assessment import Figure
from medaug.core.geometry import Box
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image, Mask
from medaug.quality.resampling import HALVES, around, half_samples, weighted_mean
from medaug.quality.samples import LesionSample

WINDOW = 7
SIZES: Final = {2: (32, 32), 3: (32, 32, 8)}
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_K1, _K2 = 0.01, 0.03
_PAIRS_AT_ONCE = 256
_PAIRED = 48  # lesions
_SIDES = (16, 32, 64)


def fitted_window(shape: Sequence[int]) -> tuple[int, ...]:
    """The window along each axis: 7, or the largest odd number that fits."""
    return tuple(min(WINDOW, n - 1 + n % 2) for n in shape)


def fitted_scales(shape: Sequence[int]) -> int:
    """Scales, each half as wide as the last: as many as leave the coarsest 7 voxels in plane and 3 across, at most 5."""
    fewest = (WINDOW, WINDOW, 3)
    for scales in range(len(_SCALE_WEIGHTS), 1, -1):
        if all(n >> (scales - 1) >= least for n, least in zip(shape, fewest, strict=False)):
            return scales
    return 1


def fitted_size(samples: Sequence[LesionSample]) -> tuple[int, int]:
    """A size in plane that most of these lesions fit in without loss: 16, 32 or 64 voxels."""
    sides = [max(Box.around(sample.mask).shape[:2]) for sample in samples]
    side = next((n for n in _SIDES if n >= np.median(sides)), _SIDES[-1])
    return side, side


def similarity_figure(
    samples: Sequence[LesionSample], size: tuple[int, ...], data_range: float, seed: SeedTree
) -> Figure | None:
    """Mean MS-SSIM of pairs of lesions of different patients, with its interval; None where there is no pair.

    Args:
        samples: Lesions of one class; where there are many, some are drawn.
        size: What they are brought to.
        data_range: Of the intensities, normalised units.
        seed: Root of the draws.
    """
    rng = seed.rng()
    chosen = [samples[int(n)] for n in rng.permutation(len(samples))[:_PAIRED]]
    if len({sample.patient_id for sample in chosen}) < 2:
        return None
    owners = [sample.patient_id for sample in chosen]
    boxes = torch.stack([lesion_box(sample.image, sample.mask, size) for sample in chosen])
    values, pairs = pairwise_ms_ssim(boxes, owners, data_range)
    halves = half_samples(owners, rng, HALVES)
    both = halves[:, pairs[:, 0]] & halves[:, pairs[:, 1]]
    return around(float(values.mean()), weighted_mean(values, both.astype(np.float64)), (0.0, 1.0))


def ssim_parts(
    first: Float[Tensor, "N C *S"],
    second: Float[Tensor, "N C *S"],
    window: tuple[int, ...],
    data_range: float,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """SSIM of each pair, and its contrast and structure part; means over windows that lie wholly inside."""
    pool = functional.avg_pool2d if first.ndim == 4 else functional.avg_pool3d
    stacked = torch.cat([first, second, first * first, second * second, first * second], dim=1)
    means = pool(stacked, window, stride=1).chunk(5, dim=1)
    x, y = means[0], means[1]
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    structure = (2 * (means[4] - x * y) + c2) / (means[2] - x * x + means[3] - y * y + c2)
    whole = structure * (2 * x * y + c1) / (x * x + y * y + c1)
    return whole.flatten(1).mean(1), structure.flatten(1).mean(1)


def ms_ssim(
    first: Float[Tensor, "N C *S"], second: Float[Tensor, "N C *S"], data_range: float
) -> Float[Tensor, " N"]:
    """Multi-scale SSIM of each pair, scales and window fitted to the size.

    The weights are the first of the paper's five, brought to a sum of 1; negative structure counts as 0.
    """
    scales = fitted_scales(tuple(first.shape[2:]))
    coarsest = [n >> (scales - 1) for n in first.shape[2:]]
    window = fitted_window(coarsest)
    total = sum(_SCALE_WEIGHTS[:scales])
    result = torch.ones(len(first), dtype=first.dtype)
    for number in range(scales):
        whole, structure = ssim_parts(first, second, window, data_range)
        part = whole if number == scales - 1 else structure
        result = result * part.clamp(min=0) ** (_SCALE_WEIGHTS[number] / total)
        pool = functional.avg_pool2d if first.ndim == 4 else functional.avg_pool3d
        if number < scales - 1:
            first, second = pool(first, 2), pool(second, 2)
    return result


def pairwise_ssim(images: Sequence[Image], box: Box, data_range: float) -> float:
    """Mean SSIM over all pairs of (C, I, J, K) images of one host, only the box of the lesion compared."""
    cut = np.stack([image[(slice(None), *box.slices)] for image in images])
    stack = torch.from_numpy(cut.astype(np.float64))
    pairs = np.asarray(list(combinations(range(len(images)), 2)))
    window = fitted_window(tuple(stack.shape[2:]))
    values, _ = ssim_parts(stack[pairs[:, 0]], stack[pairs[:, 1]], window, data_range)
    return float(values.mean())


def lesion_box(image: Image, mask: Mask, size: tuple[int, ...]) -> Float[Tensor, "C *S"]:
    """The box around a lesion, brought to one size; two axes show the slice where the lesion is largest."""
    if len(size) == 2:
        k = int(np.argmax(mask.sum(axis=(0, 1))))
        image, mask = image[..., k : k + 1], mask[..., k : k + 1]
    cut = torch.from_numpy(np.ascontiguousarray(Box.around(mask).cut(image), dtype=np.float32))
    if len(size) == 2:
        return functional.interpolate(cut[None, ..., 0], size=size, mode="bilinear", align_corners=False)[0]
    return functional.interpolate(cut[None], size=size, mode="trilinear", align_corners=False)[0]


def pairwise_ms_ssim(
    boxes: Float[Tensor, "N C *S"], patients: Sequence[str], data_range: float
) -> tuple[Float[np.ndarray, " P"], Int[np.ndarray, "P 2"]]:
    """MS-SSIM of all pairs of lesions of different patients, and the pairs."""
    pairs = [(a, b) for a, b in combinations(range(len(boxes)), 2) if patients[a] != patients[b]]
    table = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    values = [
        ms_ssim(boxes[some[:, 0]], boxes[some[:, 1]], data_range)
        for some in np.array_split(table, max(1, len(table) // _PAIRS_AT_ONCE))
        if len(some)
    ]
    joined = torch.cat(values).double().numpy() if values else np.zeros(0)
    return joined, table
