"""The plan: what the cases look like and what follows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.errors import ConfigError
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap
from medaug.tasks._segmentation.planning import (
    Wishes,
    choose_batch,
    choose_spacing,
    choose_topology,
    median_shape,
    plan_patch,
    plan_widths,
    take_fingerprint,
)
from tests.unit.tasks.cases import CLASSES, make_case


def spaced(spacings, *, known=True):
    """Cases with these spacings."""
    cases = []
    for n, mm in enumerate(spacings):
        case = make_case(n)
        assert case.label_map is not None
        grid = Grid(case.volume.grid.shape, np.diag([*mm, 1.0]))
        volume = replace(case.volume, grid=grid, spacing_known=known)
        cases.append(replace(case, volume=volume, label_map=LabelMap(case.label_map.labels, grid, CLASSES)))
    return cases


VARIED = [(0.5, 0.5, 1.0), (0.7, 0.7, 1.0), (0.9, 0.9, 2.0)]


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


def test_the_fingerprint_says_how_far_spacings_differ():
    found = take_fingerprint(spaced(VARIED), CLASSES)
    assert found.spacing_spread == pytest.approx(1.0)
    assert found.target_spacing_mm == (0.7, 0.7, 1.0)
    nominal = take_fingerprint(spaced(VARIED, known=False), CLASSES)
    assert (nominal.spacing_spread, nominal.target_spacing_mm) == (0.0, None)


@pytest.mark.parametrize(
    ("dims", "spacing", "cases", "expected"),
    [
        (3, "as_is", spaced(VARIED), None),
        (3, "median", spaced(VARIED), (0.7, 0.7, 1.0)),
        (2, "median", spaced(VARIED), (0.7, 0.7)),
        (3, "median", spaced([(1.0, 1, 1), (1.04, 1, 1), (1.0, 0.97, 1)]), None),
        (3, "median", spaced(VARIED, known=False), None),
        (2, (0.6, 0.8), spaced(VARIED), (0.6, 0.8)),
    ],
)
def test_what_is_resampled(dims, spacing, cases, expected):
    assert choose_spacing(Wishes(dims, spacing=spacing), take_fingerprint(cases, CLASSES)) == expected


def test_a_nominal_spacing_cannot_be_resampled():
    found = take_fingerprint(spaced(VARIED, known=False), CLASSES)
    with pytest.raises(ConfigError, match=r"task\.spacing: the spacing of the cases is nominal"):
        choose_spacing(Wishes(3, spacing=(1.0, 1.0, 1.0)), found)


def test_the_median_shape_is_that_of_the_resampled_cases():
    assert median_shape(spaced(VARIED), None) == (24, 20, 6)
    assert median_shape(spaced(VARIED), (0.35, 0.35)) == (48, 40, 6)


SHAPE = (200, 180, 40)


@pytest.mark.parametrize(
    ("wishes", "patch", "steps"),
    [
        (Wishes(2, levels=4), (128, 128), 3),
        (Wishes(3, levels=4), (56, 56, 40), 3),
        (Wishes(2, patch=(64, 32), levels=3), (64, 32), 2),
        (Wishes(2, patch=(64, 64)), (64, 64), 4),
        (Wishes(2), (224, 192), 5),
        (Wishes(2, full_resolution=True), (224, 192), 6),
        (Wishes(3, network="dynunet", budget=500_000), (112, 96, 20), 4),
        (Wishes(3, network="segresnet", levels=3), (56, 56, 40), 2),
        (Wishes(2, network="swinunetr", levels=4), (128, 128), 5),
    ],
)
def test_what_is_given_is_kept_and_the_rest_follows(wishes, patch, steps):
    found = choose_topology(wishes, SHAPE, (1.0, 1.0, 1.0)[: wishes.dims])
    assert found.patch == patch
    assert len(found.strides) == steps


@pytest.mark.parametrize(
    ("wishes", "line"),
    [
        (Wishes(2, patch=(50, 64)), r"task\.patch_size: cannot be halved .*expected 56 x 64, or levels"),
        (
            Wishes(2, "segresnet", patch=(50, 64), levels=3),
            r"task\.patch_size: size 50 cannot be halved 2 times",
        ),
        (Wishes(2, "swinunetr", patch=(48, 64)), r"task\.patch_size: size 48 .* multiple of 32"),
        (Wishes(2, "dynunet", patch=(12, 12)), r"task\.levels: the median case is too small"),
    ],
)
def test_a_patch_that_does_not_fit_the_network_is_refused(wishes, line):
    with pytest.raises(ConfigError, match=line):
        choose_topology(wishes, SHAPE, (1.0, 1.0))


def test_a_batch_that_is_given_is_kept():
    assert choose_batch(Wishes(2, batch=5), (64, 64), SHAPE, 30) == 5
    assert choose_batch(Wishes(2), (64, 64), SHAPE, 30) == 48


def test_widths():
    assert plan_widths("unet", 16, 5) == (16, 32, 64, 128, 256, 320)
    assert plan_widths("segresnet", 32, 4) == (32, 64, 128, 256, 512)
    assert plan_widths("swinunetr", 24, 5) == (24, 24, 48, 96, 192, 384)
