"""The attack on made-up generators: what it sees, what chance gives, and what only looks like memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from medaug.copying.membership import infer_membership, judge, suspect
from medaug.copying.suspects import Weighed, areas, rates
from medaug.core.assessment import Figure, MembershipResult
from tests.unit.copying.made_up import by_heart, cohort, honest

MEMBERS, OTHERS, MADE = 8, 24, 24


def attacked(seed: int, kind: str) -> MembershipResult:
    rng = np.random.default_rng(seed)
    stretch = 1.5 if kind == "another kind of patients" else 1.0
    members, others = cohort(rng, "in", MEMBERS, stretch), cohort(rng, "out", OTHERS)
    made = by_heart(rng, members, MADE) if kind == "by heart" else honest(rng, MADE, stretch)
    return infer_membership(made, members, others, rng)


def test_what_was_learnt_by_heart_fails() -> None:
    found = [attacked(seed, "by heart") for seed in range(12)]
    assert [one.verdict for one in found] == ["fail"] * 12
    assert np.mean([one.auc.value for one in found if one.auc]) > 0.9
    one = found[0]
    assert (one.n_members, one.n_others) == (MEMBERS, OTHERS)
    assert "area under the curve" in one.reasons[0]


def test_an_honest_generator_fails_no_more_often_than_chance_allows() -> None:
    found = [attacked(seed, "honest") for seed in range(60)]
    assert Counter(one.verdict for one in found)["fail"] <= 3
    values = [one.auc.value for one in found if one.auc]
    assert np.mean(values) == pytest.approx(0.5, abs=3 * np.std(values) / np.sqrt(len(values)))
    held = [one.auc.low <= 0.5 <= one.auc.high for one in found if one.auc]
    assert np.mean(held) > 0.85


def test_patients_of_another_kind_are_not_taken_for_memory() -> None:
    found = [attacked(seed, "another kind of patients") for seed in range(15)]
    areas_ = [(one.auc.value, one.control_auc.value) for one in found if one.auc and one.control_auc]
    attack, control = np.mean(areas_, axis=0)
    assert attack > 0.75
    assert control > 0.75
    assert Counter(one.verdict for one in found)["fail"] <= 2
    assert any("training and held-out patients may differ" in one.reasons[-2] for one in found)


def test_scores_do_not_depend_on_who_is_a_member() -> None:
    rng = np.random.default_rng(0)
    members, others = cohort(rng, "in", MEMBERS), cohort(rng, "out", OTHERS)
    made = by_heart(rng, members, MADE)
    one = suspect(made, members, others, np.random.default_rng(1))
    two = suspect(made, others, members, np.random.default_rng(1))
    np.testing.assert_allclose(one.attack, two.attack, atol=1e-6)
    assert (one.is_member == ~two.is_member).all()
    assert one.n_members == MEMBERS
    assert one.attack[one.is_member].mean() > one.attack[~one.is_member].mean()


def test_order_plays_no_part() -> None:
    rng = np.random.default_rng(0)
    members, others = cohort(rng, "in", MEMBERS), cohort(rng, "out", OTHERS)
    made = by_heart(rng, members, MADE)
    one = suspect(made, members, others, np.random.default_rng(1))
    two = suspect(made[::-1], members, others, np.random.default_rng(1))
    np.testing.assert_allclose(one.attack, two.attack, atol=1e-6)


@pytest.mark.parametrize(
    ("members", "others", "made", "words"),
    [
        (4, OTHERS, MADE, "4 training patients with lesions of these classes, 5 are needed"),
        (MEMBERS, 19, MADE, "19 held-out patients with lesions of these classes, 20 are needed"),
        (MEMBERS, OTHERS, 19, "19 synthetic lesions of classes that can be compared, 20 are needed"),
        (1, OTHERS, MADE, "0 synthetic lesions"),
        (MEMBERS, OTHERS, 0, "0 synthetic lesions"),
    ],
)
def test_too_few_is_inconclusive(members: int, others: int, made: int, words: str) -> None:
    rng = np.random.default_rng(0)
    found = infer_membership(honest(rng, made), cohort(rng, "in", members), cohort(rng, "out", others), rng)
    assert (found.verdict, found.auc, found.control_auc, found.tpr_at_1_percent) == (
        "inconclusive",
        None,
        None,
        None,
    )
    assert words in " ".join(found.reasons)


def test_a_class_without_training_patients_is_not_compared() -> None:
    rng = np.random.default_rng(0)
    members = [one for one in cohort(rng, "in", MEMBERS) if one.class_name == "solid"]
    found = suspect(honest(rng, MADE), members, cohort(rng, "out", OTHERS), rng)
    assert {name for names in found.classes for name in names} == {"solid"}


def figure(value: float, low: float = 0.4, high: float = 0.6) -> Figure:
    return Figure(value=value, low=low, high=high)


LITTLE = Weighed(figure(0.0, 0.0, 0.0), figure(0.0), above=0.0, chance=1.0)


@pytest.mark.parametrize(
    ("area", "rate", "verdict", "words"),
    [
        (Weighed(figure(0.51), figure(0.5), -0.1, 0.4), LITTLE, "pass", "no more than chance gives"),
        (Weighed(figure(0.8, 0.7, 0.9), figure(0.5), 0.1, 0.001), LITTLE, "fail", "0.80 (0.70 to 0.90), of the control 0.50"),
        (Weighed(figure(0.55), figure(0.5), -0.1, 0.2), Weighed(figure(0.1), figure(0.0), 0.02, 0.01), "fail",
         "10.0% of the training patients found at 1% false positives, by the control 0.0%; chance gives that in 1.00% of"),
        (Weighed(figure(0.8, 0.7, 0.9), figure(0.8), -0.1, 0.001), LITTLE, "inconclusive", "not surely more than the control"),
        (Weighed(figure(0.55, 0.3, 0.71), figure(0.5), -0.1, 0.3), LITTLE, "inconclusive", "an area of 0.71 cannot be ruled out"),
    ],
)  # fmt: skip
def test_verdicts(area: Weighed, rate: Weighed, verdict: str, words: str) -> None:
    found, reasons = judge(area, rate)
    assert found == verdict
    assert words in " ".join(reasons)


def test_areas_count_patients_as_often_as_they_are_drawn() -> None:
    scores = np.array([3.0, 1.0, 2.0, 1.0])
    members, others = np.array([[1.0, 1, 0, 0], [2, 1, 0, 0]]), np.array([[0.0, 0, 1, 1], [0, 0, 1, 2]])
    # once each: 3 > 2, 3 > 1, 1 < 2, 1 = 1; then six of nine pairs for the 3, half of two for the 1
    assert areas(scores, members, others) == pytest.approx([2.5 / 4, (6 + 1.0) / 9])


def test_rates_let_one_in_a_hundred_others_pass() -> None:
    scores = np.array([9.0, 5.0, 1.0, *np.linspace(0, 8, 99)])
    members = (np.arange(102) < 3).astype(float)[None]
    assert rates(scores, members, 1 - members) == pytest.approx([1 / 3])
    two = (np.arange(102) < 2).astype(float)[None]
    below_best = np.array([9.0, 7.95, *np.linspace(0, 7.9, 99), 8.0])
    assert rates(below_best, two, 1 - two) == pytest.approx([1.0])
