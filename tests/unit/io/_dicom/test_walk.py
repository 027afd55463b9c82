"""Headers walked in memory: the very elements that pydicom's own reader finds."""

from __future__ import annotations

import struct
from pathlib import Path

import pydicom.data
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from medaug.io._dicom.elements import Elements
from medaug.io._dicom.walk import MOST_ELEMENTS, PIXELS, Walk
from medaug.io.headers import quiet_pydicom

_IMPLICIT, _ODD = "1.2.840.10008.1.2", ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "")
_WANTED = frozenset(
    {0x00080005, 0x00080016, 0x00080018, 0x0020000E, 0x00100010, 0x00280010, 0x00081115, 0x52009230}
)
NAMES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "rtplan.dcm",
    "rtdose.dcm",
    "liver_1frame.dcm",
)


def _start(path: Path) -> tuple[int, str]:
    """Where the data set begins, and its transfer syntax."""
    with path.open("rb") as handle:
        handle.seek(132)
        meta = Elements(data_element_generator(handle, False, True, stop_when=_after_meta))
        return handle.tell(), meta.text(0x00020010)


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in PIXELS


@pytest.mark.parametrize("name", NAMES)
def test_the_same_elements_and_the_same_end_as_pydicom(name: str) -> None:
    path = Path(str(pydicom.data.get_testdata_file(name)))
    begun, syntax = _start(path)
    assert syntax not in _ODD
    is_implicit = syntax == _IMPLICIT
    with path.open("rb") as handle, quiet_pydicom():
        handle.seek(begun)
        wanted: list[BaseTag | int] = [*_WANTED]
        theirs = list(
            data_element_generator(handle, is_implicit, True, stop_when=_at_pixels, specific_tags=wanted)
        )
        end = handle.tell()
        handle.seek(begun)
        ours = list(Walk(handle, _WANTED, is_implicit=is_implicit).elements())
        assert [_told(one) for one in ours] == [_told(one) for one in theirs]
        assert (handle.tell(), len(ours) > 1) == (end, True)


def _told(element: object) -> object:
    return tuple(element) if isinstance(element, RawDataElement) else str(element)


def _walked(tmp_path: Path, content: bytes) -> tuple[list[object], int]:
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as handle:
        found: list[object] = list(Walk(handle, _WANTED, is_implicit=False).elements())
        return found, handle.tell()


def test_a_claimed_length_makes_no_room_and_is_told_by_where_the_file_ends(tmp_path: Path) -> None:
    content = struct.pack("<HH2sHI", 0x0010, 0x0010, b"UN", 0, 0xFFFFFFF0) + b"short"
    found, end = _walked(tmp_path, content)
    assert len(found) == 1
    assert end > len(content)


def test_a_file_of_empty_elements_is_given_up(tmp_path: Path) -> None:
    content = struct.pack("<HH2sH", 0x0009, 0x0010, b"LO", 0) * (MOST_ELEMENTS + 1)
    with pytest.raises(ValueError, match="too many elements"):
        _walked(tmp_path, content)


def test_an_empty_rest_is_an_end(tmp_path: Path) -> None:
    assert _walked(tmp_path, b"\x10\x00")[0] == []
