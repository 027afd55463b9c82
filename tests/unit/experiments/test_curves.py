"""Learning curves and what an arm saves, on curves that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medaug.core.results import ArmCost, DiceRow, Saving
from medaug.core.seeding import SeedTree
from medaug.experiments.curves import Curve, annotated, curves, monotone, savings
from medaug.experiments.scores import summarise

SEED = SeedTree(3)
PATIENTS: dict[int | None, float] = {4: 4.0, 8: 8.0, 16: 16.0, None: 34.0}


def cost(n_annotated: int | None, fold: int = 0, used: int | None = None) -> ArmCost:
    return ArmCost(
        arm="real",
        n_annotated=n_annotated,
        fold=fold,
        seed=0,
        optimiser_steps=1,
        patch_size=(8,),
        lesion_patch_share=0.5,
        synthetic_patch_share=0.0,
        annotated_patients=used,
        seconds=1.0,
    )


def rows(arm: str, n_annotated: int | None, mean: float, patients: int = 20) -> list[DiceRow]:
    """Scores about a mean; a patient is as good or bad in every arm, but for a little noise."""
    easy = np.linspace(-0.2, 0.2, patients) + SEED.child(arm, str(n_annotated)).rng().normal(
        0, 0.002, patients
    )
    return [
        DiceRow(
            arm=arm,
            n_annotated=n_annotated,
            fold=0,
            seed=0,
            case_id=f"c{n}",
            patient_id=f"p{n}",
            class_name="x",
            dice=float(mean + easy[n] - easy.mean()),
        )
        for n in range(patients)
    ]


def baseline() -> list[DiceRow]:
    """0.1 more for each doubling."""
    return [r for n, used in PATIENTS.items() for r in rows("real", n, 0.3 + 0.1 * math.log2(used / 4))]


def saving(mean: float, n_annotated: int | None = 8) -> Saving:
    (found,) = savings([*baseline(), *rows("arm", n_annotated, mean)], "real", PATIENTS, SEED)
    return found


def test_null_stands_at_the_number_of_patients_that_it_gave() -> None:
    costs = [cost(8, used=8), cost(None, 0, 33), cost(None, 1, 34), cost(None, 0, 33)]
    assert annotated(costs) == {8: 8.0, None: 33.5}
    assert annotated([cost(8), cost(None)]) == {8: 8.0}


def test_curve_has_the_scores_in_order_of_patients() -> None:
    scores = summarise([*rows("arm", None, 0.6), *baseline()], ("x",), SEED)
    points = curves(scores, PATIENTS)
    assert [(p.arm, p.patients) for p in points] == [
        ("arm", 34.0),
        ("real", 4.0),
        ("real", 8.0),
        ("real", 16.0),
        ("real", 34.0),
    ]
    assert points[2].mean == pytest.approx(0.4)
    assert points[2].ci_low < 0.4 < points[2].ci_high
    assert curves(scores, {8: 8.0}) == ()


@pytest.mark.parametrize(("mean", "needed"), [(0.45, 8 * 2**0.5), (0.5, 16.0), (0.35, 4 * 2**0.5)])
def test_saving_is_read_between_points_on_the_logarithm(mean: float, needed: float) -> None:
    found = saving(mean)
    assert found.saved == pytest.approx(needed - 8, abs=1e-6)
    assert found.low is not None
    assert found.high is not None
    assert found.low < needed - 8 < found.high
    # patients who are easy for one are easy for all: the paired interval is short
    assert found.high - found.low < 1
    assert f"reaches with {needed:.1f}".removesuffix(".0") in found.said


def test_beyond_the_curve_is_said_not_guessed() -> None:
    found = saving(0.9)
    assert (found.saved, found.low, found.high) == (None, None, None)
    assert found.said == (
        "With 8 annotated patients arm reached the x Dice that real did not reach with 34: a saving of more than 26 "
        "(95% CI more than 26 to more than 26)."
    )
    below = saving(0.1)
    assert (below.saved, below.low, below.high) == (None, None, None)
    assert "passes with fewer than 4: a saving of less than -4" in below.said


def test_an_interval_may_end_beyond_the_curve() -> None:
    found = saving(0.3 + 0.1 * math.log2(34 / 4) - 1e-5)
    assert found.saved == pytest.approx(26, abs=0.1)
    assert found.low is not None
    assert found.high is None
    assert "to more than 26)" in found.said


def test_no_saving_is_told_without_a_curve_or_without_patients() -> None:
    one_point = [*rows("real", 8, 0.4), *rows("arm", 8, 0.5)]
    assert savings(one_point, "real", PATIENTS, SEED) == ()
    few = [r for r in [*baseline(), *rows("arm", 8, 0.5)] if r.patient_id in ("p1", "p2", "p3")]
    assert savings(few, "real", PATIENTS, SEED) == ()


def test_monotone_pools_what_falls() -> None:
    means = np.array([[0.1, 0.3, 0.2, 0.4], [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    assert monotone(means) == pytest.approx(
        np.array([[0.1, 0.25, 0.25, 0.4], [0.25, 0.25, 0.25, 0.25], [0.1, 0.2, 0.3, 0.4]])
    )


def test_a_level_stretch_is_reached_at_its_start() -> None:
    curve = Curve(np.array([4.0, 8.0, 16.0]), (4, 8, 16))
    means = np.array([[0.2, 0.4, 0.4], [0.2, 0.4, 0.4], [0.2, 0.2, 0.2]])
    assert curve.reached(means, np.array([0.4, 0.2, 0.2])) == pytest.approx([8.0, 4.0, 4.0])


def test_saving_interval_holds_the_true_saving_about_95_times_in_100() -> None:
    rng = SEED.child("coverage").rng()
    held, trials = 0, 150
    for _ in range(trials):
        table = []
        for arm, n, mean in (("real", 4, 0.3), ("real", 8, 0.4), ("real", 16, 0.5), ("arm", 4, 0.42)):
            dice = np.clip(mean + rng.normal(0, 0.12, 42), 0, 1)
            plain = rows(arm, n, mean, 42)
            table += [r.model_copy(update={"dice": float(d)}) for r, d in zip(plain, dice, strict=True)]
        (found,) = (s for s in savings(table, "real", {4: 4.0, 8: 8.0, 16: 16.0}, SEED) if s.arm == "arm")
        truth = 8 * 2**0.2 - 4
        held += (found.low is None or found.low <= truth) and (found.high is None or truth <= found.high)
    assert 0.89 <= held / trials <= 0.99
