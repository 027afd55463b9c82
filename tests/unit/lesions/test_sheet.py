"""The contact sheet shows every class, and nobody but its owner may read it."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image as png

from medaug.lesions.bank import Bank, bank_of_cases
from medaug.lesions.sheet import COLUMNS, write_sheet
from tests import made_lesions
from tests.small_cases import chest, fold_of, head


def picture(path: Path, bank: Bank) -> np.ndarray:
    write_sheet(bank, path)
    return np.asarray(png.imread(path))[..., :3]


def test_one_strip_a_class_with_lesions(tmp_path):
    both = picture(tmp_path / "both.png", made_lesions.bank(3, 12))
    one = picture(tmp_path / "one.png", made_lesions.bank(0, 12))
    assert both.shape[1] == COLUMNS * 96
    assert both.shape[0] == one.shape[0] + 24 + 96
    assert one.shape[0] == 24 + 2 * 96


def test_lesions_are_outlined_in_colour(tmp_path):
    shown = picture(tmp_path / "sheet.png", made_lesions.bank(2, 2))
    coloured = np.ptp(shown, axis=2) > 0.3
    assert 100 < coloured.sum() < 2000
    grey = shown[~coloured]
    assert grey.std() > 0.1


def test_only_the_owner_may_read_it(tmp_path):
    picture(tmp_path / "sheet.png", made_lesions.bank(1, 1))
    assert stat.S_IMODE((tmp_path / "sheet.png").stat().st_mode) == 0o600


@pytest.mark.parametrize("cases", [[chest(1)], [head(1), head(52)]])
def test_any_unit_is_shown(tmp_path, cases):
    shown = picture(tmp_path / "sheet.png", bank_of_cases(cases, fold_of(cases)))
    assert shown[24:, :96].std() > 0.1
