"""Frames to values: every encoding gives the stored values, and what cannot be right is refused by its code."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medaug.core.errors import DependencyError, UnreadableError
from medaug.core.findings import Code
from medaug.io._dicom import claims, pixels
from medaug.io._dicom.claims import check_frames
from medaug.io._dicom.frame import Frame, Rescale
from medaug.io._dicom.pixels import read_frames
from tests.unit.io._dicom.pictures import Change, compressed_as, encoded_as, frames_of, write_picture

# 12 x 10 uint16, (index * 33) % 4096, reversible high-throughput JPEG 2000
_HTJ2K = base64.b85decode(
    "|4;u>04YEK0000A0000C00000000000000A0000C0000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&kdTm&kdTm"
    "wh=~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000aR34TlfVEbNAv{;bN~Rr024p}695|i0ta*e67~a!bO68r5x@Ww04s9<xw!yBGyu"
    "Q=5<mbIKq%sL0L*1BbHGx8{<Z+X04pE>6~I6M00O|+FW2CUcL0(~k|ase^bkfu0qnQ{|Je"
)


def _stored(dtype: str = "<i2", count: int = 3) -> np.ndarray:
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -2000), min(limits.max, 2000)
    return np.random.default_rng(5).integers(low, high, (count, 40, 48)).astype(dtype)


def _syntax(uid: str) -> Change:
    def change(dataset: FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = UID(uid)

    return change


def _bits(stored: int, high: int | None = None, *, signed: bool) -> Change:
    def change(dataset: FileDataset) -> None:
        dataset.BitsStored, dataset.HighBit = stored, stored - 1 if high is None else high
        dataset.PixelRepresentation = int(signed)

    return change


@pytest.mark.parametrize("dtype", ["<u1", "<i1", "<u2", "<i2", "<u4", "<i4"])
def test_uncompressed_frames_in_any_order(tmp_path: Path, dtype: str) -> None:
    stored = _stored(dtype)
    frames = frames_of(write_picture(tmp_path / "a", stored))
    offset = (tmp_path / "a").read_bytes().index(stored.tobytes())
    mapped = [replace(frame, pixel_offset=offset) for frame in frames]
    for chosen in (frames, mapped):
        values = read_frames([chosen[2], chosen[0], chosen[0]])
        assert values.dtype == np.float32
        assert np.array_equal(values, stored[[2, 0, 0]].astype(np.float32))


def test_implicit_big_endian_and_deflated(tmp_path: Path) -> None:
    stored = _stored()
    for number, uid in enumerate((ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)):
        path = write_picture(tmp_path / str(number), stored, _syntax(uid))
        assert np.array_equal(read_frames(frames_of(path)), stored)
    big = write_picture(tmp_path / "big", stored.astype(">i2"), _syntax(ExplicitVRBigEndian))
    assert np.array_equal(read_frames(frames_of(big)), stored)


def test_big_endian_bytes_in_words_are_put_in_order(tmp_path: Path) -> None:
    def words(dataset: FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.PixelData = stored[0].tobytes()
        dataset["PixelData"].VR = "OW"

    stored = _stored("<u1", 1)
    values = read_frames(frames_of(write_picture(tmp_path / "a", stored[0], words)))
    assert np.array_equal(values[0].reshape(-1, 2), stored[0].reshape(-1, 2)[:, ::-1])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<i2"])
def test_lossless_compression_gives_the_stored_values(tmp_path: Path, syntax: str, dtype: str) -> None:
    stored = _stored(dtype)
    frames = frames_of(write_picture(tmp_path / "a", stored, compressed_as(syntax)))
    assert np.array_equal(read_frames(frames), stored)
    assert np.array_equal(read_frames([frames[1]]), stored[1:2])


def test_high_throughput_jpeg_2000(tmp_path: Path) -> None:
    stored = ((np.arange(120) * 33) % 4096).astype("<u2").reshape(12, 10)
    path = write_picture(tmp_path / "a", stored, encoded_as(HTJ2KLossless, _HTJ2K))
    assert np.array_equal(read_frames(frames_of(path))[0], stored)


@pytest.mark.parametrize(
    ("stored", "high", "signed", "expected"),
    [
        (12, 11, False, 0x0ABC),
        (12, 11, True, 0x0ABC - 0x1000),
        (12, 15, False, 0xFAB),
        (12, 15, True, 0xFAB - 0x1000),
        (10, 11, False, 0xABC >> 2),
        (16, 15, False, 0xFABC),
        (16, 15, True, 0xFABC - 0x10000),
    ],
)
def test_bits_that_are_none_of_the_value_are_left_out(
    tmp_path: Path, stored: int, high: int, signed: bool, expected: int
) -> None:
    raw = np.full((2, 2), 0xFABC, dtype="<u2")
    frames = frames_of(write_picture(tmp_path / "a", raw, _bits(stored, high, signed=signed)))
    offset = (tmp_path / "a").read_bytes().index(raw.tobytes())
    for frame in (frames[0], replace(frames[0], pixel_offset=offset)):
        assert (read_frames([frame]) == expected).all()


@pytest.mark.parametrize(
    ("slope", "intercept"), [(1.0, -1024.0), (9000.0, 0.0), (0.1, -0.3), (3.0, 2147483647.0)]
)
def test_values_are_those_of_float64_rounded_once(tmp_path: Path, slope: float, intercept: float) -> None:
    stored = _stored()
    frames = frames_of(write_picture(tmp_path / "a", stored), Rescale(slope, intercept, True, ""))
    expected = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    assert np.array_equal(read_frames(frames), expected)


def test_tiles_of_a_mosaic_are_cut_from_one_picture(tmp_path: Path) -> None:
    stored = np.arange(6 * 8, dtype="<u2").reshape(6, 8)
    (whole,) = frames_of(write_picture(tmp_path / "a", stored))
    small = replace(whole.pixels, rows=3, columns=4)
    tiles = [replace(whole, tile=(number, 2, 2), pixels=small) for number in (3, 0, 1)]
    values = read_frames(tiles)
    assert np.array_equal(values[0], stored[3:, 4:])
    assert np.array_equal(values[1], stored[:3, :4])
    assert np.array_equal(values[2], stored[:3, 4:])


def test_white_stored_as_zero_is_turned_round_unless_it_is_measured(tmp_path: Path) -> None:
    def change(dataset: FileDataset) -> None:
        dataset.PhotometricInterpretation, dataset.BitsStored, dataset.HighBit = "MONOCHROME1", 12, 11

    stored = _stored("<u2") % 4096
    path = write_picture(tmp_path / "a", stored, change)
    assert np.array_equal(read_frames(frames_of(path)), 4095 - stored.astype(np.float32))
    assert np.array_equal(read_frames(frames_of(path, modality="PT")), stored)


def test_grey_in_colour_keeps_its_value_and_colour_becomes_luminance(tmp_path: Path) -> None:
    grey = np.repeat(np.arange(48, dtype=np.uint8).reshape(6, 8, 1) * 5, 3, axis=2)
    assert np.array_equal(
        read_frames(frames_of(write_picture(tmp_path / "a", grey)))[0], grey[..., 0].astype(np.float32)
    )
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0], red[..., 2] = 200, 100

    def planes(dataset: FileDataset) -> None:
        dataset.PlanarConfiguration = 1
        dataset.PixelData = red.transpose(2, 0, 1).tobytes()

    for number, change in enumerate((None, planes)):
        values = read_frames(frames_of(write_picture(tmp_path / str(number), red, change)))
        assert values == pytest.approx(np.full((1, 2, 2), 0.299 * 200 + 0.114 * 100))


@pytest.mark.parametrize(
    "name",
    ["SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm", "SC_ybr_full_422_uncompressed.dcm"],
)
def test_colour_encodings_of_one_picture_give_one_luminance(name: str) -> None:
    reference, other = (Path(str(get_testdata_file(n))) for n in ("SC_rgb_gdcm_KY.dcm", name))
    expected, values = read_frames(frames_of(reference)), read_frames(frames_of(other))
    assert np.abs(values - expected).mean() < 1.5
    assert expected.std() > 10


def test_palette_is_looked_up(tmp_path: Path) -> None:
    def change(dataset: FileDataset) -> None:
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for colour, values in (("Red", [0, 10, 200]), ("Green", [0, 10, 100]), ("Blue", [0, 10, 50])):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [3, 0, 16])
            table = np.array(values, "<u2").tobytes()
            setattr(dataset, f"{colour}PaletteColorLookupTableData", table)

    stored = np.array([[0, 1], [2, 1]], np.uint8)
    values = read_frames(frames_of(write_picture(tmp_path / "a", stored, change)))
    assert values[0] == pytest.approx(np.array([[0, 10], [0.299 * 200 + 0.587 * 100 + 0.114 * 50, 10]]))


def test_modality_table_is_applied(tmp_path: Path) -> None:
    def change(dataset: FileDataset) -> None:
        item = Dataset()
        item.LUTDescriptor, item.ModalityLUTType = [4, 10, 16], "OD"
        item.LUTData = [100, 300, 900, 2700]
        item["LUTData"].VR = "US"
        dataset.ModalityLUTSequence = [item]
        del dataset.RescaleSlope, dataset.RescaleIntercept

    stored = np.array([[9, 10, 11], [12, 13, 14]], "<u2")
    (frame,) = frames_of(write_picture(tmp_path / "a", stored, change))
    assert (frame.rescale.kind, frame.rescale.is_stated) == ("OD", True)
    assert np.array_equal(read_frames([frame])[0], [[100, 100, 300], [900, 2700, 2700]])


def test_floats_are_read(tmp_path: Path) -> None:
    stored = np.random.default_rng(1).normal(size=(4, 6)).astype("<f4")

    def change(dataset: FileDataset) -> None:
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        dataset.FloatPixelData = stored.tobytes()

    path = write_picture(tmp_path / "a", stored.view("<u4"), change)
    assert np.array_equal(read_frames(frames_of(path))[0], stored)


def _change_header(**tags: object) -> Change:
    def change(dataset: FileDataset) -> None:
        for name, value in tags.items():
            setattr(dataset, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_change_header(Rows=0), Code.BAD_PIXEL_FORMAT),
        (_change_header(BitsAllocated=1, BitsStored=1, HighBit=0), Code.BAD_PIXEL_FORMAT),
        (_change_header(BitsStored=17, HighBit=16), Code.BAD_PIXEL_FORMAT),
        (_change_header(SamplesPerPixel=3), Code.BAD_PIXEL_FORMAT),
        (_change_header(PhotometricInterpretation="HSV"), Code.BAD_PIXEL_FORMAT),
        (_change_header(Rows=65535, Columns=65535), Code.ABSURD_SIZE),
        (_change_header(NumberOfFrames="10"), Code.TRUNCATED_FILE),
        (_change_header(Rows=600), Code.TRUNCATED_FILE),
        (_change_header(RescaleSlope="0"), Code.ZERO_RESCALE_SLOPE),
    ],
)
def test_headers_that_cannot_be_right_are_refused(tmp_path: Path, change: Change, code: Code) -> None:
    path = write_picture(tmp_path / "a", _stored(), change)
    with pytest.raises(UnreadableError) as caught:
        check_frames(frames_of(path))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("JPEG2000-embedded-sequence-delimiter.dcm", Code.BAD_PIXEL_FORMAT),
        ("JPGExtended.dcm", Code.UNSUPPORTED_TRANSFER_SYNTAX),
        ("MR_truncated.dcm", Code.TRUNCATED_FILE),
    ],
)
def test_damaged_and_unsupported_files_are_refused_by_code(name: str, code: Code) -> None:
    with pytest.raises(UnreadableError) as caught:
        read_frames(frames_of(Path(str(get_testdata_file(name)))))
    assert caught.value.code == code


def _compressed(path: Path, syntax: str = JPEG2000Lossless) -> Frame:
    return frames_of(write_picture(path, _stored("<u2", 1)[0], compressed_as(syntax)))[0]


def test_a_stream_of_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, syntax in (("a", JPEG2000Lossless), ("b", JPEGLSLossless)):
        frame = _compressed(tmp_path / name, syntax)
        monkeypatch.setattr(pixels, "_decoder", lambda _: pytest.fail("decoded"))
        with pytest.raises(UnreadableError) as caught:
            read_frames([replace(frame, pixels=replace(frame.pixels, rows=7))])
        assert caught.value.code == Code.BAD_PIXEL_FORMAT
        monkeypatch.undo()


def test_compressed_frames_that_are_not_there_or_damaged_are_refused(tmp_path: Path) -> None:
    frame = _compressed(tmp_path / "a")
    cases = [[replace(frame, number=3, frames_in_file=4)]]
    for syntax in (RLELossless, JPEGLSLossless):
        path = tmp_path / syntax
        _compressed(path, syntax)
        dataset = pydicom.dcmread(path)
        encoded_as(syntax, next(iter(pydicom.encaps.generate_frames(dataset.PixelData)))[:40])(dataset)
        dataset.save_as(path)
        cases.append(frames_of(path))
    for frames in cases:
        with pytest.raises(UnreadableError) as caught:
            read_frames(frames)
        assert caught.value.code == Code.TRUNCATED_FILE


def _stripped(encoded: bytes) -> bytes:
    return encoded.rstrip(b"\0")[:-2]


def _ended_early(encoded: bytes) -> bytes:
    half = len(encoded) // 2
    return encoded[:half] + b"\xff\xd9" + encoded[half:]


def _strange(encoded: bytes) -> bytes:
    half = len(encoded) // 2
    return encoded[:half] + b"\xff\x81" + encoded[half:]


@pytest.mark.parametrize("damage", [_stripped, _ended_early, _strange])
@pytest.mark.parametrize(
    "name", ["SC_rgb_jpeg_gdcm.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_jls_lossy_line.dcm"]
)
def test_scans_that_decoders_would_fill_up_are_refused(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    dataset = pydicom.dcmread(Path(str(get_testdata_file(name))))
    dataset.Modality = "OT"
    (encoded,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    for number, frame in enumerate((encoded, damage(encoded))):
        encoded_as(dataset.file_meta.TransferSyntaxUID, frame)(dataset)
        dataset.save_as(tmp_path / str(number))
    assert read_frames(frames_of(tmp_path / "0")).std() > 10
    with pytest.raises(UnreadableError) as caught:
        read_frames(frames_of(tmp_path / "1"))
    assert caught.value.code == Code.TRUNCATED_FILE


def test_more_than_any_compression_can_hold_is_absurd(tmp_path: Path) -> None:
    frame = _compressed(tmp_path / "a")
    with pytest.raises(UnreadableError) as caught:
        check_frames([replace(frame, frames_in_file=10_000_000)])
    assert caught.value.code == Code.ABSURD_SIZE


def test_a_deflated_file_is_unpacked_only_as_far_as_it_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bomb(dataset: FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.PixelData = stored.tobytes() + bytes(1 << 22)

    stored = _stored("<u2", 1)[0]
    frames = frames_of(write_picture(tmp_path / "a", stored, bomb))
    lengths = []
    whole = zlib.decompressobj

    class Watched:
        def __init__(self, window: int) -> None:
            self._inner = whole(window)

        def decompress(self, content: bytes, most: int) -> bytes:
            unpacked = self._inner.decompress(content, most)
            lengths.append(len(unpacked))
            return unpacked

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    monkeypatch.setattr(pixels, "_HEADER_ROOM", 10_000)
    assert np.array_equal(read_frames(frames)[0], stored)
    assert lengths == [stored.nbytes + 10_000]


@pytest.mark.parametrize("uid", ["", "1.2.3", "1.2.840.10008.1.2.4.100"])
def test_other_transfer_syntaxes_are_refused_by_name(tmp_path: Path, uid: str) -> None:
    (frame,) = frames_of(write_picture(tmp_path / "a", _stored("<u2", 1)[0]))
    with pytest.raises(UnreadableError) as caught:
        check_frames([replace(frame, pixels=replace(frame.pixels, transfer_syntax=uid))])
    assert caught.value.code == Code.UNSUPPORTED_TRANSFER_SYNTAX
    assert "1.2" not in caught.value.line()


def test_a_missing_plugin_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        is_available = False

    frame = _compressed(tmp_path / "a")
    monkeypatch.setattr(claims, "get_decoder", lambda _: Absent())
    with pytest.raises(DependencyError, match=r"medaug\[dicom\]") as caught:
        check_frames([frame])
    assert caught.value.code == Code.DEPENDENCY_MISSING


@pytest.mark.parametrize("length", [1, 5000])
def test_a_file_without_pixels_is_refused(tmp_path: Path, length: int) -> None:
    def change(dataset: FileDataset) -> None:
        del dataset.PixelData
        dataset.ImageComments = "x" * length

    path = write_picture(tmp_path / "a", _stored("<u2", 1)[0], change)
    with pytest.raises(UnreadableError) as caught:
        read_frames(frames_of(path))
    assert caught.value.code == Code.NO_PIXEL_DATA


@pytest.mark.skipif("MEDAUG_DATA" not in os.environ, reason="MEDAUG_DATA names no folder of real data")
def test_every_encoding_of_one_real_slice_gives_one_digest() -> None:
    root = Path(os.environ["MEDAUG_DATA"]) / "dicom"
    answers = json.loads((root / "answers.json").read_text())["encodings"]["files"]
    found = {}
    for name in answers:
        (values,) = read_frames(frames_of(root / "encodings" / "In" / name))
        found[name] = hashlib.sha256(values.astype("<i4").tobytes()).hexdigest()
    assert found == {name: answer["sha256_stored_i4"] for name, answer in answers.items()}
