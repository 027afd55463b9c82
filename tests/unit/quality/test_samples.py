"""Lesions are cut one by one, whole, and only where they were drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.core.volume import LabelMap, Volume
from medaug.quality.features import feature_names
from medaug.quality.samples import cut_lesions, figures_of
from tests.small_cases import labels_of
from tests.unit.quality.textured import CLASSES, textured


def relabelled(case, labels):
    return replace(case, label_map=LabelMap(labels, case.volume.grid, CLASSES))


def test_each_component_of_each_class_is_a_lesion():
    case = textured(1)
    labels = np.zeros(case.volume.grid.shape, np.uint8)
    labels[4:9, 4:9, 1:3] = 1
    labels[20:26, 20:26, 2:5] = 1
    labels[9:14, 4:9, 1:3] = 2  # touches the first, of another class
    found = cut_lesions(relabelled(case, labels))
    assert [(s.class_name, int(s.mask.sum())) for s in found] == [
        ("solid", 50), ("solid", 108), ("ground_glass", 50),
    ]  # fmt: skip
    assert all(s.image.shape[1:] == s.mask.shape for s in found)


def test_intensities_are_normalised_on_the_whole_case():
    case = textured(2)
    sample = cut_lesions(case)[0]
    inside = case.volume.image[0][labels_of(case) == CLASSES.index("solid") + 1]
    np.testing.assert_allclose(
        np.sort(sample.image[0, sample.mask]), np.sort((inside + 400) / 500), atol=1e-6
    )


def test_edit_mask_leaves_out_the_hosts_own_lesions():
    case = textured(3)
    labels = labels_of(case).copy()
    labels[1:4, 1:4, 0:2] = 1
    edit = np.zeros(labels.shape, bool)
    edit[0:5, 0:5, 0:2] = True
    found = cut_lesions(relabelled(case, labels), edit)
    assert [int(s.mask.sum()) for s in found] == [18]


def test_large_lesion_is_averaged_down_and_keeps_its_size():
    case = textured(4)
    image = np.repeat(np.repeat(case.volume.image, 6, axis=1), 6, axis=2)
    grid = type(case.volume.grid)(image.shape[1:], np.diag([0.5, 0.5, 2.0, 1.0]))
    mask = np.repeat(np.repeat(labels_of(case), 6, axis=0), 6, axis=1)
    volume = Volume(image, grid, case.volume.unit, case.volume.channels)
    sample = cut_lesions(replace(case, volume=volume, label_map=LabelMap(mask, grid, CLASSES)))[0]
    assert max(sample.mask.any(axis=(1, 2)).sum(), sample.mask.any(axis=(0, 2)).sum()) <= 65
    volume_mm3 = sample.mask.sum() * np.prod(sample.spacing_mm)
    assert volume_mm3 == pytest.approx(mask.sum() * 0.5, rel=0.07)


def test_voxels_that_are_not_finite_are_refused():
    case = textured(5)
    case.volume.image[0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="case_0005: 1 voxels are not finite"):
        cut_lesions(case)


def test_unlabelled_case_is_refused():
    with pytest.raises(DataError, match="no label map"):
        cut_lesions(replace(textured(6), label_map=None))


@pytest.mark.parametrize("voxels", [3, 4, 9])
def test_tiny_lesions_have_finite_features(voxels):
    case = textured(7, channels=2)
    labels = np.zeros(case.volume.grid.shape, np.uint8)
    labels[5, 5 : 5 + voxels, 2] = 1
    sample = cut_lesions(relabelled(case, labels))[0]
    assert sample.is_flat
    assert sample.figures is not None
    assert sample.figures.shape == (len(feature_names(case.volume.channels)),)
    assert np.isfinite(sample.figures).all()


def test_section_is_a_lesion_of_one_slice():
    sample = cut_lesions(textured(8))[0]
    section = sample.slice_at(sample.largest_slice)
    assert section.is_flat
    assert not sample.is_flat
    assert int(section.mask.sum()) == int(sample.mask.sum(axis=(0, 1)).max())


def test_a_lesion_knows_its_place_in_the_body():
    case = textured(9)
    case.volume.image[:, :4], case.volume.image[:, -6:] = -1024.0, -1024.0
    case.volume.image[:, :, :3], case.volume.image[:, :, -3:] = -1024.0, -1024.0
    place = cut_lesions(case)[0].place
    assert place is not None
    # the ball's middle is at 18 and 17; the body reaches from 4 to 30 and from 3 to 31, a voxel more or less
    assert place.shares[:2] == pytest.approx((14.5 / 26, 14.5 / 28), abs=0.05)
    assert place.shares[2] == pytest.approx(3.5 / 6, abs=0.01)
    assert place.border_mm == pytest.approx(12 * 0.8, abs=1.2)


def test_figures_not_yet_measured_are_measured_with_the_rest():
    samples = [cut_lesions(textured(n))[0] for n in range(3)]
    known = figures_of(samples)
    mixed = [samples[0], replace(samples[1], figures=None), replace(samples[2], figures=None)]
    np.testing.assert_allclose(figures_of(mixed), known, atol=1e-6)
