"""How much made lesions differ from each other, measured by how much real ones do."""

from __future__ import annotations

from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from medaug.generators._patches.layers import zone_mean

_FEWEST_VOXELS = 4


def relative_variety(
    made: Float[Tensor, "M C *S"],
    place: Float[Tensor, "1 1 *S"],
    real: Float[Tensor, "N C *S"],
    distance: Float[Tensor, "N 1 *S"],
) -> float | None:
    """Mean absolute difference of pairs of made lesions, over that of pairs of real ones.

    Args:
        made: Lesions drawn into one place, with different randomness.
        place: Signed distance to their edge.
        real: Patches with real lesions of the class in the middle; compared where both have lesion.
        distance: To the edges of those.

    Returns:
        0 where all made lesions are the same, 1 where they differ as real ones do; None where real ones cannot be
        compared, since there is one, or they do not overlap.
    """
    inside = (place > 0).to(made.dtype)
    apart = [float(zone_mean((a - b).abs()[None], inside).mean()) for a, b in combinations(made, 2)]
    wanted = []
    for (a, near_a), (b, near_b) in combinations(zip(real, distance, strict=True), 2):
        both = ((near_a > 0) & (near_b > 0)).to(a.dtype)[None]
        if both.sum() >= _FEWEST_VOXELS:
            wanted.append(float(zone_mean((a - b).abs()[None], both).mean()))
    scale = sum(wanted) / len(wanted) if wanted else 0.0
    return sum(apart) / len(apart) / scale if apart and scale > 1e-6 else None


def mean_of_known(values: list[float | None]) -> float | None:
    """The mean of those that are not None."""
    known = torch.as_tensor([value for value in values if value is not None])
    return float(known.mean()) if len(known) else None
