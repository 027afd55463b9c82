"""Patches around lesions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medaug.core.case import Origin
from medaug.core.errors import ConfigError, LabelError
from medaug.core.intensity import IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap
from medaug.lesions.parts import lesion_parts
from medaug.tasks._classification.sampling import (
    BatchMaker,
    LesionPool,
    SyntheticLesions,
    cut_lesion,
)
from medaug.tasks._training.dealing import Dealing, Shares
from tests.unit.tasks.cases import CLASSES, make_case

CASES = tuple(make_case(n, shape=(30, 28, 8)) for n in range(4))
SCHEME = IntensityScheme.for_volume(CASES[0].volume)
CPU = torch.device("cpu")


def keep(batch, rngs):
    return batch


def maker(size=(16, 16), augment=keep, source=None, synthetic=0.0, cases=CASES):
    shares = Shares(8, 1.0, (synthetic, 0.0))
    drawn = None if source is None else SyntheticLesions(source, SCHEME, CLASSES, size)
    pool = LesionPool(cases, SCHEME, CLASSES, size)
    return BatchMaker(pool, drawn, augment, Dealing(shares, 4), SeedTree(0), shows_mask=True)


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 8)])
def test_a_batch_shows_every_class_equally_often_each_with_its_own_mask(size):
    batch = maker(size).batch(0, CPU)
    assert batch.inputs.shape == (8, 2, *size)
    assert sorted(batch.targets.tolist()) == [0] * 4 + [1] * 4
    assert (batch.lesions, batch.synthetic) == (8, 0)
    image, mask = batch.inputs[:, 0], batch.inputs[:, 1] > 0
    inside = torch.stack([one[shown].median() for one, shown in zip(image, mask, strict=True)])
    assert inside[batch.targets == 1].min() > inside[batch.targets == 0].max()
    assert torch.equal(batch.inputs, maker(size).batch(0, CPU).inputs)
    assert not torch.equal(batch.inputs, maker(size).batch(1, CPU).inputs)


@pytest.mark.parametrize("size", [(8, 8), (16, 16, 8), (8, 8, 4)])
def test_a_cut_lesion_is_where_it_is_in_the_image(size):
    case = CASES[1]
    assert case.label_map is not None
    for part in lesion_parts(case.label_map):
        lesion = cut_lesion(case.volume, SCHEME.case_scale(case.volume), part, size, 0)
        assert lesion.mask.sum() <= part.voxels
        images, masks = lesion.middle(size)
        assert images.shape[2:] == masks.shape[1:] == size[: images.ndim - 2]
        normalised = SCHEME.case_scale(case.volume).normalise(case.volume.image)[0]
        values = normalised[part.box.slices][part.mask]
        assert set(np.round(images[:, 0][masks], 4)) <= set(np.round(values, 4))
        if size == (16, 16, 8):
            assert masks.sum() == part.voxels


def test_slices_without_the_lesion_are_never_shown():
    for step in range(4):
        assert maker().batch(step, CPU).lesions == 8


class OneCase:
    """Draws one and the same case."""

    classes = CLASSES[:1]
    donor_patient_ids = frozenset({"patient_000"})

    def __init__(self, case):
        self.case, self.asked = case, []

    def draw(self, class_names, rngs):
        self.asked += class_names
        return tuple(self.case for _ in rngs)


def marked(site):
    """Two lesions of one class, told apart by their level, and where the new one is."""
    case = make_case(9, shape=(40, 40, 6), classes=())
    image, labels = case.volume.image.copy(), np.zeros((40, 40, 6), np.uint8)
    for start, level in ((4, 5.0), (28, 7.0)):
        image[0, start : start + 6, start : start + 6] = level
        labels[start : start + 6, start : start + 6] = 1
    volume = replace(case.volume, image=image)
    scale = SCHEME.case_scale(volume)
    return replace(
        case, volume=volume, label_map=LabelMap(labels, volume.grid, CLASSES), origin=Origin.SYNTHETIC,
        scale=scale, site=site,
    ), scale  # fmt: skip


def test_synthetic_lesions_take_places_of_their_class_and_are_cut_around_their_site():
    case, scale = marked((30, 30, 2))
    source = OneCase(case)
    batch = maker(source=source, synthetic=0.5).batch(0, CPU)
    assert (batch.synthetic, source.asked) == (2, [CLASSES[0]] * 2)
    assert sorted(batch.targets.tolist()) == [0] * 4 + [1] * 4
    expected = scale.normalise(np.full((1, 1, 1, 1), 7.0, np.float32)).item()
    shown = [one[0][one[1] > 0].median().item() for one in batch.inputs]
    assert sum(abs(value - expected) < 1e-4 for value in shown) >= 2


def test_mixed_patches_are_refused():
    def mix(batch, rngs):
        return replace(batch, labels=batch.labels.flip(0))

    with pytest.raises(ConfigError, match="mixed patches"):
        maker(augment=mix).batch(0, CPU)


def test_a_class_without_a_lesion_is_refused():
    with pytest.raises(LabelError, match="no training case holds bright"):
        maker(cases=tuple(make_case(n, classes=(1,)) for n in range(2)))
    with pytest.raises(LabelError, match="no lesion in the training cases"):
        maker(cases=(make_case(0, classes=()),))
