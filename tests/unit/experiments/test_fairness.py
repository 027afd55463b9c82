"""Arms are compared on equal terms only."""

from __future__ import annotations

import pytest

from medaug.core.errors import TrainingError
from medaug.core.results import ArmCost
from medaug.experiments.fairness import check_fairness, equal_terms, unequal_classes

REAL = ArmCost(
    arm="real",
    fold=0,
    seed=0,
    optimiser_steps=100,
    patch_size=(64, 64),
    lesion_patch_share=0.5,
    synthetic_patch_share=0.0,
    seconds=1.0,
    training_cases=9,
    class_patch_shares={"solid": 0.4, "ground_glass": 0.1},
    first_seed=7,
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
        ({"first_seed": 8}, "b began with other weights"),
    ],
)
def test_unequal_arms_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        check_fairness([REAL, REAL.model_copy(update={"arm": "b", **change})])


def test_a_class_that_an_arm_saw_more_often_is_said() -> None:
    shares = {"solid": 0.42, "ground_glass": 0.3}
    other = REAL.model_copy(update={"arm": "b", "class_patch_shares": shares})
    check_fairness([REAL, other])
    assert unequal_classes([REAL, other]) == ("b had ground_glass in 30% of its patches, real in 10%.",)
    assert unequal_classes([REAL, other.model_copy(update={"fold": 1})]) == ()


def test_shares_and_seeds_are_compared_where_arms_had_the_same_patients() -> None:
    other = {
        "arm": "b",
        "n_annotated": 4,
        "first_seed": 8,
        "lesion_patch_share": 0.9,
    }
    check_fairness([REAL, REAL.model_copy(update=other)])


def test_what_is_equal_is_said() -> None:
    other = REAL.model_copy(update={"arm": "b", "lesion_patch_share": 0.52})
    assert equal_terms([REAL, other]) == (
        "Every training took 100 optimiser steps.",
        "Every training patch had 64 x 64 voxels.",
        "50% to 52% of the training patches held a lesion, in every arm.",
        "Shares of the training patches that held a class, in every arm: solid 40%, ground_glass 10%.",
        "Trainings of one subset, fold and seed began with the same weights and saw real patches in the same order.",
        "Trainings of one subset and fold had the same real cases, whatever the arm.",
    )


def test_what_was_not_recorded_is_not_said() -> None:
    old: dict[str, object] = {"class_patch_shares": {}, "first_seed": None}
    both = [REAL.model_copy(update=old), REAL.model_copy(update=old | {"arm": "b", "training_cases": 8})]
    said = " ".join(equal_terms(both))
    assert "optimiser steps" in said
    assert "class" not in said
    assert "weights" not in said
    assert "real cases" not in said
    assert equal_terms([]) == equal_terms([REAL]) == ()
