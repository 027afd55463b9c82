"""The sheet is a PNG whatever there is to show."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medaug.quality.sheet import write_sheet
from tests.unit.quality.textured import lesion


@pytest.mark.parametrize("pairs", [0, 1, 7])
def test_sheet_is_written(tmp_path, pairs):
    path = tmp_path / "sheet.png"
    write_sheet(path, [(lesion(n), lesion(n + 50), 2.0 - n * 0.3) for n in range(pairs)])
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert len(np.unique(np.asarray(picture.convert("L")))) > 3
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
