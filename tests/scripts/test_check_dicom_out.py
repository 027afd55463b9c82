"""The judge of written DICOM finds nothing in what is valid, and says what is wrong elsewhere."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from scripts import check_dicom_out
from scripts.check_dicom_out import main, missing
from tests.unit.layouts._dicom.studies import write_study

needs_tools = pytest.mark.skipif(
    bool(missing()), reason="dciodvfy and dcentvfy are not installed (Debian: dicom3tools)"
)


@needs_tools
def test_a_valid_folder_passes_and_a_fault_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(tmp_path / "a", "CT")
    write_study(tmp_path / "b", "MR", segmentation="LABELMAP")
    assert main([str(tmp_path)]) == 0
    assert "13 files, 0 errors, 0 contradictions; 1 label map" in capsys.readouterr().out
    path = study.images / "0002.dcm"
    header = pydicom.dcmread(path)
    del header.KVP
    header.StudyID = "9"
    header.save_as(path)
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "KVP" in said
    assert "a/images/0002.dcm" in said
    assert "StudyID" in said


@needs_tools
def test_a_folder_without_files_is_not_valid(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1


def test_missing_tools_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_dicom_out, "TOOLS", ("no-such-tool",))
    assert main([str(tmp_path)]) == 3
    assert "no-such-tool" in capsys.readouterr().err
