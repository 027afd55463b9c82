"""Pictures that lie nowhere in the patient: each instance one image, as viewed, with the spacing that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset

from medaug.core.errors import DataError, UnreadableError
from medaug.core.findings import Code
from medaug.core.geometry import planar_grid, to_ras
from medaug.core.volume import Unit
from medaug.io.dicom import SeriesVolume, open_series, read_stack
from medaug.io.headers import scan
from tests.unit.io._dicom.pictures import Change, write_picture

_US, _CINE, _CR = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.1"
_MG = "1.2.840.10008.5.1.4.1.1.1.2"


def _bare(**tags: object) -> Change:
    """A header without a place in the patient, and with these tags."""

    def change(dataset: FileDataset) -> None:
        for name in (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "FrameOfReferenceUID",
        ):
            delattr(dataset, name)
        for name, value in tags.items():
            setattr(dataset, name, value)

    return change


def _region(units: int = 3, **deltas: float) -> Dataset:
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = units
    region.PhysicalDeltaX, region.PhysicalDeltaY = deltas.get("x", 0.02), deltas.get("y", 0.03)
    return region


def _stored(rows: int = 5, columns: int = 7) -> np.ndarray:
    return np.arange(rows * columns, dtype=np.uint8).reshape(rows, columns)


def _read(*paths: Path) -> list[SeriesVolume]:
    (series,) = scan(paths).images
    return [read_stack(stack) for stack in open_series(series, tilt="refuse")]


def test_a_picture_lies_as_it_is_viewed(tmp_path: Path) -> None:
    stored = _stored()
    (read,) = _read(write_picture(tmp_path / "a", stored, _bare(PixelSpacing=["0.3", "0.2"]), _US))
    assert read.volume.image.shape == (1, 7, 5, 1)
    # shown as medaug shows axial slices: anterior at the top, the patient's right at the left
    assert np.array_equal(read.volume.image[0, ::-1, ::-1, 0].T, stored)
    grid, turn = to_ras(planar_grid(5, 7, (0.3, 0.2)))
    assert grid.agrees_with(read.volume.grid)
    assert turn == read.turn
    assert (read.volume.unit, read.volume.channels, read.findings) == (Unit.ARBITRARY, ("US",), ())


@pytest.mark.parametrize(
    ("tags", "spacing_mm", "codes"),
    [
        ({"PixelSpacing": ["0.3", "0.2"]}, (0.3, 0.2), []),
        ({"PixelSpacing": ["0.3", "0.2"], "ImagerPixelSpacing": ["0.4", "0.4"]}, (0.3, 0.2), []),
        (
            {"PixelSpacing": ["0.4", "0.4"], "ImagerPixelSpacing": ["0.4", "0.4"]},
            (0.4, 0.4),
            ["spacing-at-detector"],
        ),
        (
            {
                "PixelSpacing": ["0.4", "0.4"],
                "ImagerPixelSpacing": ["0.4", "0.4"],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            (0.4, 0.4),
            [],
        ),
        ({"ImagerPixelSpacing": ["0.1", "0.1"]}, (0.1, 0.1), ["spacing-at-detector"]),
        ({"SequenceOfUltrasoundRegions": [_region()]}, (0.3, 0.2), []),
        ({"SequenceOfUltrasoundRegions": [_region(y=-0.03)]}, (0.3, 0.2), []),
        ({"SequenceOfUltrasoundRegions": [_region(units=4)]}, None, []),
        ({"SequenceOfUltrasoundRegions": [_region(x=0.0)]}, None, []),
        ({"SequenceOfUltrasoundRegions": [_region(), _region()]}, None, []),
        ({"PixelSpacing": ["0", "0.2"]}, None, []),
        ({}, None, []),
    ],
)
def test_spacing_comes_from_what_is_measured_or_is_nominal(
    tmp_path: Path, tags: dict[str, object], spacing_mm: tuple[float, float] | None, codes: list[str]
) -> None:
    (read,) = _read(write_picture(tmp_path / "a", _stored(), _bare(**tags), _CR))
    rows_mm, columns_mm = spacing_mm or (1.0, 1.0)
    assert read.volume.grid.spacing_mm == pytest.approx((columns_mm, rows_mm, 1.0))
    assert read.volume.spacing_known == (spacing_mm is not None)
    assert [finding.code for finding in read.findings] == codes


def test_each_instance_is_a_picture_of_its_own_and_copies_are_left_out(tmp_path: Path) -> None:
    small, large = _stored(), _stored(6, 9)
    write_picture(tmp_path / "a", large, _bare(SOPInstanceUID="1.2.9"), _MG)
    for name in ("b", "c"):
        write_picture(tmp_path / name, small, _bare(SOPInstanceUID="1.2.3"), _MG)
    (series,) = scan([tmp_path / name for name in "abc"]).images
    stacks = open_series(series, tilt="refuse")
    assert [stack.part for stack in stacks] == ["image_1", "image_2"]
    assert [stack.shape for stack in stacks] == [(7, 5, 1), (9, 6, 1)]
    assert [f.code for f in stacks[0].findings] == ["duplicate-instance"]


def test_the_pictures_of_a_cine_follow_each_other(tmp_path: Path) -> None:
    stored = np.random.default_rng(1).integers(0, 255, (4, 5, 7)).astype(np.uint8)
    (read,) = _read(write_picture(tmp_path / "a", stored, _bare(), _CINE))
    assert read.volume.channels == ("frame_1", "frame_2", "frame_3", "frame_4")
    assert np.array_equal(read.volume.image[:, ::-1, ::-1, 0].transpose(0, 2, 1), stored)


def test_a_colour_cine_becomes_luminance(tmp_path: Path) -> None:
    def change(dataset: FileDataset) -> None:
        _bare()(dataset)
        dataset.NumberOfFrames = 2
        dataset.PixelData = stored.tobytes()

    grey = np.random.default_rng(1).integers(0, 255, (2, 5, 7)).astype(np.uint8)
    stored = np.repeat(grey[..., None], 3, axis=-1)
    (read,) = _read(write_picture(tmp_path / "a", stored[0], change, _CINE))
    assert np.array_equal(read.volume.image[:, ::-1, ::-1, 0].transpose(0, 2, 1), grey)
    assert [f.code for f in read.findings] == ["colour-converted"]


def test_pictures_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a", _stored(), _bare(SOPInstanceUID="1.2.3"), _US)
    write_picture(tmp_path / "b", _stored() + 1, _bare(SOPInstanceUID="1.2.3"), _US)
    with pytest.raises(DataError) as caught:
        _read(tmp_path / "a", tmp_path / "b")
    assert caught.value.code == Code.CONFLICTING_INSTANCE
    write_picture(tmp_path / "b", _stored(), _bare(SOPInstanceUID="1.2.4", PatientID="PAT-1"), _US)
    with pytest.raises(DataError) as caught:
        _read(tmp_path / "a", tmp_path / "b")
    assert caught.value.code == Code.MIXED_PATIENTS
    write_picture(tmp_path / "b", _stored(), _bare(Rows=50), _US)
    with pytest.raises(UnreadableError) as unreadable:
        _read(tmp_path / "b")
    assert unreadable.value.code == Code.TRUNCATED_FILE


def test_slices_and_pictures_do_not_mix(tmp_path: Path) -> None:
    write_picture(tmp_path / "a", _stored(), _bare(SOPInstanceUID="1.2.3"), _US)
    write_picture(tmp_path / "b", _stored())
    with pytest.raises(DataError) as caught:
        _read(tmp_path / "a", tmp_path / "b")
    assert caught.value.code == Code.MIXED_MODALITIES
