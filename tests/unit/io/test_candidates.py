"""Candidate lists of other tools."""

from __future__ import annotations

import pytest

from medaug.core.errors import DataError
from medaug.io.candidates import read_candidates


def test_rows_become_candidates_whatever_else_stands_there(tmp_path):
    (tmp_path / "a.csv").write_text(
        "score,case_id,z_mm,y_mm,x_mm,diameter\n-3.5,c1,3,2,1,9\n", encoding="utf-8-sig"
    )
    (tmp_path / "a.json").write_text('[{"case_id": "c1", "x_mm": 1, "y_mm": 2.0, "z_mm": 3, "score": -3.5}]')
    for name in ("a.csv", "a.json"):
        (found,) = read_candidates(tmp_path / name)
        assert (found.case_id, found.x_mm, found.y_mm, found.z_mm, found.score) == ("c1", 1, 2, 3, -3.5)
    (tmp_path / "c.json").write_text("{}")
    for name in ("a.txt", "c.json"):
        with pytest.raises(DataError, match="is no list of lesions"):
            read_candidates(tmp_path / name)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00case_id")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_candidates(tmp_path / "b.csv")
