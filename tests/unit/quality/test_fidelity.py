"""A label that lies where the lesion is has a high Dice; a shifted one loses it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.volume import LabelMap, Mask, Volume
from medaug.quality.fidelity import label_dice
from medaug.quality.samples import cut_lesions
from tests.unit.quality.textured import CLASSES, textured


def _bright(volume: Volume) -> Mask:
    """A segmenter that sees what is bright."""
    return np.asarray(volume.image[0] > -450)


def _labelled(case: Case, labels: np.ndarray) -> Case:
    return replace(case, label_map=LabelMap(labels.astype(np.uint8), case.volume.grid, CLASSES))


def test_a_shifted_label_loses_its_dice() -> None:
    case = textured(1)
    assert case.label_map is not None
    (right,) = label_dice(case, _bright)
    (near,) = label_dice(_labelled(case, np.roll(case.label_map.labels, 4, axis=0)), _bright)
    (off,) = label_dice(_labelled(case, np.roll(case.label_map.labels, 8, axis=1)), _bright)
    assert right > 0.9
    assert 0.4 < near < 0.8
    assert off < near - 0.15


def test_the_class_plays_no_part_and_a_lesion_that_is_missed_has_none() -> None:
    case = textured(2, name="ground_glass")
    assert label_dice(case, _bright)[0] > 0.9

    def blind(volume: Volume) -> Mask:
        return np.zeros(volume.grid.shape, dtype=bool)

    assert label_dice(case, blind) == [0.0]


def test_values_stand_in_the_order_of_the_lesions_and_neighbours_do_not_count() -> None:
    case = textured(3)
    assert case.label_map is not None
    labels = case.label_map.labels.copy()
    labels[18:] *= 2
    both = _labelled(case, labels)
    samples, found = cut_lesions(both), label_dice(both, _bright)
    assert [sample.class_name for sample in samples] == ["solid", "ground_glass"]
    assert min(found) > 0.85
    edit = np.zeros(labels.shape, dtype=bool)
    edit[18:] = True
    assert label_dice(both, _bright, edit) == found[1:]


def test_a_case_without_label_is_refused() -> None:
    with pytest.raises(DataError, match="no label map"):
        label_dice(replace(textured(1), label_map=None), _bright)
