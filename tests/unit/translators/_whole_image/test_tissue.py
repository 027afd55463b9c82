"""Tissue clusters mean the same in every case, and lesions leave none of themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.core.volume import Unit
from medaug.translators._whole_image.tissue import Tissues, learn_tissues, sample_voxels
from tests.small_cases import chest, head


def learnt(count: int = 2) -> Tissues:
    samples = [sample_voxels(chest(n).volume, 1.0, np.random.default_rng(n)) for n in range(3)]
    return learn_tissues(samples, count, (1.0, 8), Unit.HU)


def test_lung_body_and_outside_are_told_apart_in_a_case_never_seen() -> None:
    case = chest(9, ())
    labels = learnt().label(case.volume)
    assert labels[21, 32, 4] == 1
    assert labels[36, 32, 4] == 2
    assert labels[0, 0, 4] == 0
    assert np.unique(labels).tolist() == [0, 1, 2]


def test_tissues_are_sorted_and_the_same_whatever_the_order_of_cases() -> None:
    samples = [sample_voxels(chest(n).volume, 1.0, np.random.default_rng(n)) for n in range(3)]
    there = learn_tissues(samples, 3, (1.0, 8), Unit.HU)
    back = learn_tissues(samples[::-1], 3, (1.0, 8), Unit.HU)
    assert (np.diff(there.centres[:, 0]) > 0).all()
    np.testing.assert_allclose(there.centres, back.centres, atol=0.02)


def test_hidden_lesions_become_their_surroundings() -> None:
    case = chest(3, ("solid",))
    assert case.label_map is not None
    lesion = case.label_map.labels > 0
    shown, hidden = learnt().label(case.volume), learnt().label(case.volume, lesion)
    assert (shown[lesion] == 2).mean() > 0.5
    assert (hidden[lesion] == 1).all()


def test_gain_of_a_scanner_changes_no_label_where_units_mean_nothing() -> None:
    volumes = [head(n).volume for n in (1, 2, 3)]
    samples = [sample_voxels(v, 1.0, np.random.default_rng(0)) for v in volumes]
    tissues = learn_tissues(samples, 2, (1.0, 8), Unit.ARBITRARY)
    louder = replace(volumes[0], image=volumes[0].image * np.float32(7.0))
    first, second = tissues.label(volumes[0]), tissues.label(louder)
    assert (first == second).mean() > 0.999
    assert first.max() == 2


def test_more_tissues_than_levels_are_refused() -> None:
    flat = np.zeros((100, 1), np.float32)
    with pytest.raises(DataError, match="fewer than 4 levels"):
        learn_tissues([flat], 4, (1.0, 8), Unit.HU)


def test_small_parts_join_what_surrounds_them() -> None:
    volume = chest(5, ()).volume
    image = volume.image.copy()
    image[0, 20:22, 31:33, 4] = 40.0
    tissues = learnt()
    crumb = replace(tissues, smoothing=0.1).label(replace(volume, image=image))
    assert (crumb[18:24, 29:35, 4] == 1).all()
