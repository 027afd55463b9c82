"""The plan: what the cases look like and what follows."""

from __future__ import annotations

import pytest

from medaug.tasks._segmentation.planning import plan_patch, take_fingerprint
from tests.unit.tasks.cases import CLASSES, make_case


def test_fingerprint_counts_labelled_cases_only():
    cases = [make_case(0), make_case(1, classes=(1,)), make_case(2, labelled=False, shape=(90, 90, 90))]
    found = take_fingerprint(cases, CLASSES)
    assert (found.cases, found.patients, found.cases_per_class) == (2, 2, (2, 1))
    assert found.median_shape == (24, 20, 6)
    assert found.median_spacing_mm == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("shape", "dims", "levels", "expected"),
    [
        ((35, 50, 36), 3, 4, (40, 56, 40)),
        ((128, 128, 7), 2, 4, (128, 128)),
        ((20, 20, 20), 2, 4, (24, 24)),
        ((512, 512, 300), 2, 5, (128, 128)),
    ],
)
def test_patch_covers_the_median_case_within_the_budget(shape, dims, levels, expected):
    assert plan_patch(shape, dims, levels) == expected


def test_a_large_volume_is_cut_down_to_the_budget():
    patch = plan_patch((512, 512, 300), 3, 4)
    assert patch[0] * patch[1] * patch[2] <= 48 * 56 * 48
    assert all(size % 8 == 0 for size in patch)
