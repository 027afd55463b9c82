"""Were the arms treated equally? Else a gain is only more training, or oversampling."""

from __future__ import annotations

from collections.abc import Sequence

from medaug.core.errors import TrainingError
from medaug.core.results import ArmCost

LESION_SHARE_TOLERANCE = 0.1  # shares are counted over random patches; a true difference of policy is larger


def check_fairness(costs: Sequence[ArmCost]) -> None:
    """Raise TrainingError unless all arms took the same steps, patch size and share of patches with a lesion."""
    if not costs:
        return
    first = costs[0]
    for cost in costs[1:]:
        if cost.optimiser_steps != first.optimiser_steps:
            _refuse(cost, f"took {cost.optimiser_steps} steps", f"{first.optimiser_steps} as {first.arm}")
        if cost.patch_size != first.patch_size:
            _refuse(cost, f"had patches of {cost.patch_size}", f"{first.patch_size} as {first.arm}")
    shares = sorted(costs, key=lambda cost: cost.lesion_patch_share)
    low, high = shares[0], shares[-1]
    if high.lesion_patch_share - low.lesion_patch_share > LESION_SHARE_TOLERANCE:
        _refuse(
            high,
            f"had a lesion in {high.lesion_patch_share:.0%} of its patches",
            f"about {low.lesion_patch_share:.0%} as {low.arm}",
        )


def _refuse(cost: ArmCost, what: str, expected: str) -> None:
    raise TrainingError(
        f"arm {cost.arm} {what}",
        where=f"fold {cost.fold} seed {cost.seed}",
        expected=expected,
        hint="arms are compared only on equal terms",
    )
