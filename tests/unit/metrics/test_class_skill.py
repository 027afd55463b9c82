"""Figures of classification against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.core.candidates import JudgedLesion
from medaug.core.seeding import SeedTree
from medaug.metrics.class_skill import auc, class_skills, confusion, of_lesions, of_patients

NAMES = ("a", "b", "c")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.booleans()), min_size=2, max_size=25))
def test_auc_is_the_share_of_pairs_in_order(rows):
    scores, positive = np.array([s for s, _ in rows]), np.array([p for _, p in rows])
    pairs = [(x > y) + 0.5 * (x == y) for x in scores[positive] for y in scores[~positive]]
    found = auc(scores, positive)
    assert np.isnan(found) if not pairs else found == pytest.approx(np.mean(pairs))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_auc_is_the_area_under_the_curve_of_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 6, 30) / 5, rng.random(30) < 0.4
    positive[:2] = True, False
    steps = [np.inf, *np.unique(scores)[::-1]]
    hits = [np.mean(scores[positive] >= t) for t in steps]
    alarms = [np.mean(scores[~positive] >= t) for t in steps]
    assert auc(scores, positive) == pytest.approx(np.trapezoid(hits, alarms))


def lesion(number, patient, name, probabilities):
    return JudgedLesion(
        lesion_id=f"l{number}", case_id="c", patient_id=patient, class_name=name, probabilities=probabilities
    )


LESIONS = (
    lesion(0, "p1", "a", (0.6, 0.3, 0.1)),
    lesion(1, "p1", "b", (0.7, 0.2, 0.1)),
    lesion(2, "p2", "a", (0.1, 0.8, 0.1)),
    lesion(3, "p3", "b", (0.2, 0.5, 0.3)),
)


def test_lesions_by_hand():
    rows = of_lesions(LESIONS, NAMES)
    assert confusion(rows) == ((1, 1, 0), (1, 1, 0), (0, 0, 0))
    a, b, c = class_skills(rows, NAMES, SeedTree(0))
    assert (a.n, a.n_others, a.sensitivity.value, a.specificity.value, a.auc.value) == (2, 2, 0.5, 0.5, 0.25)
    assert b.auc.value == 0.25
    assert (c.n, c.auc.value, c.sensitivity.value, c.specificity.value) == (0, None, None, 1.0)


def test_patients_by_hand():
    rows = of_patients(of_lesions(LESIONS, NAMES))
    assert rows.patient_ids == ("p1", "p2", "p3")
    assert rows.carried.tolist() == [[True, True, False], [True, False, False], [False, True, False]]
    assert rows.answers.tolist() == [[True, False, False], [False, True, False], [False, True, False]]
    assert rows.probabilities[0].tolist() == [0.7, 0.3, 0.1]


def test_intervals_count_a_patient_once():
    rng = np.random.default_rng(1)
    some = [(f"p{n}", *((0.8, 0.2) if rng.random() < 0.7 else (0.4, 0.6))) for n in range(40)]
    names = ("x", "y")

    def skill(copies):
        rows = [
            lesion(n, patient, "x" if int(patient[1:]) % 2 else "y", (p, q))
            for n, (patient, p, q) in enumerate(some * copies)
        ]
        return class_skills(of_lesions(rows, names), names, SeedTree(0))[0].sensitivity

    once, again = skill(1), skill(5)
    assert once.low <= once.value <= once.high
    assert (again.low, again.high) == pytest.approx((once.low, once.high))


def test_no_mistake_is_as_sure_as_the_patients_that_bear_on_it_are_many():
    """Three patients with the class and six without: so many bear on sensitivity and specificity, three pairs on the area."""
    sure = [lesion(n, f"p{n}", "x" if n < 3 else "y", (0.9, 0.1) if n < 3 else (0.2, 0.8)) for n in range(9)]
    skill = class_skills(of_lesions(sure, ("x", "y")), ("x", "y"), SeedTree(0))[0]
    for one, count in ((skill.sensitivity, 3), (skill.specificity, 6), (skill.auc, 3)):
        assert (one.value, one.high) == (1.0, 1.0)
        assert one.low == pytest.approx(0.025 ** (1 / count))
