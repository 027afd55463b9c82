"""Lists of what must not leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from medaug.core.errors import ConfigError
from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.layouts.dicom import SeriesIdentity, Uids, write_series
from medaug.privacy.identifiers import read_identifiers


def test_names_count_in_any_order_and_other_lines_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("Quirkwood, Zebulon\nMRN-0815\n\n", encoding="utf-8")
    listed = read_identifiers(path)
    for text in ("of zebulon", "QUIRKWOOD^Z", "x_MRN-0815_y", "Zebulon Quirkwood"):
        assert listed.holds_identifier(text), text
    for text in ("MRN-081", "quirk wood", "solid"):
        assert not listed.holds_identifier(text), text


def test_headers_of_original_files_are_harvested(tmp_path: Path) -> None:
    volume = Volume(np.zeros((1, 8, 8, 1), np.float32), Grid((8, 8, 1), np.eye(4)), Unit.HU, ("CT",))
    write_series(
        volume, SeriesIdentity(Uids(b"k", ("p",)), "HX-9981-Q", "Quirkwood^Zebulon"), tmp_path / "ct"
    )
    path = next((tmp_path / "ct").glob("*.dcm"))
    dataset = pydicom.dcmread(path)
    dataset.AccessionNumber = "ACC-55021"
    dataset.save_as(path)
    (tmp_path / "ct" / "note.txt").write_text("no DICOM")
    listed = read_identifiers(tmp_path)
    for text in ("Quirkwood", "HX-9981-Q", "seen as ACC-55021"):
        assert listed.holds_identifier(text), text
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_identifiers(tmp_path)


def test_a_list_that_lists_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    for name, words in (
        ("empty.txt", "names no identifier"),
        ("binary.txt", "cannot be read"),
        ("folder", "names no identifier"),
        ("none", "no such file"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_identifiers(tmp_path / name)


def test_lines_that_could_not_be_searched_for_are_named_by_number(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("Quirkwood\n\nflair\nFLAIR, Zebulon\nx\nflair-7\n")
    with pytest.raises(ConfigError, match="line 3, 5 of the list") as caught:
        read_identifiers(path)
    assert "flair" not in caught.value.line().lower()
    path.write_text("x\n" * 20)
    with pytest.raises(ConfigError, match=r"line 1, 2, 3, 4, 5, 6, 7, 8, \.\.\. of the list"):
        read_identifiers(path)
    path.write_text("FLAIR, Zebulon\nflair-7\nabnormality\n")
    listed = read_identifiers(path)
    for text in ("flair_abnormality", "zebulon", "flair, zebulon", "flair-7"):
        assert listed.holds_identifier(text), text
    assert not listed.holds_identifier("flair")
