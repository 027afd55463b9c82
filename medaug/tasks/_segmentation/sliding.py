"""Windows that slide over images larger than a network's patch: they overlap by half and count less at their edges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final, final

import torch
from jaxtyping import Float, Float32
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor, nn

from medaug.engine.launch import memory_format, mixed_precision

Window = tuple[slice, ...]  # of (B, C, *S): one image, all channels, a place
Axes = tuple[int, ...]
Asked = tuple[list[Window], Axes]  # windows that show the same, and how they are mirrored
_VOXELS: Final = {"cpu": 1 << 16, "cuda": 1 << 20}  # of the windows that are shown at once; more gain nothing
_FEWEST: Final = 4  # windows at once, however large


@final
@dataclass(frozen=True, slots=True, eq=False)
class SlidingWindow:
    """A network of patches that labels images of any size.

    Attributes:
        network: In evaluation mode, on ``device``.
        patch: Size of the window, an axis each.
        device: Where the network is and its answers are.
        flips: Show every window in all mirrored ways, too, and average (Isensee et al., Nat Methods 2021).
    """

    network: nn.Module
    patch: tuple[int, ...]
    device: torch.device
    flips: bool = False

    def logits(self, images: Float32[Tensor, "B C *S"]) -> Float32[Tensor, "B N *S"]:
        """Logits of every voxel: the mean over all windows that hold it, with MONAI's Gaussian weights.

        Windows that show one value alone, the same in all of them (air, say), have one answer, and it is asked for once.

        Args:
            images: On the CPU, no smaller than the patch; call it in inference mode.
        """
        device = self.device
        windows = _windows(images.shape, self.patch)
        mirrors = _mirrors(len(self.patch)) if self.flips else [()]
        weights = compute_importance_map(self.patch, mode="gaussian", device=device)
        total, shown = torch.empty(0), images.to(device)
        asked = list(product(_alike(images, windows), mirrors))
        for group in _groups(asked, max(_FEWEST, _VOXELS[device.type] // weights.numel())):
            found = self._scores([torch.flip(shown[same[0]][0], axes) for same, axes in group])
            if not total.numel():
                total = torch.zeros((len(images), found.shape[1], *images.shape[2:]), device=device)
            for score, (same, axes) in zip(found, group, strict=True):
                upright = torch.flip(score, axes)
                for window in same:
                    total[window][0].addcmul_(upright, weights)
        covered = torch.zeros(images.shape[2:], device=device)
        for window in windows[: len(windows) // len(images)]:
            covered[window[2:]] += weights
        return total.div_(covered.mul_(len(mirrors)))

    def _scores(self, shown: Sequence[Float[Tensor, "C *P"]]) -> Float32[Tensor, "B N *P"]:
        lone = len(shown) == 1 and self.device.type == "cpu" and shown[0].ndim == 4
        # torch has a slow way for one small volume on the CPU: two of it take half the time
        batch = torch.stack([*shown, *shown] if lone else list(shown))
        with mixed_precision(self.device):
            scores = self.network(batch.contiguous(memory_format=memory_format(batch.ndim - 2)))
        return torch.as_tensor(scores[: len(shown)]).float()


def _windows(shape: Sequence[int], patch: tuple[int, ...]) -> list[Window]:
    """All windows, those of the first image first."""
    steps = [max(1, size // 2) for size in patch]
    places = dense_patch_slices(shape[2:], patch, steps)
    return [(slice(n, n + 1), slice(None), *place) for n in range(shape[0]) for place in places]


def _alike(images: Tensor, windows: Sequence[Window]) -> list[list[Window]]:
    """Windows that show the same: those of one value alone together, every other by itself."""
    kinds: dict[Hashable, list[Window]] = defaultdict(list)
    whole = images.numpy()
    for number, window in enumerate(windows):
        values = whole[window][0].reshape(images.shape[1], -1)
        first = values[:, :1]
        kinds[first.tobytes() if (values == first).all() else number].append(window)
    return list(kinds.values())


def _groups(asked: Sequence[Asked], largest: int) -> Iterator[Sequence[Asked]]:
    """Parts of nearly one size: no window is left over for a group of its own."""
    count = -(-len(asked) // largest)
    for n in range(count):
        yield asked[len(asked) * n // count : len(asked) * (n + 1) // count]


def _mirrors(dims: int) -> list[Axes]:
    """All sets of axes of (C, *S) that can be mirrored together, the empty one first."""
    axes = range(1, dims + 1)
    return [chosen for n in range(dims + 1) for chosen in combinations(axes, n)]
