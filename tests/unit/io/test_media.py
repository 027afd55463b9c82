"""DICOMDIR files, and what they name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from medaug.core.errors import UnreadableError
from medaug.ingest.walk import walk
from medaug.io import media
from medaug.io.media import Medium, is_dicomdir, read_medium


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """The medium that comes with pydicom: 31 images of two patients."""
    source = Path(str(get_testdata_file("DICOMDIR"))).parent
    (tmp_path / "disc").mkdir()
    shutil.copy(source / "DICOMDIR", tmp_path / "disc")
    for folder in ("77654033", "98892001", "98892003"):
        shutil.copytree(source / folder, tmp_path / "disc" / folder)
    return tmp_path / "disc" / "DICOMDIR"


def rename_references(dicomdir: Path, *names: str | list[str]) -> None:
    """Let the first records name other files."""
    dataset = dcmread(dicomdir)
    records = [r for r in dataset.DirectoryRecordSequence if "ReferencedFileID" in r]
    for record, name in zip(records, names, strict=False):
        record.add_new("ReferencedFileID", "LO", name)
    dataset.save_as(dicomdir)


def _read(dicomdir: Path) -> Medium:
    return read_medium(dicomdir, walk(dicomdir.parent).files)


def test_a_whole_medium(disc: Path) -> None:
    found = _read(disc)
    assert (len(found.files), found.missing, found.outside) == (31, 0, 0)
    assert found.files[0] == disc.parent / "77654033" / "CR1" / "6154"
    assert is_dicomdir(disc)
    assert not is_dicomdir(found.files[0])


def test_names_in_small_letters_and_with_versions_are_found(disc: Path) -> None:
    rename_references(disc, ["77654033", "CR1", "6154;1"])
    (disc.parent / "77654033" / "CR1").rename(disc.parent / "77654033" / "cr1")
    assert _read(disc).files[0] == disc.parent / "77654033" / "cr1" / "6154"


def test_no_reference_leads_out_of_the_folder(disc: Path, tmp_path: Path) -> None:
    first = disc.parent / "77654033" / "CR1" / "6154"
    first.rename(tmp_path / "secret")
    first.symlink_to(tmp_path / "secret")
    rename_references(
        disc,
        ["77654033", "CR1", "6154"],
        ["..", "secret"],
        "/etc/passwd",
        ["", "etc", "passwd"],
        "../secret",
        "GONE",
    )
    found = _read(disc)
    assert (len(found.files), found.missing, found.outside) == (25, 1, 5)
    assert all(path.resolve().is_relative_to(disc.parent) for path in found.files)


def test_a_damaged_or_huge_one_is_refused(disc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = disc.read_bytes()
    for content in (b"", b"junk" * 99, whole[:1000]):
        disc.write_bytes(content)
        with pytest.raises(UnreadableError) as caught:
            _read(disc)
        assert caught.value.code == "dicomdir-reference"
    disc.write_bytes(whole)
    monkeypatch.setattr(media, "_MOST_BYTES", 1000)
    with pytest.raises(UnreadableError, match="DICOMDIR"):
        _read(disc)
