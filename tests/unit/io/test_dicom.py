"""DICOM series: right volumes, or one clear refusal for each way a series can be wrong."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from medaug.core.errors import DataError, GeometryError, MedaugError, UnreadableError
from medaug.core.findings import Code
from medaug.core.volume import Unit
from medaug.io.dicom import SeriesVolume, read_series
from medaug.io.headers import quiet_pydicom
from tests.unit.io.series import (
    COLUMN,
    CT,
    MR,
    NORMAL,
    ORIGIN,
    ROW,
    SPACING,
    STEP_MM,
    Edit,
    stored_values,
    write_series,
)


def _value_at(read: SeriesVolume, slice_: int, row: int, column: int) -> float:
    """The value where DICOM says that pixel lies, looked up through the volume's own grid."""
    lps = ORIGIN + NORMAL * STEP_MM * slice_ + COLUMN * SPACING[0] * row + ROW * SPACING[1] * column
    index = read.volume.grid.to_index(lps * [-1, -1, 1])
    assert np.abs(index - np.rint(index)).max() < 1e-3
    i, j, k = (int(v) for v in np.rint(index))
    return float(read.volume.image[0, i, j, k])


def test_every_pixel_lands_where_position_and_orientation_say(tmp_path: Path) -> None:
    stored = stored_values()
    files = write_series(tmp_path, stored)
    read = read_series(files)
    assert read.volume.grid.axcodes == "RAS"
    assert read.volume.unit is Unit.HU
    for place in np.ndindex(*stored.shape):
        assert _value_at(read, *place) == float(stored[place]) - 1024
    assert read.findings == ()
    back = read.turn.invert(read.volume.image[0])
    assert np.array_equal(back, stored.transpose(2, 1, 0).astype(np.float32) - 1024)


@pytest.mark.parametrize(
    ("mark", "codes"), [("YES", [Code.SYNTHETIC_DATA]), ("yes ", [Code.SYNTHETIC_DATA]), ("NO", []), ("", [])]
)
def test_one_slice_that_says_it_is_synthetic_is_told(tmp_path: Path, mark: str, codes: list[Code]) -> None:
    def edit(dataset: FileDataset, number: int) -> None:
        if number == 2:
            dataset.SyntheticData = mark

    with quiet_pydicom():
        files = write_series(tmp_path, stored_values(), edit)
    read = read_series(files)
    assert [note.code for note in read.findings] == codes
    assert {note.severity for note in read.findings} <= {"flagged"}


def test_order_of_files_changes_nothing(tmp_path: Path) -> None:
    files = write_series(tmp_path, stored_values())
    first = read_series(files)
    random.Random(3).shuffle(files)
    again = read_series(files)
    assert first.volume.image.tobytes() == again.volume.image.tobytes()
    assert np.array_equal(first.volume.grid.affine, again.volume.grid.affine)
    assert first.instance_uids == again.instance_uids


def test_rescale_is_that_of_each_slice(tmp_path: Path) -> None:
    def edit(dataset: FileDataset, number: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = str(1 + number / 2), str(-number)

    stored = stored_values()
    read = read_series(write_series(tmp_path, stored, edit, sop_class=MR))
    assert _value_at(read, 3, 2, 4) == float(stored[3, 2, 4]) * 2.5 - 3
    assert read.volume.unit is Unit.ARBITRARY


@pytest.mark.parametrize(
    ("slope", "intercept"), [("1", "-1024"), ("9000", "0"), ("0.1", "-0.3"), ("3", "2147483647")]
)
def test_values_are_those_of_float64_rounded_once(tmp_path: Path, slope: str, intercept: str) -> None:
    def edit(dataset: FileDataset, number: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept

    stored = stored_values()
    read = read_series(write_series(tmp_path, stored, edit))
    expected = (stored.astype(np.float64) * float(slope) + float(intercept)).astype(np.float32)
    assert np.array_equal(read.turn.invert(read.volume.image[0]), expected.transpose(2, 1, 0))


def test_unsigned_values_and_odd_bit_depths(tmp_path: Path) -> None:
    def edit(dataset: FileDataset, number: int) -> None:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
        dataset.RescaleIntercept = "0"
        # what stands above bit 11 is no part of the value
        dataset.PixelData = (stored[number].astype(np.uint16) | 0xF000).tobytes()

    stored = stored_values()
    read = read_series(write_series(tmp_path, stored, edit))
    assert _value_at(read, 2, 1, 1) == float(stored[2, 1, 1])


def test_monochrome1_is_inverted_where_units_are_arbitrary_and_kept_in_hu(tmp_path: Path) -> None:
    def edit(dataset: FileDataset, number: int) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
        dataset.RescaleIntercept = "0"

    stored = stored_values()
    mr = read_series(write_series(tmp_path / "mr", stored, edit, sop_class=MR))
    ct = read_series(write_series(tmp_path / "ct", stored, edit))
    assert _value_at(mr, 1, 1, 1) == 4095 - float(stored[1, 1, 1])
    assert _value_at(ct, 1, 1, 1) == float(stored[1, 1, 1])
    assert [(f.code, f.severity) for f in (*mr.findings, *ct.findings)] == [
        ("monochrome1", "fixed"),
        ("monochrome1", "flagged"),
    ]


def test_one_slice_takes_its_thickness_from_the_header_and_says_so(tmp_path: Path) -> None:
    read = read_series(write_series(tmp_path, stored_values(1)))
    assert read.volume.grid.shape == (7, 6, 1)
    assert read.volume.grid.spacing_mm[2] == pytest.approx(9.9)
    assert [f.code for f in read.findings] == ["single-slice"]
    assert not read.volume.spacing_known


def test_exact_copies_are_dropped_with_a_finding(tmp_path: Path) -> None:
    files = write_series(tmp_path, stored_values())
    (tmp_path / "copy").write_bytes(files[2].read_bytes())
    read = read_series([*files, tmp_path / "copy"])
    assert read.volume.grid.shape[2] == 5
    assert [f.code for f in read.findings] == ["duplicate-instance"]


def test_ct_without_rescale_or_in_other_units_is_flagged(tmp_path: Path) -> None:
    def no_rescale(dataset: FileDataset, number: int) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept

    def other(dataset: FileDataset, number: int) -> None:
        dataset.RescaleType = "US"

    read = read_series(write_series(tmp_path / "a", stored_values(), no_rescale))
    assert [f.code for f in read.findings] == ["rescale-missing"]
    read = read_series(write_series(tmp_path / "b", stored_values(), other))
    assert [f.code for f in read.findings] == ["rescale-not-hu"]
    assert read.volume.unit is Unit.ARBITRARY


def _drop(name: str) -> Edit:
    return lambda dataset, number: delattr(dataset, name)


def _on_slice(number: int, **values: object) -> Edit:
    def edit(dataset: FileDataset, n: int) -> None:
        if n == number:
            for name, value in values.items():
                setattr(dataset, name, value)

    return edit


def _everywhere(**values: object) -> Edit:
    def edit(dataset: FileDataset, _: int) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)

    return edit


def _move(shift: np.ndarray, only: int) -> Edit:
    def edit(dataset: FileDataset, number: int) -> None:
        if number == only:
            dataset.ImagePositionPatient = [
                float(a + b) for a, b in zip(dataset.ImagePositionPatient, shift, strict=True)
            ]

    return edit


def _tilt(dataset: FileDataset, number: int) -> None:
    position = [float(v) for v in dataset.ImagePositionPatient]
    dataset.ImagePositionPatient = [position[0], *(np.array(position[1:]) + COLUMN[1:] * number)]


@pytest.mark.parametrize(
    ("edit", "kind", "says"),
    [
        (_drop("ImagePositionPatient"), GeometryError, "ImagePositionPatient is missing"),
        (_drop("ImageOrientationPatient"), GeometryError, "ImageOrientationPatient is missing"),
        (_drop("PixelSpacing"), GeometryError, "PixelSpacing is missing"),
        (_drop("PixelData"), UnreadableError, "no pixel data"),
        (_on_slice(2, PixelSpacing=["0.8", "0.7"]), GeometryError, "different pixel spacings"),
        (_on_slice(2, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]), GeometryError, "different orientations"),
        (_on_slice(2, PatientID="PAT-4712"), DataError, "several patients"),
        (_on_slice(2, PatientName="Schulz^Karl"), DataError, "several patients"),
        (_on_slice(2, FrameOfReferenceUID="1.2.3"), DataError, "several frames of reference"),
        (_on_slice(2, RescaleSlope="0"), UnreadableError, "rescale slope is 0"),
        (
            _on_slice(2, SamplesPerPixel=3, PhotometricInterpretation="RGB", PixelData=b"\0\0" * 126),
            UnreadableError,
            "colour",
        ),
        (_on_slice(2, PixelData=b"\0\0" * 41), UnreadableError, "cut short"),
        (_on_slice(2, SOPClassUID=CT.replace(".2", ".7")), UnreadableError, "not supported"),
        (_on_slice(2, NumberOfFrames=4), UnreadableError, "not supported"),
        (_move(NORMAL * 1.0, 2), GeometryError, "mm apart"),
        (_move(NORMAL * STEP_MM, 4), GeometryError, "1 slice is missing"),
        (_move(NORMAL * -STEP_MM, 4), GeometryError, "one slice position"),
        (_move(ROW * 0.5, 2), GeometryError, "straight line"),
        (_tilt, GeometryError, "tilted"),
        (_everywhere(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), GeometryError, "perpendicular"),
        (
            _everywhere(ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"]),
            GeometryError,
            "mosaic cannot be taken apart",
        ),
        (_everywhere(SOPInstanceUID="1.2.3"), DataError, "hold different images"),
    ],
)
def test_what_does_not_hold_together_is_refused(
    tmp_path: Path, edit: Edit, kind: type[MedaugError], says: str
) -> None:
    files = write_series(tmp_path / "Meier", stored_values(), edit)
    with pytest.raises(kind, match=says) as caught:
        read_series(files, where="case_0007")
    line = caught.value.line()
    assert line.startswith("case_0007: ")
    assert not any(secret in line for secret in ("Meier", "4711", "Schulz", str(tmp_path)))


@pytest.mark.parametrize("keep", [0, 100, 140, 400, 900, -3])
def test_files_cut_short_are_refused(tmp_path: Path, keep: int) -> None:
    files = write_series(tmp_path, stored_values())
    files[1].write_bytes(files[1].read_bytes()[:keep])
    with pytest.raises(DataError):
        read_series(files)


def test_junk_and_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UnreadableError, match="no DICOM"):
        read_series([tmp_path / "notes.txt"])
    with pytest.raises(UnreadableError, match="no image"):
        read_series([])
