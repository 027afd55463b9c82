"""Whole cases are changed in native units, on their own grid, and can be changed again from what was drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.errors import ConfigError
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit, Volume
from medaug.engine.warp import Resampling
from medaug.transforms import Blur, Brightness, Facts, Flip, Motion, Rotate, Translate, parse_transforms
from medaug.transforms._steps.policy import PolicyAugment
from medaug.transforms._whole import change_case, draw_case
from tests.small_cases import chest, head, labels_of

HOW = Resampling()
SLICES = chest(0).volume.grid.shape[2]


def records(*steps, dims=3):
    return [tuple(steps)] * (1 if dims == 3 else SLICES)


def with_metal(case):
    image = case.volume.image.copy()
    image[:, 30:34, 40:44, 2:5] = 3071.0
    image[:, :3, :3] = -3024.0
    return replace(case, volume=replace(case.volume, image=image))


def policy(**settings):
    built = parse_transforms(settings).build(Unit.HU, "CT")
    assert isinstance(built, PolicyAugment)
    return built


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("case", [with_metal(chest(0)), head(1)], ids=["CT", "MR"])
def test_nothing_drawn_changes_nothing(case, dims):
    steps = Rotate(angles_deg=(0.0, 0.0, 0.0)), Brightness(shift=0.0)
    same = change_case(case, records(*steps, dims=dims), HOW, dims)
    assert np.array_equal(same.volume.image, case.volume.image)
    assert np.array_equal(labels_of(same), labels_of(case))
    assert np.array_equal(same.volume.grid.affine, case.volume.grid.affine)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_flip_is_exact_beyond_the_window_too(dims):
    case = with_metal(chest(0, ("solid", "ground_glass")))
    before = case.volume.image.copy()
    flipped = change_case(case, records(Flip(axes=(0,)), dims=dims), HOW, dims)
    assert np.array_equal(flipped.volume.image, before[:, ::-1])
    assert np.array_equal(labels_of(flipped), labels_of(case)[::-1])
    assert np.array_equal(case.volume.image, before)
    assert labels_of(flipped).dtype == labels_of(case).dtype
    assert flipped.volume.image.dtype == np.dtype(np.float32)


def test_metal_moves_with_the_image():
    case = with_metal(chest(0))
    shift = Translate(shift_mm=(5.0, 0.0, 0.0))
    moved = change_case(case, records(shift), HOW, 3).volume.image
    assert np.array_equal(moved[:, 10:60], case.volume.image[:, 5:55])


def test_hounsfield_units_stay_hounsfield_units():
    case = chest(0)
    brighter = change_case(case, records(Brightness(shift=0.04)), HOW, 3)
    assert np.array_equal(brighter.volume.image, np.rint(case.volume.image + 20.0))
    assert brighter.volume.unit is Unit.HU
    assert np.array_equal(labels_of(brighter), labels_of(case))


def test_whole_numbers_stay_whole_where_that_is_fine_enough():
    blur = records(Blur(sigma_mm=(1.0, 1.0, 1.0)))
    whole = change_case(chest(0), blur, HOW, 3).volume.image
    assert np.array_equal(whole, np.rint(whole))
    assert not np.signbit(whole[whole == 0]).any()
    case = chest(0)
    coarse = replace(case.volume, image=np.rint(case.volume.image / 500.0 + 2.0), unit=Unit.ARBITRARY)
    changed = change_case(replace(case, volume=coarse), blur, HOW, 3).volume.image
    assert not np.array_equal(changed, np.rint(changed))


def test_each_channel_has_its_own_scale():
    case = head(3)
    brighter = change_case(case, records(Brightness(shift=0.1)), HOW, 3)
    change = brighter.volume.image - case.volume.image
    spread = change.reshape(2, -1)
    assert np.ptp(spread, axis=1) == pytest.approx([0, 0], abs=0.02 * float(spread.mean()))
    assert float(spread[0].mean()) == pytest.approx(float(spread[1].mean()) / 0.3, rel=0.02)


def test_slices_are_changed_each_by_its_own_record():
    case = chest(0)
    drawn = [(), (Flip(axes=(1,)),), *[()] * (SLICES - 2)]
    changed = change_case(case, drawn, HOW, 2).volume.image
    expected = case.volume.image.copy()
    expected[..., 1] = expected[..., 1][:, :, ::-1]
    assert np.array_equal(changed, expected)


def test_more_slices_than_are_changed_at_once():
    case = chest(0)
    long = np.concatenate([case.volume.image] * 5, axis=3)
    grid = replace(case.volume.grid, shape=long.shape[1:])
    volume = Volume(long, grid, Unit.HU, ("CT",))
    turned = change_case(replace(case, volume=volume, label_map=None), [(Flip(axes=(0,)),)] * 40, HOW, 2)
    assert np.array_equal(turned.volume.image, long[:, ::-1])
    assert turned.label_map is None


@pytest.mark.parametrize("dims", [2, 3])
def test_draws_follow_the_seed_alone(dims):
    case, augment = chest(0), policy(kind="randaugment", n=3)
    first, second = (draw_case(augment, case, dims, SeedTree(5).child("x")) for _ in range(2))
    assert first == second != draw_case(augment, case, dims, SeedTree(6).child("x"))
    assert len(first) == (SLICES if dims == 2 else 1)
    if dims == 2:
        assert len(set(map(str, first))) > 1
    once, again = (change_case(case, first, augment.how, dims).volume.image for _ in range(2))
    assert np.array_equal(once, again)


def test_one_record_a_slice_or_one_in_3d():
    with pytest.raises(ConfigError, match=f"2 records for {SLICES} slices"):
        change_case(chest(0), [(), ()], HOW, 2)
    with pytest.raises(ConfigError, match="2 records"):
        change_case(chest(0), [(), ()], HOW, 3)


def test_motion_leaves_the_lesion_under_its_label():
    """The middle of k-space shows the patient in place, at any magnitude."""
    image = np.zeros((1, 48, 48, 3), np.float32)
    image[:, 20:28, 20:28] = 1000.0
    case = chest(0)
    grid = replace(case.volume.grid, shape=(48, 48, 3), affine=np.eye(4))
    volume = replace(case.volume, image=image, grid=grid, unit=Unit.ARBITRARY)
    block = replace(case, volume=volume, label_map=None)
    i = np.arange(48)
    for seed in range(12):
        step = Motion.draw(1.0, np.random.default_rng(seed), Facts((48, 48), (1.0, 1.0), Unit.ARBITRARY))
        seen = change_case(block, [(step,)] * 3, HOW, 2).volume.image[0, ..., 1]
        weight = np.where(seen > 500, seen, 0)
        centre = (weight.sum(axis=1) @ i / weight.sum(), weight.sum(axis=0) @ i / weight.sum())
        assert centre == pytest.approx((23.5, 23.5), abs=1.0)
