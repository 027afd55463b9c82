"""nnU-Net's rules, on cases that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.tasks._segmentation.rules import (
    plan_batch,
    plan_patch_by_spacing,
    plan_topology,
    target_spacing,
)

SHAPES = np.array([[256, 256, 20]] * 5)


def spacings(coarse):
    return np.array([[0.5, 0.5, mm] for mm in coarse])


def test_the_target_is_the_median_spacing():
    found = np.array([[0.5, 0.6, 1.0], [0.7, 0.7, 1.2], [0.9, 0.8, 1.4]])
    assert target_spacing(found, np.array([[64, 64, 40]] * 3)) == (0.7, 0.7, 1.2)


def test_a_coarse_axis_takes_the_tenth_percentile():
    assert target_spacing(spacings([2.0, 3, 4, 5, 6]), SHAPES) == (0.5, 0.5, 2.4)


def test_a_coarse_axis_never_becomes_finer_than_the_others():
    assert target_spacing(spacings([0.3, 0.3, 4, 5, 6]), SHAPES) == (0.5, 0.5, 0.5)


def test_a_coarse_axis_with_as_many_voxels_takes_the_median():
    assert target_spacing(spacings([2.0, 3, 4, 5, 6]), SHAPES.clip(max=24)) == (0.5, 0.5, 4.0)


def test_an_even_patch_is_halved_evenly():
    found = plan_topology((64, 64, 64), (1, 1, 1))
    assert found.patch == (64, 64, 64)
    assert found.strides == ((2, 2, 2),) * 4
    assert found.kernels == ((3, 3, 3),) * 5


def test_a_coarse_axis_waits_until_the_others_are_as_coarse():
    found = plan_topology((64, 64, 16), (1, 1, 4))
    assert found.strides == ((2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2))
    assert found.kernels == ((3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3), (3, 3, 3))


def test_a_small_axis_is_left_alone_and_the_rest_goes_on():
    assert plan_topology((32, 32, 6), (1, 1, 1)).strides == ((2, 2, 1),) * 3


@pytest.mark.parametrize(("size", "steps"), [(8, 0), (11, 0), (12, 1)])
def test_an_axis_alone_is_halved_from_twelve_voxels_on(size, steps):
    assert len(plan_topology((size, 4), (1, 1)).strides) == steps


def test_the_patch_is_padded_to_what_can_be_halved():
    found = plan_topology((50, 33), (1, 1))
    assert found.patch == (56, 40)
    assert found.strides == ((2, 2),) * 3


def test_a_patch_within_the_budget_is_the_median_case():
    assert plan_patch_by_spacing((35, 50, 36), (1, 1, 1), 10**6).patch == (40, 56, 40)


@pytest.mark.parametrize(
    ("shape", "spacing", "voxels"),
    [
        ((512, 512, 300), (0.7, 0.7, 1.25), 128**3),
        ((512, 512, 40), (0.5, 0.5, 5), 48 * 56 * 48),
        ((512, 512), (0.7, 0.7), 128**2),
        ((20, 3000), (1, 1), 4096),
    ],
)
def test_a_large_case_is_cut_down_to_the_budget(shape, spacing, voxels):
    found = plan_patch_by_spacing(shape, spacing, voxels)
    steps = np.prod(np.array(found.strides), axis=0)
    assert 0.5 * voxels < np.prod(found.patch) <= voxels
    assert (np.array(found.patch) % steps == 0).all()
    assert len(found.kernels) == len(found.strides) + 1


def test_the_patch_begins_with_equal_sides_in_mm():
    assert plan_patch_by_spacing((900, 900, 900), (1, 1, 2), 10**9).patch == (384, 384, 192)


@pytest.mark.parametrize(
    ("budget", "dataset", "expected"), [(12 * 64, 10**6, 12), (12 * 64, 20 * 64 * 5, 5), (64, 10**6, 2)]
)
def test_a_batch_fills_the_budget_but_not_more_than_a_twentieth_of_the_dataset(budget, dataset, expected):
    assert plan_batch((8, 8), budget, dataset) == expected
