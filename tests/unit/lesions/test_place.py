"""Lesions go where lesions of their class live, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.errors import ConfigError, DataError
from medaug.core.geometry import Box
from medaug.core.intensity import IntensityScheme
from medaug.core.volume import Volume
from medaug.lesions.bank import bank_of_cases
from medaug.lesions.body import Body
from medaug.lesions.place import find_like, find_site, map_tissue, require_room
from medaug.lesions.prior import TissuePrior
from tests.small_cases import SHAPE, chest, fold_of, head


def prior(cases: Sequence[Case] | None = None) -> TissuePrior:
    cases = cases or [chest(1), chest(2), chest(3)]
    return TissuePrior.learn(bank_of_cases(cases, fold_of(cases)).entries("solid"))


def tissue_of(case, learnt=None):
    scale = IntensityScheme.for_volume(case.volume).case_scale(case.volume)
    return map_tissue(case, scale, Body.of(case.volume), learnt or prior())


def ball(radius: float, slices: int = 3) -> np.ndarray:
    i, j, _ = np.indices((48, 48, slices))
    return np.asarray(np.hypot(i - 24, j - 24) < radius)


def lungs():
    i, j, _ = np.indices(SHAPE)
    return np.any([((i - s) / 12) ** 2 + ((j - 32) / 20) ** 2 < 1 for s in (21, 51)], axis=0)


def test_allowed_tissue_is_lung_off_the_lesions():
    case = chest(5)
    tissue = tissue_of(case)
    assert case.label_map is not None
    near = ndimage.binary_dilation(case.label_map.labels > 0, np.ones((3, 3, 1)), iterations=3)
    assert not tissue.reach[near].any()
    assert (tissue.allowed & ~lungs()).sum() <= 0.02 * tissue.allowed.sum()
    assert tissue.allowed[..., 4][lungs()[..., 4]].mean() > 0.4
    assert not tissue.reach[..., 0].any()  # where no lesion of the bank reaches


def test_works_without_hounsfield_units_and_with_channels():
    cases = [head(1), head(2), head(3)]
    tissue = tissue_of(head(9), prior(cases))
    assert tissue.allowed.sum() > 500
    assert (tissue.allowed & ~lungs()).sum() <= 0.02 * tissue.allowed.sum()


def test_sites_lie_wholly_in_healthy_lung():
    case = chest(6)
    tissue = tissue_of(case)
    mask = ball(3)
    sites = {find_site(tissue, mask, np.random.default_rng(seed)) for seed in range(25)}
    assert len(sites) > 10
    for site in sites:
        inside = Box.centred(site, (48, 48, 3))
        whole = np.zeros(SHAPE, dtype=bool)
        moved = np.argwhere(mask) + np.array(inside.start)
        whole[tuple(moved.T)] = True
        assert tissue.reach[whole].all()
        assert lungs()[whole].mean() >= 0.8


def test_slices_no_lesion_reaches_are_left_alone():
    learnt = replace(prior(), slices=(0.5, 1.0))
    tissue = tissue_of(chest(6), learnt)
    assert not tissue.clearance[..., :4].any()
    assert tissue.clearance[..., 4:].any()
    case = chest(6)
    slab = replace(case, volume=case.volume.crop(Box((0, 0, 1), (72, 64, 2))), label_map=None)
    scale = IntensityScheme.for_volume(case.volume).case_scale(case.volume)
    assert not map_tissue(slab, scale, Body.of(case.volume).slice_at(1), learnt).clearance.any()


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((80, 80, 1), dtype=bool), "larger than the image"),
        (np.ones((30, 30, 1), dtype=bool), "no healthy tissue has room for a lesion of 900 voxels"),
    ],
)
def test_errors_name_the_constraint(mask, words):
    with pytest.raises(DataError, match=words) as caught:
        find_site(tissue_of(chest(6)), mask, np.random.default_rng(0))
    assert caught.value.where == "case_006"


def test_host_without_the_organ_is_refused():
    case = chest(6, ())
    image = np.where(case.volume.image < -500, np.float32(40.0), case.volume.image)
    v = case.volume
    solid = replace(case, volume=Volume(image, v.grid, v.unit, v.channels))
    with pytest.raises(DataError, match="no tissue of the kind that lesions of class solid sit in"):
        find_site(tissue_of(solid), ball(2), np.random.default_rng(0))

    with pytest.raises(DataError, match="no tissue of the kind that lesions of class solid sit in"):
        require_room(tissue_of(solid), None)


def test_room_is_judged_before_a_shape_is_drawn():
    tissue = tissue_of(chest(6))
    require_room(tissue, None)
    require_room(tissue, 20.0)
    with pytest.raises(DataError, match=r"a lesion of 70\.0 mm is larger than the tissue for class solid"):
        require_room(tissue, 70.0)


def test_prior_needs_a_lesion():
    with pytest.raises(DataError, match="no lesion to learn"):
        TissuePrior.learn(())


def test_the_fewer_lesions_are_known_the_wider_they_may_lie():
    case = chest(1)
    (entry, *_) = bank_of_cases([case], fold_of([case])).entries("solid")
    few, many = TissuePrior.learn([entry]), TissuePrior.learn([entry] * 40)
    assert few.slices[0] == pytest.approx(entry.slices_relative[0] / 2)
    assert few.slices[1] == pytest.approx((1 + entry.slices_relative[1]) / 2)
    assert few.depth_mm < many.depth_mm
    assert few.margin_mm < many.margin_mm
    assert few.site_low < many.site_low
    assert many.slices == pytest.approx(entry.slices_relative, abs=0.02)


@pytest.mark.parametrize("number", [5, 6, 7])
def test_one_lesion_is_enough_to_find_places_in_other_patients(number):
    donor = chest(1)
    (entry, *_) = bank_of_cases([donor], fold_of([donor])).entries("solid")
    tissue = tissue_of(chest(number), TissuePrior.learn([entry]))
    first, last = (round(share * SHAPE[2]) for share in entry.slices_relative)
    thicker = ball(3, last - first + 1)  # by one slice than the only lesion that is known
    assert find_site(tissue, thicker, np.random.default_rng(0))


def known_at(place, depth_mm, count=40):
    """That many lesions at one place of the body."""
    case = chest(1)
    (entry, *_) = bank_of_cases([case], fold_of([case])).entries("solid")
    known = {"centre_in_body": place, "boundary_distance_mm": depth_mm, "edge_margin_mm": None}
    return [entry.model_copy(update=known)] * count


def sites_of(tissue, draws=60):
    return np.array([find_site(tissue, ball(2), np.random.default_rng(seed)) for seed in range(draws)])


def test_sites_gather_where_the_banks_lesions_are_and_spread_where_few_are_known():
    left = (0.27, 0.3, 0.5)
    many = sites_of(tissue_of(chest(6, ()), TissuePrior.learn(known_at(left, None))))
    few = sites_of(tissue_of(chest(6, ()), TissuePrior.learn(known_at(left, None, 1))))
    assert (many[:, 0] < 36).mean() > 0.85
    assert 0.3 < (few[:, 0] < 36).mean() < 0.75
    assert many[:, 1].mean() < few[:, 1].mean() - 1.5


@pytest.mark.parametrize(("depth_mm", "low", "high"), [(13.0, 10.0, 16.5), (21.0, 18.0, 25.0)])
def test_sites_keep_the_depth_of_the_banks_lesions(depth_mm, low, high):
    tissue = tissue_of(chest(6, ()), TissuePrior.learn(known_at(None, depth_mm)))
    depths = tissue.body.edge[tuple(sites_of(tissue).T)]
    assert low < np.median(depths) < high


def test_lesions_of_an_organ_stay_in_it_and_a_host_without_it_is_named():
    learnt = TissuePrior.learn([e.model_copy(update={"organ_share": 1.0}) for e in known_at(None, None)])
    assert learnt.in_organ
    tissue = tissue_of(chest(6, ()), learnt)
    assert tissue.body.organ is not None
    assert not (tissue.allowed & ~tissue.body.organ).any()
    case = chest(6, ())
    solid = np.where(case.volume.image < -500, np.float32(40.0), case.volume.image)
    with pytest.raises(DataError, match="no lung is to be seen, where lesions of class solid sit"):
        require_room(tissue_of(replace(case, volume=replace(case.volume, image=solid)), learnt), None)


def test_a_labelled_organ_is_kept_to_and_is_no_lesion():
    case = chest(6, ())
    assert case.label_map is not None
    labels = np.where(lungs() & (np.indices(SHAPE)[0] > 36), 2, 0).astype(np.uint8)
    case = replace(case, label_map=replace(case.label_map, labels=labels))
    scale = IntensityScheme.for_volume(case.volume).case_scale(case.volume)
    tissue = map_tissue(case, scale, Body.of(case.volume), prior(), within="ground_glass")
    assert (sites_of(tissue, 10)[:, 0] > 36).all()
    with pytest.raises(ConfigError, match="brain cannot be found"):
        map_tissue(case, scale, Body.of(case.volume), prior(), within="brain")


def test_bone_is_no_place():
    case = chest(6, ())
    image = case.volume.image.copy()
    image[0, ::4, ::4] = 700.0  # a fine lattice of bone in lung that looks right else
    bony = replace(case, volume=replace(case.volume, image=image))
    tissue = tissue_of(bony, replace(prior(), high=(2.0,), site_high=(2.0,)))
    with pytest.raises(DataError, match="no healthy tissue has room"):
        find_site(tissue, ball(4), np.random.default_rng(0))


def test_a_host_full_of_lesions_has_no_place():
    case = chest(6)
    assert case.label_map is not None
    full = replace(case, label_map=replace(case.label_map, labels=np.ones(SHAPE, np.uint8)))
    with pytest.raises(DataError, match="no place off other lesions"):
        require_room(tissue_of(full), None)


def test_the_place_most_like_another_is_another():
    tissue = tissue_of(chest(6, ()))
    site = find_site(tissue, ball(3), np.random.default_rng(0))
    like = find_like(tissue, ball(3), site, np.random.default_rng(1))
    assert like != site
    assert lungs()[like]
