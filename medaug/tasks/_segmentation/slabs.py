"""Slices with their neighbours as further channels (2.5D): a 2D network that sees what lies above and below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32


def stack_slices(
    slices: Float32[np.ndarray, "F C *S"], places: Sequence[int], context: int
) -> Float32[np.ndarray, "P D *S"]:
    """Some slices of a volume, each with ``context`` neighbours on either side; the first and last slice repeat.

    Args:
        slices: All slices of a volume, in order.
        places: Which of them are asked for.
        context: Neighbours on each side; 0 gives the slices themselves.

    Returns:
        D = (2 context + 1) C channels: those of the lowest neighbour first, the slice's own in the middle.
    """
    reach = np.arange(-context, context + 1)
    around = np.clip(np.asarray(places)[:, None] + reach, 0, len(slices) - 1)
    stacked = slices[around]
    return np.asarray(stacked.reshape(len(around), -1, *slices.shape[2:]))


def stacked_channels(channels: int, context: int) -> int:
    """Channels of a slice with its neighbours."""
    return channels * (2 * context + 1)
