"""Arms are compared on equal terms only."""

from __future__ import annotations

import pytest

from medaug.core.errors import TrainingError
from medaug.core.results import ArmCost
from medaug.experiments.fairness import check_fairness

REAL = ArmCost(
    arm="real",
    fold=0,
    seed=0,
    optimiser_steps=100,
    patch_size=(64, 64),
    lesion_patch_share=0.5,
    synthetic_patch_share=0.0,
    seconds=1.0,
)


def test_equal_arms_pass_whatever_their_synthetic_share_and_time() -> None:
    other = REAL.model_copy(
        update={"arm": "b", "synthetic_patch_share": 0.5, "seconds": 9.0, "lesion_patch_share": 0.56}
    )
    check_fairness([])
    check_fairness([REAL, other])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser_steps": 101}, "b took 101 steps"),
        ({"patch_size": (64, 32)}, "b had patches"),
        ({"lesion_patch_share": 0.7}, "b had a lesion in 70% of its patches"),
    ],
)
def test_unequal_arms_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        check_fairness([REAL, REAL.model_copy(update={"arm": "b", **change})])
