"""What may not stand in a file that leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.layouts.dicom import SeriesIdentity, Uids, write_series
from medaug.privacy._deidentify.text import Scrubber
from medaug.privacy.inspection import Known, inspect_file


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
    assert inspect_file(slice_path, "a.dcm", Known(all_synthetic=False)) == ()
    del dataset.SyntheticData
    dataset.save_as(slice_path)
    assert "does not say" in inspect_file(slice_path, "a.dcm", Known(all_synthetic=False))[0]


def _add(tag: int, vr: str, value: object) -> Callable[[pydicom.Dataset], object]:
    return lambda dataset: dataset.add_new(tag, vr, value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_add(0x60003000, "OW", b"\0\1"), "carries an overlay or curve (6000,xxxx)"),
        (_add(0x50000010, "US", 1), "carries an overlay or curve (5000,xxxx)"),
        (_add(0x00420011, "OB", b"%PDF"), "carries bytes of no known kind in EncapsulatedDocument"),
        (_add(0x00081234, "LO", "John"), "carries an unknown element (0008,xxxx)"),
        (_add(0xFFFCFFFC, "OB", b"John"), "carries bytes of no known kind in DataSetTrailingPadding"),
        (_add(0x00080014, "UI", "1.2.3.4"), "carries a UID that medaug did not make in InstanceCreatorUID"),
        (_add(0x00204000, "LT", "see /home/anna/1.dcm"), "holds an absolute path in ImageComments"),
        (_add(0x00204000, "LT", "ask anna@example.org"), "holds an e-mail address in ImageComments"),
        (_add(0x00204000, "LT", "of Zebulon"), "holds a listed identifier in ImageComments"),
        (_add(0x00100010, "PN", "Zebulon^Q"), "holds a listed identifier in PatientName"),
        (
            lambda dataset: setattr(dataset, "PixelData", dataset.PixelData + b"Jo"),
            "carries bytes after its pixels",
        ),
        (
            lambda dataset: setattr(dataset.file_meta, "SourceApplicationEntityTitle", "Zebulon"),
            "listed identifier",
        ),
    ],
)
def test_odd_places_of_dicom(
    slice_path: Path, change: Callable[[pydicom.Dataset], object], words: str
) -> None:
    dataset = pydicom.dcmread(slice_path)
    change(dataset)
    dataset.save_as(slice_path)
    (found,) = inspect_file(slice_path, "a.dcm", Known(listed=Scrubber(names=("Zebulon",))))
    assert words in found


def test_odd_places_of_nifti(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(np.zeros((4, 4, 2), np.float32), np.eye(4))
    content = bytearray(image.to_bytes())
    path.write_bytes(content)
    assert inspect_file(path, "a.nii") == ()
    for place, words in ((32, "extents"), (36, "session_error"), (140, "glmax"), (349, "announced")):
        path.write_bytes(content[:place] + b"J" + content[place + 1 :])
        (found,) = inspect_file(path, "a.nii")
        assert words in found


def test_listed_identifiers_in_texts_and_names(tmp_path: Path) -> None:
    known = Known(listed=Scrubber(names=("Zebulon",), ids=("abcdef",)))
    for name, text in (
        ("a.json", '{"x": ["Zebulon"]}'),
        ("a.jsonl", '{"zebulon": 1}\n'),
        ("a.csv", "p1,ZEBULON\n"),
    ):
        (tmp_path / name).write_text(text)
        assert inspect_file(tmp_path / name, name, known) == (f"{name} holds a listed identifier",)
    (tmp_path / "zebulon.md").write_text("x")
    assert inspect_file(tmp_path / "zebulon.md", "zebulon.md", known) == (
        "the name of a file holds a listed identifier",
    )
    (tmp_path / "hash.json").write_text(json.dumps(["0123456789abcdef" * 4]))
    assert inspect_file(tmp_path / "hash.json", "hash.json", known) == ()


def test_a_key_that_stands_twice_hides_nothing(tmp_path: Path) -> None:
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_text('{"x": "/home/anna/x", "x": "fine"}')
        assert inspect_file(tmp_path / name, name) == (f"{name} cannot be read",)


def test_json_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert inspect_file(tmp_path / "a.json", "a.json") == ("a.json cannot be read",)
