"""What goes in comes out, and what is damaged is refused."""

import io
import struct
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

from medaug.core.errors import UnreadableError
from medaug.privacy._deidentify.stream import Element, Syntax, packed, read_stream, write_elements, write_meta

FILES = ("CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "image_dfl.dcm", "MR_small_RLE.dcm", "rtplan.dcm", "UN_sequence.dcm", "priv_SQ.dcm")  # fmt: skip
EXPLICIT = Syntax(ExplicitVRLittleEndian, is_implicit=False, is_big=False)


def _content(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_files_are_the_same_for_another_reader_after_they_were_taken_apart(name: str) -> None:
    stream = read_stream(_content(name))
    meta = [element for element in stream.meta if element.tag != 0x00020000]
    body = write_elements([e for e in stream.elements if e.tag & 0xFFFF], stream.syntax)
    before = pydicom.dcmread(io.BytesIO(_content(name)), force=True)
    after = pydicom.dcmread(io.BytesIO(write_meta(meta) + packed(body, stream.syntax)))
    for element in before:
        if element.tag.element and element.VR != "UN":
            assert after[element.tag].value == element.value


@pytest.mark.parametrize("cut", range(1, 60, 7))
@pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm", "MR_small_RLE.dcm"])
def test_what_is_cut_short_is_refused(name: str, cut: int) -> None:
    with pytest.raises(UnreadableError):
        read_stream(_content(name)[:-cut])


@settings(max_examples=60, deadline=None)
@given(st.integers(132, 3000), st.binary(min_size=1, max_size=4))
def test_damage_is_refused_or_read_and_never_breaks(at: int, damage: bytes) -> None:
    content = bytearray(_content("rtplan.dcm"))
    content[at : at + len(damage)] = damage
    try:
        stream = read_stream(bytes(content))
    except UnreadableError:
        return
    assert stream.elements


@pytest.mark.parametrize(
    "content", [b"", b"DICM", b"hello world, this is no DICOM file at all" * 9, bytes(400)]
)
def test_what_is_no_dicom_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_stream(content)


@pytest.mark.parametrize("uid", [b"1.2.826.0.1.88888.7", b"Kowalczyk", b"1.2.840.10008.\xe9", b"1.2\\3.4"])
def test_a_transfer_syntax_that_is_none_of_the_standard_is_refused(uid: bytes) -> None:
    content = write_meta([Element(0x00020010, "UI", uid)]) + _content("CT_small.dcm")[-3000:]
    with pytest.raises(UnreadableError, match="unknown transfer syntax"):
        read_stream(content)


def test_endless_nesting_is_refused() -> None:
    head = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(UnreadableError, match="too deep"):
        read_stream(head * 5000)


def test_what_unpacks_to_more_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medaug.privacy._deidentify.stream._MOST_INFLATED", 1000)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = packer.compress(bytes(100_000)) + packer.flush()
    meta = write_meta([Element(0x00020010, "UI", b"1.2.840.10008.1.2.1.99")])
    with pytest.raises(UnreadableError, match="unpacks"):
        read_stream(meta + body)


def test_long_values_in_short_representations_are_written_as_unknown() -> None:
    written = write_elements([Element(0x00080104, "LO", b"x" * 70_000)], EXPLICIT)
    assert written[4:6] == b"UN"
    assert len(written) == 12 + 70_000
