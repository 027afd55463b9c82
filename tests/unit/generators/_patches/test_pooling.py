"""A scarce class borrows how lesions vary, not what they look like."""

from __future__ import annotations

import pytest
import torch

from medaug.core.runs import NoProgress
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.batches import gather
from medaug.generators._patches.coarse import LEVEL
from medaug.generators._patches.pooling import Pooled, nearest, pooled
from tests import made_lesions


def of(faint: int, bright: int) -> tuple[Pooled, int]:
    training = gather(made_lesions.bank(faint, bright), Config(size=(16, 16)), NoProgress())
    return pooled(training), len(training.patches.image)


def test_enough_lesions_borrow_nothing() -> None:
    rows, patches = of(8, 8)
    assert len(rows.figures) == patches


def test_nobody_to_borrow_from() -> None:
    rows, patches = of(3, 3)
    assert len(rows.figures) == patches


def test_few_lesions_vary_as_those_of_the_nearest_class() -> None:
    rows, patches = of(9, 2)
    assert len(rows.figures) > patches
    assert (rows.class_index[patches:] == 1).all()
    own, borrowed = slice(0, patches), slice(patches, None)
    bright = rows.class_index[own] == 1
    weights = [float(rows.shares[own][bright].sum()), float(rows.shares[borrowed].sum())]
    assert weights == pytest.approx([2 / 8, 6 / 8])
    level = rows.figures[:, 0, LEVEL]
    real, taken = level[own][bright], level[borrowed]
    faint = level[own][~bright]
    assert float(taken.mean() - real.mean()) == pytest.approx(0, abs=0.1)
    assert abs(float(faint.mean() - real.mean())) > 1
    shares = rows.shares[own][~bright]
    assert float(shares.sum()) == pytest.approx(1)


def test_nearest_is_the_class_whose_figures_are_most_alike() -> None:
    figures = torch.tensor([0.0, 0.1, 1.0, 1.1, 5.0, 5.1])[:, None, None].expand(6, 1, 7)
    index = torch.tensor([0, 0, 1, 1, 2, 2])
    rows = Pooled(figures, index, torch.full((6,), 0.5), torch.ones(6, dtype=torch.long))
    assert nearest(rows, (3, 9, 9), 0) == 1
    assert nearest(rows, (3, 9, 9), 2) == 1
    assert nearest(rows, (3, 4, 9), 0) == 2
    assert nearest(rows, (3, 4, 5), 0) is None
