"""Files that are all there are told from those that are cut short."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medaug.io._dicom.border import quiet_pydicom
from medaug.io._dicom.whole import is_whole
from tests.unit.io.series import reread, stored_values, write_series
from tests.unit.io.structure_sets import item


def _is_whole(path: Path, content: bytes) -> bool:
    with quiet_pydicom():
        is_implicit, is_little = pydicom.dcmread(path, force=True).original_encoding
    return is_whole(content, is_implicit=bool(is_implicit), is_little=bool(is_little))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_every_cut_within_an_element_is_seen(tmp_path: Path, syntax: UID, undefined: bool) -> None:
    (path,) = write_series(tmp_path / "ct", stored_values(1))
    made = reread(path)
    inner = Sequence([item(CodeValue="a", CodeMeaning="bcd"), item(CodeValue="e")])
    made.RequestAttributesSequence = Sequence([item(ScheduledProtocolCodeSequence=inner)])
    outer = made.RequestAttributesSequence
    for part in (*inner, *outer):
        part.is_undefined_length_sequence_item = undefined
    outer[0]["ScheduledProtocolCodeSequence"].is_undefined_length = undefined
    made["RequestAttributesSequence"].is_undefined_length = undefined
    made.file_meta.TransferSyntaxUID = syntax
    made["PixelData"].VR = "OW"
    is_little = syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(
        path,
        made,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=is_little,
        enforce_file_format=True,
    )
    content = path.read_bytes()
    assert _is_whole(path, content)
    assert _is_whole(path, content + b"\0" * 6)
    assert not any(_is_whole(path, content[:-n]) for n in range(1, 80))
    if undefined:
        begun = content.index(b"\xff\xff\xff\xff")
        ends = range(begun + 4, content.rindex(b"\xfe\xff\xdd\xe0" if is_little else b"\xff\xfe\xe0\xdd"))
        assert len(ends) > 50
        assert not any(_is_whole(path, content[:n]) for n in ends)


def _theirs(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


@pytest.mark.parametrize("name", ["MR_small.dcm", "CT_small.dcm", "JPEG2000.dcm", "rtstruct.dcm"])
def test_files_of_others_are_whole(name: str) -> None:
    assert _is_whole(_theirs(name), _theirs(name).read_bytes())


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "rtplan_truncated.dcm"])
def test_files_that_others_cut_are_not(name: str) -> None:
    assert not _is_whole(_theirs(name), _theirs(name).read_bytes())
