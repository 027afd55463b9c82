"""From a host patch of any size to the network's patch and back: cut, shrink if need be, measure distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from medaug.core.geometry import Box
from medaug.core.volume import Image, Mask
from medaug.generators._patches.layers import Dims

_ROOM = 1.6  # the window is at least so many times as wide as the lesion


@final
@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a patch the network sees, and at what size.

    Attributes:
        box: The part, in voxels of the patch; may reach outside it.
        size: The network's patch: (S, S) in 2D, where every slice of the box is seen alone, (S, S, T) in 3D.
        slice_ratio: Distance between voxels along K over that in the plane, in the network's patch.
    """

    box: Box
    size: tuple[int, ...]
    slice_ratio: float

    @staticmethod
    def around(mask: Mask, size: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> Window:
        """The window for a lesion: at native resolution where it fits with room to spare, else larger.

        In 2D the box spans the slices of the lesion; in 3D it has room along K as well.
        """
        inner = Box.around(mask)
        grow = max(1.0, *(_ROOM * inner.shape[n] / size[n] for n in (0, 1)))
        shape = [round(size[0] * grow), round(size[1] * grow), inner.shape[2]]
        grow_k = 1.0
        if len(size) == 3:
            grow_k = max(1.0, _ROOM * inner.shape[2] / size[2])
            shape[2] = round(size[2] * grow_k)
        start = [(a + b) // 2 - n // 2 for a, b, n in zip(inner.start, inner.stop, shape, strict=True)]
        if len(size) == 2:
            start[2] = inner.start[2]
        stop = [s + n for s, n in zip(start, shape, strict=True)]
        ratio = spacing_mm[2] * grow_k / (spacing_mm[0] * grow)
        return Window(
            Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])), size, min(max(ratio, 0.25), 4.0)
        )

    @property
    def dims(self) -> Dims:
        """Spatial axes of the network's patch."""
        return 2 if len(self.size) == 2 else 3

    def frames(self, image: Image) -> Float[Tensor, "B C *S"]:
        """The network's view of a (C, I, J, K) patch: one frame a slice in 2D, one in all in 3D."""
        cut = torch.from_numpy(np.ascontiguousarray(self.box.cut(image), dtype=np.float32))
        stack = cut.permute(3, 0, 1, 2) if self.dims == 2 else cut[None]
        if stack.shape[2:] == self.size:
            return stack.contiguous()
        return functional.interpolate(stack, size=self.size, mode="area")

    def distances(self, mask: Mask) -> Float[Tensor, "B 1 *S"]:
        """Signed distance to the lesion's edge in in-plane voxels of each frame, positive inside, within 24.

        A frame with no lesion in it is -24 everywhere.
        """
        inside = self.box.cut(mask, beyond="zero").astype(np.float32)
        cover = _cover(inside, self).numpy()
        rows = [signed_distance(frame[0] > 0.5, self.slice_ratio) for frame in cover]
        return torch.from_numpy(np.stack(rows)[:, None])

    def back(self, change: Float[Tensor, "B C *S"], shape: tuple[int, int, int]) -> Image:
        """Bring a change in the network's frames back to (C, I, J, K) patch voxels; 0 outside the window."""
        inner = self.box.shape
        native = inner[:2] if self.dims == 2 else inner
        if change.shape[2:] != native:
            change = functional.interpolate(
                change, size=native, mode="bilinear" if self.dims == 2 else "trilinear", align_corners=False
            )
        stack = change.permute(1, 2, 3, 0) if self.dims == 2 else change[0]
        out = np.zeros((stack.shape[0], *shape), dtype=np.float32)
        part = self.box.clipped(shape)
        out[(slice(None), *part.slices)] = stack.numpy()[(slice(None), *part.index_in(self.box))]
        return out


def check_size(size: tuple[int, ...], dims: Dims) -> None:
    """Refuse a network patch that cannot be halved twice in plane, or that is not of so many axes.

    Raises:
        ValueError: In words for the configuration's author.
    """
    if len(size) != dims:
        raise ValueError(f"size has {len(size)} numbers for {dims} dims")
    if min(size[:2]) < 16 or max(size) > 256 or size[-1] < 4:
        raise ValueError("size must be 16 to 256 in plane, and at least 4 along the slices")
    if any(n % 4 for n in size[:2]):
        raise ValueError("size must be a multiple of 4 in plane")


def signed_distance(mask: np.ndarray, slice_ratio: float) -> Float[np.ndarray, "*S"]:
    """Signed distance to the edge of a mask in in-plane voxels, positive inside, within 24."""
    if not mask.any():
        return np.full(mask.shape, -24.0, dtype=np.float32)
    sampling = (1.0, 1.0, slice_ratio)[: mask.ndim]
    inner = ndimage.distance_transform_edt(mask, sampling=sampling)
    outer = ndimage.distance_transform_edt(~mask, sampling=sampling)
    signed = np.where(mask, inner - 0.5, 0.5 - outer)
    return np.asarray(np.clip(signed, -24, 24), dtype=np.float32)


def _cover(inside: Float[np.ndarray, "I J K"], window: Window) -> Float[Tensor, "B 1 *S"]:
    """Share of each network voxel that the mask covers; a lesion too thin to cover half of any is kept."""
    cut = torch.from_numpy(np.ascontiguousarray(inside))[None]
    stack = cut.permute(3, 0, 1, 2) if window.dims == 2 else cut[None]
    if stack.shape[2:] == window.size:
        return stack
    cover = functional.interpolate(stack.contiguous(), size=window.size, mode="area")
    most = cover.amax(dim=tuple(range(1, cover.ndim)), keepdim=True)
    return torch.where(most > 0.5, cover, cover / most.clamp(min=1e-6))
