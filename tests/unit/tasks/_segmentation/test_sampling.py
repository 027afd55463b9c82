"""Patches: shares that add up, windows that hold their lesion, batches that depend on the step alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medaug.core.case import Case
from medaug.core.errors import ConfigError, DataError, LabelError
from medaug.core.geometry import Grid
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap
from medaug.engine.launch import Team
from medaug.tasks._segmentation import sampling
from medaug.tasks._segmentation.sampling import BatchMaker, PatchPool, SyntheticPatches, View, prepare_case
from medaug.tasks._training.dealing import Dealing, Shares
from tests.unit.tasks.cases import CLASSES, make_case

CASE = make_case(0)
SCHEME = IntensityScheme.for_volume(CASE.volume)


CPU = torch.device("cpu")


def keep(batch, rngs):
    return batch


class Source:
    """Yields one and the same case, and keeps count."""

    def __init__(self, case: Case) -> None:
        self.case, self.drawn, self.classes = case, 0, CLASSES

    def draw(self, class_names, rngs):
        self.drawn += len(rngs)
        return tuple(self.case for _ in rngs)

    @property
    def donor_patient_ids(self):
        return frozenset({self.case.patient_id})


@pytest.mark.parametrize("patch", [(8, 8), (8, 8, 4), (32, 16)])
def test_a_lesion_patch_holds_a_lesion_of_its_class(patch):
    pool = PatchPool([make_case(n) for n in range(4)], SCHEME, CLASSES, patch)
    for seed in range(30):
        cut = pool.cut(np.random.default_rng(seed), seed % 2)
        assert cut.image.shape == (1, *patch)
        assert cut.labels.shape == patch
        assert (cut.labels == seed % 2 + 1).any()


def test_every_case_of_a_class_is_drawn_equally_often():
    cases = [make_case(n, classes=(1 + n % 2,), shape=(24, 24, 4)) for n in range(6)]
    pool = PatchPool(cases, SCHEME, CLASSES, (24, 24))
    slices = [np.moveaxis(SCHEME.case_scale(c.volume).normalise(c.volume.image), -1, 0) for c in cases]
    drawn = [pool.cut(np.random.default_rng(seed), 1).image for seed in range(300)]
    owners = [n for image in drawn for n in range(6) if any((image == one).all() for one in slices[n])]
    assert np.bincount(owners, minlength=6) == pytest.approx([0, 100, 0, 100, 0, 100], abs=30)


def test_patches_are_normalised_with_their_labels_in_place():
    pool = PatchPool([CASE], SCHEME, CLASSES, (8, 8, 4))
    assert CASE.label_map is not None
    expected = SCHEME.case_scale(CASE.volume).normalise(CASE.volume.image)
    cut = pool.cut(np.random.default_rng(1), 0)
    image, labels = cut.image, cut.labels
    assert labels.any()
    found = [
        (i, j, k)
        for i in range(17)
        for j in range(13)
        for k in range(3)
        if np.array_equal(expected[:, i : i + 8, j : j + 8, k : k + 4], image)
        and np.array_equal(CASE.label_map.labels[i : i + 8, j : j + 8, k : k + 4], labels)
    ]
    assert len(found) == 1


def test_unlabelled_cases_are_never_cut():
    silent = make_case(5, labelled=False)
    loud = replace(silent, volume=replace(silent.volume, image=silent.volume.image + 1e6))
    pool = PatchPool([CASE, loud], SCHEME, CLASSES, (8, 8))
    whole = SCHEME.case_scale(CASE.volume).normalise(CASE.volume.image)
    for seed in range(20):
        image = pool.cut(np.random.default_rng(seed), None).image
        assert np.isin(image, whole).all()


@pytest.mark.parametrize(
    ("cases", "error", "line"),
    [
        ([make_case(1, labelled=False)], DataError, "no training case has a label"),
        ([make_case(1, classes=())], LabelError, "no lesion in the training cases"),
        ([make_case(1, classes=(2,))], LabelError, "no training case holds dim"),
    ],
)
def test_refuses_cases_that_teach_nothing(cases, error, line):
    with pytest.raises(error, match=line):
        PatchPool(cases, SCHEME, CLASSES, (8, 8))


def test_refuses_another_class_table():
    assert CASE.label_map is not None
    other = replace(CASE, label_map=LabelMap(CASE.label_map.labels, CASE.volume.grid, ("bright", "dim")))
    with pytest.raises(LabelError, match="case_000: label map names bright, dim"):
        prepare_case(other, SCHEME, CLASSES, (8, 8))


def test_a_batch_depends_on_its_step_alone():
    pool = PatchPool([make_case(n) for n in range(4)], SCHEME, CLASSES, (8, 8))
    dealing = Dealing(Shares(6, 0.5, (0.0, 0.0)), 10)

    def noisy(batch, rngs):
        noise = np.stack([rng.normal(size=batch.images.shape[1:]) for rng in rngs])
        return replace(batch, images=batch.images + torch.from_numpy(noise).float())

    first = BatchMaker(pool, None, noisy, dealing, SeedTree(3))
    second = BatchMaker(pool, None, noisy, dealing, SeedTree(3))
    other = BatchMaker(pool, None, noisy, dealing, SeedTree(4))
    second.batch(0, CPU)

    def images(maker, step):
        return maker.batch(step, CPU).patches.images

    assert torch.equal(images(first, 7), images(second, 7))
    assert not torch.equal(images(first, 7), images(first, 8))
    assert not torch.equal(images(first, 7), images(other, 7))


@pytest.mark.parametrize("patch", [(8, 8), (8, 8, 4), (32, 16)])
def test_synthetic_patches_take_the_place_of_real_lesion_patches(patch):
    pool = PatchPool([make_case(n) for n in range(4)], SCHEME, CLASSES, patch)
    source = Source(make_case(9, classes=(2,)))
    synthetic = SyntheticPatches(source, SCHEME, CLASSES, patch)
    dealing = Dealing(Shares(8, 0.75, (0.0, 1.0)), 5)
    batch = BatchMaker(pool, synthetic, keep, dealing, SeedTree(0)).batch(2, CPU)
    real = BatchMaker(pool, None, keep, dealing, SeedTree(0)).batch(2, CPU)
    assert (batch.synthetic, source.drawn, real.synthetic) == (3, 3, 0)
    for place, images in enumerate(zip(batch.patches.images, real.patches.images, strict=True)):
        assert torch.equal(*images) == (place not in {1, 3, 5})
    assert all((batch.patches.labels[place] == 2).any() for place in (1, 3, 5))
    assert batch.patches.images.shape == (8, 1, *patch)


def test_a_part_of_a_case_is_normalised_by_the_scale_of_the_whole():
    slab = replace(make_case(9), scale=CaseScale((5.0,), (2.0,), (-1e3,), (1e3,)))
    (cut,) = SyntheticPatches(Source(slab), SCHEME, CLASSES, (24, 20)).cut([0], (np.random.default_rng(0),))
    image = cut.image
    k = [n for n in range(6) if np.allclose(image, (slab.volume.image[..., n] - 5) / 2, atol=1e-5)]
    assert len(k) == 1


def test_a_synthetic_case_without_a_lesion_still_gives_a_patch():
    source = Source(make_case(9, classes=()))
    (cut,) = SyntheticPatches(source, SCHEME, CLASSES, (8, 8)).cut([0], (np.random.default_rng(0),))
    image, labels = cut.image, cut.labels
    assert image.shape == (1, 8, 8)
    assert not labels.any()


@pytest.mark.parametrize("patch", [(6, 6), (6, 6, 4)])
def test_a_synthetic_patch_is_cut_around_the_new_lesion_not_an_old_one(patch):
    image = np.zeros((1, 40, 40, 8), np.float32)
    labels = np.zeros((40, 40, 8), np.uint8)
    labels[2:5, 2:5, 1:4], labels[30:33, 30:33, 4:7] = 1, 2
    grid = Grid((40, 40, 8), np.eye(4))
    volume = replace(CASE.volume, image=image, grid=grid)
    case = replace(CASE, volume=volume, label_map=LabelMap(labels, grid, CLASSES), site=(31, 31, 5))
    cutter = SyntheticPatches(Source(case), SCHEME, CLASSES, patch)
    for cut in cutter.cut([1] * 10, tuple(np.random.default_rng(n) for n in range(10))):
        assert (cut.labels == 2).any()
        assert not (cut.labels == 1).any()


def test_every_slice_of_a_new_lesion_is_drawn():
    image, labels = np.zeros((1, 12, 12, 8), np.float32), np.zeros((12, 12, 8), np.uint8)
    for k in range(2, 6):
        labels[5:8, 5:8, k], image[..., k] = 2, k
    grid = Grid((12, 12, 8), np.eye(4))
    volume = replace(CASE.volume, image=image, grid=grid)
    scale = CaseScale((0.0,), (1.0,), (-10.0,), (10.0,))
    case = replace(
        CASE, volume=volume, label_map=LabelMap(labels, grid, CLASSES), site=(6, 6, 3), scale=scale
    )
    cutter = SyntheticPatches(Source(case), SCHEME, CLASSES, (8, 8))
    drawn = cutter.cut([1] * 40, tuple(np.random.default_rng(n) for n in range(40)))
    assert {float(cut.image.max()) for cut in drawn} == {2.0, 3.0, 4.0, 5.0}


def test_a_slice_is_seen_with_its_neighbours():
    pool = PatchPool([CASE], SCHEME, CLASSES, (8, 8), View(context=1))
    expected = SCHEME.case_scale(CASE.volume).normalise(CASE.volume.image)[0]
    cut = pool.cut(np.random.default_rng(1), 0)
    assert cut.image.shape == (3, 8, 8)
    found = [
        (i, j, k)
        for i in range(17)
        for j in range(13)
        for k in range(6)
        if np.array_equal(expected[i : i + 8, j : j + 8, k], cut.image[1])
    ]
    ((i, j, k),) = found
    below, above = max(k - 1, 0), min(k + 1, 5)
    assert np.array_equal(cut.image[0], expected[i : i + 8, j : j + 8, below])
    assert np.array_equal(cut.image[2], expected[i : i + 8, j : j + 8, above])
    assert CASE.label_map is not None
    assert np.array_equal(cut.labels, CASE.label_map.labels[i : i + 8, j : j + 8, k])


def test_synthetic_cases_are_seen_with_their_neighbours_where_they_are_whole():
    view, whole = View(context=2), make_case(9, classes=(2,))
    (cut,) = SyntheticPatches(Source(whole), SCHEME, CLASSES, (8, 8), view).cut(
        (1,), (np.random.default_rng(0),)
    )
    assert cut.image.shape == (5, 8, 8)
    assert (cut.labels == 2).any()
    grid = Grid((24, 20, 1), np.eye(4))
    assert whole.label_map is not None
    slab = replace(
        whole,
        volume=replace(whole.volume, image=whole.volume.image[..., 2:3], grid=grid),
        label_map=replace(whole.label_map, labels=whole.label_map.labels[..., 2:3], grid=grid),
        scale=SCHEME.case_scale(whole.volume),
    )
    with pytest.raises(ConfigError, match=r"task\.context: synthetic cases are single slices.*context 0"):
        SyntheticPatches(Source(slab), SCHEME, CLASSES, (8, 8), view).cut((1,), (np.random.default_rng(0),))


@pytest.mark.parametrize("patch", [(8, 8), (8, 8, 4)])
def test_real_and_synthetic_cases_are_cut_at_the_spacing_of_the_plan(patch):
    view = View(target_mm=(0.5, 2.0, 1.5)[: len(patch)])
    pool = PatchPool([CASE], SCHEME, CLASSES, patch, view)
    source = SyntheticPatches(Source(replace(CASE, site=(12, 10, 3))), SCHEME, CLASSES, patch, view)
    real = pool.cut(np.random.default_rng(0), 0)
    (made,) = source.cut((None,), (np.random.default_rng(0),))
    for cut in (real, made):
        assert cut.image.shape == (1, *patch)
        assert cut.spacing_mm == pytest.approx(view.target_mm)
    assert (real.labels == 1).sum() > 8 if len(patch) == 2 else real.labels.any()


def test_a_team_shares_the_patches_of_one_alone(monkeypatch):
    pool = PatchPool([make_case(n) for n in range(4)], SCHEME, CLASSES, (8, 8))
    shares = Shares(6, 0.5, (0.5, 0.5))
    synthetic = SyntheticPatches(Source(make_case(9, classes=(1, 2))), SCHEME, CLASSES, (8, 8))
    maker = BatchMaker(pool, synthetic, keep, Dealing(shares, 10), SeedTree(3))
    whole = maker.batch(4, CPU)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(sampling, "team", lambda rank=rank: Team(rank, 2))
        parts.append(maker.batch(4, CPU))
    joined = torch.stack([part.patches.images for part in parts], dim=1).flatten(0, 1)
    assert torch.equal(joined, whole.patches.images)
    assert sum(part.synthetic for part in parts) == whole.synthetic > 0
    assert sum(part.lesions for part in parts) == whole.lesions
