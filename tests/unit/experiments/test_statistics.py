"""Known values, and small simulations of how often the statistics are right."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from medaug.core.results import DiceRow
from medaug.core.seeding import SeedTree
from medaug.experiments.statistics import (
    Interval,
    bootstrap_interval,
    call,
    compare,
    holm,
    minimum_detectable_effect,
    paired_differences,
    patient_scores,
    sign_flip_p,
    summarise,
)

SEED = SeedTree(3)


def row(
    arm: str, patient: str, dice: float | None, seed: int = 0, case: str = "", name: str = "x"
) -> DiceRow:
    return DiceRow(
        arm=arm,
        n_annotated=None,
        fold=0,
        seed=seed,
        case_id=case or patient,
        patient_id=patient,
        class_name=name,
        dice=dice,
        false_positive_voxels=None if dice is not None else 4,
    )


def test_seeds_are_averaged_in_the_case_and_cases_in_the_patient() -> None:
    rows = [
        row("a", "p1", 0.2, seed=0, case="c1"),
        row("a", "p1", 0.4, seed=1, case="c1"),
        row("a", "p1", 0.9, seed=0, case="c2"),
        row("a", "p2", None),
        row("a", "p3", 0.5),
    ]
    scores = patient_scores(rows)
    assert scores.patient_ids == ("p1", "p3")
    assert scores.values == pytest.approx([0.6, 0.5])


def test_only_what_both_arms_scored_is_paired() -> None:
    ours = [row("a", "p1", 0.5), row("a", "p2", 0.9), row("a", "p1", 0.9, seed=1)]
    theirs = [row("b", "p1", 0.4), row("b", "p3", 0.1)]
    paired = paired_differences(ours, theirs)
    assert paired.patient_ids == ("p1",)
    assert paired.values == pytest.approx([0.1])


def test_exact_p_equals_the_enumeration_by_hand() -> None:
    values = np.array([0.1, 0.3, -0.05, 0.2])
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in product((1, -1), repeat=4)
    ]
    expected = np.mean([s >= abs(values.sum()) - 1e-12 for s in sums])
    assert sign_flip_p(values, SEED.rng()) == pytest.approx(expected)
    assert sign_flip_p(np.full(5, 0.1), SEED.rng()) == pytest.approx(2 / 32)
    assert sign_flip_p(np.zeros(6), SEED.rng()) == 1.0


def test_drawn_p_is_near_the_exact_one_and_never_zero() -> None:
    strong = np.full(20, 0.1)
    assert 0 < sign_flip_p(strong, SEED.rng()) < 1e-3
    noise = SEED.child("noise").rng().normal(0, 1, 16)
    noise -= noise.mean() - 0.3
    t_like = sign_flip_p(noise, SEED.rng())
    assert t_like == pytest.approx(sign_flip_p(noise, SEED.child("again").rng()), abs=0.02)


def test_holm_against_the_worked_example() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_minimum_detectable_effect_of_a_known_sample() -> None:
    values = np.array([-1.0, 1.0] * 5)
    # t(9): 0.975 -> 2.2622, 0.8 -> 0.8834; sd 1.0541, n 10
    assert minimum_detectable_effect(values) == pytest.approx((2.2622 + 0.8834) * 1.0541 / 10**0.5, abs=1e-3)
    assert minimum_detectable_effect(np.array([0.4])) is None


def test_interval_of_one_value_or_of_equal_values() -> None:
    assert bootstrap_interval(np.array([0.3]), SEED.rng()) == Interval(-1.0, 1.0)
    assert bootstrap_interval(np.full(7, 0.25), SEED.rng()) == Interval(0.25, 0.25)


def test_interval_stays_in_range_and_depends_on_the_seed_alone() -> None:
    values = np.array([0.0, 0.0, 0.0, 0.9, 1.0])
    one = bootstrap_interval(values, SEED.rng(), low=0.0, high=1.0)
    assert one == bootstrap_interval(values, SEED.rng(), low=0.0, high=1.0)
    assert 0.0 <= one.low < values.mean() < one.high <= 1.0


@pytest.mark.parametrize("n", [8, 20])
def test_coverage_and_false_positives_on_gaussian_differences(n: int) -> None:
    rng = SEED.child("simulation", n).rng()
    trials, covered, rejected = 400, 0, 0
    for _ in range(trials):
        values = rng.normal(0.0, 0.1, n)
        interval = bootstrap_interval(values, rng)
        covered += interval.low <= 0.0 <= interval.high
        rejected += n <= 15 and sign_flip_p(values, rng) <= 0.05
    assert 0.92 <= covered / trials <= 0.99
    if n <= 15:
        assert rejected / trials <= 0.08


def test_calls() -> None:
    assert call(Interval(0.1, 0.2), 0.01, 4) == "inconclusive"
    assert call(Interval(0.1, 0.2), 0.01, 8) == "gain"
    assert call(Interval(0.1, 0.2), 0.2, 8) == "no evidence"
    # five pairs give p of 0.0625 at best, eight pairs among eight tests 0.0625 after Holm
    assert call(Interval(0.1, 0.2), 0.0625, 5) == "inconclusive"
    assert call(Interval(0.1, 0.2), 0.0625, 8, family=8) == "inconclusive"
    assert call(Interval(0.1, 0.2), 0.0625, 9, family=8) == "no evidence"
    assert call(Interval(0.1, 0.2), 0.2, 42, family=40) == "no evidence"
    assert call(Interval(-0.1, 0.2), 0.01, 8) == "no evidence"
    assert call(Interval(-0.2, -0.1), 0.9, 8) == "harm"


def test_compare_finds_a_planted_gain_and_a_planted_harm() -> None:
    rng = SEED.child("plant").rng()
    rows = []
    for n in range(14):
        base = float(rng.uniform(0.3, 0.6))
        noise = [float(e) for e in rng.normal(0, 0.01, 3)]
        rows += [row("real", f"p{n}", base), row("good", f"p{n}", base + 0.2 + noise[0])]
        rows += [row("bad", f"p{n}", base - 0.2 + noise[1]), row("same", f"p{n}", base + noise[2])]
    found = {c.arm: c for c in compare(rows, "real", ("x", "absent"), SEED)}
    assert {arm: c.verdict for arm, c in found.items()} == {
        "good": "gain",
        "bad": "harm",
        "same": "no evidence",
    }
    good = found["good"]
    assert good.ci_low < good.mean_difference < good.ci_high
    assert good.mean_difference == pytest.approx(0.2, abs=0.02)
    assert good.p_holm >= good.p
    assert good.n_patients == 14


def test_summary_leaves_empty_references_out_of_the_mean_and_counts_them() -> None:
    rows = [row("a", "p1", 1.0), row("a", "p2", 0.5), row("a", "p3", None)]
    (score,) = summarise(rows, ("x", "absent"), SEED)
    assert (score.mean_dice, score.n_patients, score.n_empty, score.false_positive_voxels) == (0.75, 2, 1, 4)
