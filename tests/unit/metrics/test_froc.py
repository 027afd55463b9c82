"""FROC against the definition spelt out, and what counts as a hit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.core.candidates import ScoredLesion
from medaug.core.geometry import Box, Grid
from medaug.core.seeding import SeedTree
from medaug.lesions.parts import LesionPart
from medaug.metrics.froc import RATES, Scan, froc, match, sensitivities

GRID = Grid((20, 20, 10), np.diag([2.0, 2.0, 2.0, 1.0]))


def cube(start, side=4, name="solid"):
    stop = tuple(s + side for s in start)
    return LesionPart("1_001", name, Box(tuple(start), stop), np.ones((side,) * 3, dtype=bool))


def candidate(index, score=0.5, box=None):
    x, y, z = (float(v) for v in GRID.to_mm(index))
    return ScoredLesion(
        lesion_id="c", case_id="case", patient_id=None, x_mm=x, y_mm=y, z_mm=z, score=score, box=box
    )


def by_brute_force(found, false, n_scans, rate):
    """The best of all thresholds that keep to the rate."""
    best = 0.0
    for threshold in [*found, *false, np.inf]:
        if np.sum(false >= threshold) <= rate * n_scans and np.isfinite(threshold):
            best = max(best, float(np.mean(found >= threshold)))
    return best


SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), max_size=12)


@settings(max_examples=200, deadline=None)
@given(SCORES.filter(bool), st.integers(0, 3), SCORES, st.integers(1, 9))
def test_sensitivity_is_the_best_that_any_threshold_reaches(found, missed, false, n_scans):
    lesions = np.array(found + [-np.inf] * missed)
    reached = sensitivities(lesions, np.array(false), n_scans)
    assert reached.tolist() == [by_brute_force(lesions, np.array(false), n_scans, rate) for rate in RATES]


def test_a_curve_by_hand():
    # two scans; threshold above 0.6 costs nothing, above 0.3 one false positive, below two
    scans = [
        Scan("p1", ("a", "b"), np.array([0.9, 0.5]), np.array([0.6])),
        Scan("p2", ("a",), np.array([-np.inf]), np.array([0.3])),
    ]
    everything, of_a, of_b = froc(scans, ("a", "b", "c"), SeedTree(0))
    assert [point.sensitivity.value for point in everything.points] == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3]
    )
    assert everything.mean_sensitivity.value == pytest.approx(4 / 7)
    assert (everything.n_lesions, everything.n_patients) == (3, 2)
    assert [point.sensitivity.value for point in of_a.points] == [0.5] * 7
    assert (of_b.class_name, of_b.points[0].sensitivity.value, of_b.points[2].sensitivity.value) == (
        "b",
        0.0,
        1.0,
    )


def test_the_interval_holds_the_value_and_narrows_with_patients():
    rng = np.random.default_rng(0)

    def curve(n):
        scans = [
            Scan(f"p{i}", ("a",), np.where(rng.random(1) < 0.6, 0.9, -np.inf), np.array([0.1]))
            for i in range(n)
        ]
        return froc(scans, ("a",), SeedTree(0))[0].mean_sensitivity

    few, many = curve(10), curve(100)
    for one in (few, many):
        assert one.low <= one.value <= one.high
    assert many.high - many.low < few.high - few.low
    alone = froc([Scan("p", ("a",), np.array([0.5]), np.empty(0))], ("a",), SeedTree(0))[0].mean_sensitivity
    assert (alone.value, alone.low, alone.high) == (1.0, None, None)


def test_a_candidate_hits_within_the_radius_or_on_a_voxel_of_the_lesion():
    lesion = cube((4, 4, 2))  # radius of its ball: 4.96 mm; centre at 5.5, 5.5, 3.5
    inside, in_radius, outside = (7, 7, 5), (5.5, 5.5, 5.9), (5.5, 5.5, 6.1)
    for place, hit in ((inside, True), (in_radius, True), (outside, False)):
        scan = match("p", [lesion], [candidate(place)], GRID)
        assert (scan.found[0] == 0.5, len(scan.false)) == (hit, int(not hit))


def test_boxes_hit_from_a_tenth_of_overlap():
    lesion = cube((4, 4, 2))
    near = candidate((0.0, 0.0, 0.0), box=(6, 6, 2, 10, 10, 6))  # 16 of 112 voxels
    far = candidate((0.0, 0.0, 0.0), box=(7, 7, 3, 11, 11, 7))  # 3 of 125
    assert match("p", [lesion], [near], GRID, "iou").found[0] == 0.5
    assert match("p", [lesion], [far, candidate((5, 5, 3))], GRID, "iou").found[0] == -np.inf


def test_several_candidates_on_a_lesion_are_no_false_positives():
    scan = match(
        "p", [cube((4, 4, 2)), cube((14, 14, 4), name="other")],
        [candidate((5, 5, 3), 0.2), candidate((6, 5, 3), 0.8), candidate((0, 0, 0), 0.7)], GRID,
    )  # fmt: skip
    assert scan.found.tolist() == [0.8, -np.inf]
    assert scan.false.tolist() == [0.7]
    assert match("p", [], [], GRID).found.shape == (0,)
    assert match("p", [cube((4, 4, 2))], [], GRID).found.tolist() == [-np.inf]
