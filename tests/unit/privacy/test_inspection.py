"""What may not stand in a file that leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.layouts.dicom import SeriesIdentity, Uids, write_series
from medaug.privacy.inspection import inspect_file


@pytest.mark.parametrize(
    "text",
    [
        "/home/anna/scans/1.dcm",
        "read from /data/in",
        r"C:\scans\1.dcm",
        r"\\server\share",
        "file:///x",
        "~/scans/1",
        "anna@example.org",
        "1.2.840.113619.2.55.3.1",
    ],
)
def test_text_that_says_too_much(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"cases": [{"message": text}]}))
    assert len(inspect_file(tmp_path / "a.json", "a.json")) == 1
    (tmp_path / "a.jsonl").write_text(json.dumps({text: 1}) + "\n")
    assert len(inspect_file(tmp_path / "a.jsonl", "a.jsonl")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "imagesTr/syn_0000.nii.gz",
        "https://creativecommons.org/licenses/by/4.0/",
        "mean and/or median",
        "2.25.3 mm, version 1.2.3",
        "0.8 / 2.5 mm",
        "HU (a.u.)",
    ],
)
def test_harmless_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps([text]))
    assert inspect_file(tmp_path / "a.json", "a.json") == ()


def test_escapes_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(r'["\u002fhome\u002fanna\u002fx"]')
    assert inspect_file(tmp_path / "a.json", "a.json") == ("a.json holds an absolute path",)


@pytest.mark.parametrize("name", ["a.txt", "a.exe", "model.pt", ".hidden"])
def test_unknown_kind_of_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert "of a kind" in inspect_file(tmp_path / name, name)[0]


def test_file_of_private_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.private.json").write_text("{}")
    assert "ties pseudonyms" in inspect_file(tmp_path / "sources.private.json", "x/sources.private.json")[0]


def test_damaged_files(tmp_path: Path) -> None:
    for name in ("a.json", "a.nii.gz"):
        (tmp_path / name).write_bytes(b"\x1f\x8b{")
        assert inspect_file(tmp_path / name, name) == (f"{name} cannot be read",)


@pytest.fixture
def slice_path(tmp_path: Path) -> Path:
    volume = Volume(np.zeros((1, 8, 8, 1), np.float32), Grid((8, 8, 1), np.eye(4)), Unit.HU, ("CT",))
    write_series(volume, SeriesIdentity(Uids(b"k", ("p",)), "p", "p^", is_synthetic=True), tmp_path / "ct")
    return tmp_path / "ct" / "0001.dcm"


def _edit(path: Path, dataset: pydicom.Dataset) -> tuple[str, ...]:
    dataset.save_as(path)
    return inspect_file(path, "a.dcm")


def test_own_dicom_is_clean(slice_path: Path) -> None:
    assert inspect_file(slice_path, "a.dcm") == ()


def test_dicom_that_carries_something(slice_path: Path) -> None:
    dataset = pydicom.dcmread(slice_path)
    dataset.ContributingEquipmentSequence[0].InstitutionName = "St. Elsewhere"
    assert _edit(slice_path, dataset) == ("a.dcm carries InstitutionName",)
    del dataset.ContributingEquipmentSequence[0].InstitutionName
    dataset.ContributingEquipmentSequence[0].add_new(0x00091001, "LO", "John Doe")
    assert _edit(slice_path, dataset) == ("a.dcm carries a private element (0009,xxxx)",)
    del dataset.ContributingEquipmentSequence[0][0x00091001]
    dataset.preamble = b"John Doe".ljust(128, b"\0")
    assert _edit(slice_path, dataset) == ("a.dcm carries bytes in its preamble",)
    dataset.preamble = b"\0" * 128
    dataset.SyntheticData = "NO"
    assert "not marked as synthetic" in _edit(slice_path, dataset)[0]
