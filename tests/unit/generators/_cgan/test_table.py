from __future__ import annotations

import pytest
import torch

from medaug.generators._cgan.table import FigureTable
from medaug.generators._patches.coarse import CONTRAST, LEVEL, Anchor


def table(anchor: Anchor = "level", voxels: int = 100) -> FigureTable:
    """Twenty lesions of two classes: levels 0 to 9 and 10 to 19, contrasts the other way round."""
    figures = torch.zeros(20, 1, 7)
    figures[:, 0, LEVEL] = torch.arange(20.0)
    figures[:, 0, CONTRAST] = -torch.arange(20.0)
    index = torch.arange(20) // 10
    return FigureTable(
        figures, index, torch.full((20,), 0.1), torch.full((20,), voxels), anchor, torch.ones(2, 1, 1)
    )


def test_low_z_chooses_faint_lesions_of_the_class_and_high_z_bright_ones() -> None:
    chosen = [float(table().draw(1, 100, z)[0, LEVEL]) for z in (-3.0, -1.0, 0.0, 1.0, 3.0)]
    assert chosen == sorted(chosen)
    assert chosen[0] == 10
    assert chosen[-1] == 19


def test_where_units_mean_nothing_z_orders_by_contrast() -> None:
    assert float(table("contrast").draw(0, 100, 3.0)[0, LEVEL]) == 0


def test_all_lesions_come_up_as_often_as_they_shall() -> None:
    z = torch.special.ndtri((torch.arange(100.0) + 0.5) / 100)
    found = [float(table().draw(0, 100, float(value))[0, LEVEL]) for value in z]
    assert [found.count(level) for level in range(10)] == pytest.approx([10] * 10, abs=1)


def test_lesions_of_about_the_size_are_preferred() -> None:
    mixed = table()
    mixed.voxels[:5] = 4
    found = {float(mixed.draw(0, 4, z)[0, LEVEL]) for z in (-2.0, -1.0, 0.0, 1.0, 2.0)}
    assert found <= {0, 1, 2, 3, 4}


def test_the_first_number_of_z_says_where_a_lesion_stands_in_its_class() -> None:
    known = table()
    rows = torch.tensor([0, 4, 9, 10, 19])
    scores = known.first_of(known.figures[rows], known.class_index[rows])
    assert scores[0] == scores[3]
    assert scores[2] == scores[4]
    assert scores[0] < scores[1] < scores[2]
    assert float(scores.abs().max()) < 2.4
