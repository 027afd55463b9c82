"""The way into MONAI and back: the only place that knows its tensors, its global switches and its random states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

import numpy as np
import torch
from monai.data.meta_obj import get_track_meta, set_track_meta
from monai.transforms.spatial.array import RandAffineGrid, RandFlip, Resample
from monai.transforms.transform import RandomizableTransform

from medaug.core.augment import PatchImage, PatchLabels


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Let MONAI hand out plain tensors while the block runs: tracking metadata costs ten times the transform."""
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


@final
class MonaiChain:
    """MONAI array transforms on a patch and its labels, every random number drawn from the caller's generator.

    One grid is resampled for image (linear) and labels (nearest), so flips, rotation, scale and shear cost one
    interpolation; MONAI's dictionary transforms do the same at five times the price for small patches.

    Args:
        affine: MONAI's random affine grid, or None for no change of geometry.
        flips: One MONAI RandFlip an axis, applied to image and labels alike.
        intensity: MONAI intensity transforms, applied to the image in order.
        affine_share: Share of patches whose geometry is changed, 0 to 1.
    """

    def __init__(
        self,
        affine: RandAffineGrid | None,
        flips: Sequence[RandFlip],
        intensity: Sequence[RandomizableTransform],
        affine_share: float,
    ) -> None:
        self._affine, self._flips, self._intensity = affine, tuple(flips), tuple(intensity)
        self._affine_share = affine_share
        self._resample = Resample(padding_mode="border")

    def __call__(
        self, image: PatchImage, labels: PatchLabels, rng: np.random.Generator
    ) -> tuple[PatchImage, PatchLabels]:
        """Image and labels after the chain; same shapes and types, inputs untouched."""
        self._seed(rng)
        with plain_tensors(), torch.no_grad():
            moved = torch.from_numpy(np.array(image, dtype=np.float32))
            ids = torch.from_numpy(np.array(labels, dtype=np.float32))[None]
            moved, ids = self._move(moved, ids, rng)
            for transform in self._intensity:
                moved = torch.as_tensor(transform(moved))
        changed = np.ascontiguousarray(moved.numpy(), dtype=np.float32)
        return changed, np.ascontiguousarray(ids[0].numpy()).astype(labels.dtype)

    def _seed(self, rng: np.random.Generator) -> None:
        """Make every transform draw from the bit generator behind ``rng``: MONAI speaks numpy's older interface."""
        state = np.random.RandomState(rng.bit_generator)
        for transform in (*self._flips, *self._intensity, *([self._affine] if self._affine else [])):
            transform.set_random_state(state=state)

    def _move(
        self, image: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for flip in self._flips:
            image = torch.as_tensor(flip(image))
            labels = torch.as_tensor(flip(labels, randomize=False))
        if self._affine is None or rng.random() >= self._affine_share:
            return image, labels
        grid = self._affine(spatial_size=tuple(image.shape[1:]))
        image = torch.as_tensor(self._resample(image, grid=grid, mode="bilinear"))
        return image, torch.as_tensor(self._resample(labels, grid=grid, mode="nearest"))
