"""Siemens mosaics: tiles become slices where the private headers put them, or the mosaic is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from medaug.core.errors import GeometryError
from medaug.core.findings import Code
from medaug.io.dicom import SeriesVolume, open_series, read_stack
from medaug.io.headers import scan
from tests.unit.io._dicom.pictures import Change, write_picture
from tests.unit.io.series import COLUMN, NORMAL, ORIGIN, ROW, SPACING

_ROWS, _COLUMNS, _COUNT, _BETWEEN_MM = 4, 6, 5, 3.0
Tags = dict[str, tuple[str, list[str]]]


def _csa(tags: Tags) -> bytes:
    """A CSA2 header (nipy.org/nibabel/dicom/siemens_csa.html)."""
    content = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, (kind, values) in tags.items():
        content += struct.pack(
            "<64si4s3i", name.encode(), len(values), kind.encode(), 0, max(len(values), 1), 77
        )
        for value in values or [""]:
            text = value.encode() + (b"\0" if value else b"")
            content += struct.pack("<4i", 0, len(text), 77, 0) + text + b"\0" * (-len(text) % 4)
    return content


def _image_header(count: int = _COUNT, normal: np.ndarray = NORMAL, first: int = 0) -> Tags:
    return {
        "NumberOfImagesInMosaic": ("US", [str(count)]),
        "SliceNormalVector": ("FD", [f"{value:.7f}" for value in normal]),
        "ProtocolSliceNumber": ("IS", [str(first)]),
        "B_value": ("IS", ["700"]),
    }


def _series_header(places: list[float]) -> Tags:
    """A protocol whose slice n is centred ``places[n]`` steps along the normal from the first tile."""
    middle = ORIGIN + ROW * SPACING[1] * _COLUMNS / 2 + COLUMN * SPACING[0] * _ROWS / 2
    lines = ["### ASCCONV BEGIN ###"]
    for number, place in enumerate(places):
        centre = middle + NORMAL * _BETWEEN_MM * place
        lines += [
            f"sSliceArray.asSlice[{number}].sPosition.d{axis}\t = \t{value:.9g}"
            for axis, value in zip(("Sag", "Cor", "Tra"), centre, strict=True)
        ]
    lines += [f"sSliceArray.lSize  = {len(places)}", "### ASCCONV END ###"]
    return {"Unused": ("SH", []), "MrPhoenixProtocol": ("UN", ["\n".join(lines)])}


def _write(path: Path, image: Tags | None, series: Tags | None = None, *, named: bool = True) -> np.ndarray:
    """A mosaic of 3 x 3 tiles, 5 of them used; returns (tile, row, column)."""
    tiles = np.random.default_rng(7).integers(1, 4000, (9, _ROWS, _COLUMNS)).astype("<u2")
    picture = tiles.reshape(3, 3, _ROWS, _COLUMNS).transpose(0, 2, 1, 3).reshape(3 * _ROWS, 3 * _COLUMNS)

    def change(dataset: FileDataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
        dataset.SpacingBetweenSlices = str(_BETWEEN_MM)
        # the big slice lies around the centre of the first tile
        corner = ORIGIN - ROW * SPACING[1] * _COLUMNS - COLUMN * SPACING[0] * _ROWS
        dataset.ImagePositionPatient = [round(float(value), 6) for value in corner]
        if named:
            dataset.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
        for element, tags in ((0x00291010, image), (0x00291020, series)):
            if tags is not None:
                dataset.add_new(element, "OB", _csa(tags))

    write_picture(path, picture, change)
    return tiles[:_COUNT]


def _read(*paths: Path) -> SeriesVolume:
    (series,) = scan(paths).images
    (stack,) = open_series(series, tilt="refuse")
    return read_stack(stack)


def _tile_at(read: SeriesVolume, place: int) -> np.ndarray:
    """(row, column) of the slice that lies ``place`` steps along the normal from the stated corner."""
    lps = [
        ORIGIN + NORMAL * _BETWEEN_MM * place + ROW * SPACING[1] * column + COLUMN * SPACING[0] * row
        for row in range(_ROWS)
        for column in range(_COLUMNS)
    ]
    index = np.array([read.volume.grid.to_index(point * [-1, -1, 1]) for point in lps])
    assert np.abs(index - np.rint(index)).max() < 1e-3
    i, j, k = np.rint(index).astype(int).T
    return np.asarray(read.volume.image[0][i, j, k].reshape(_ROWS, _COLUMNS))


@pytest.mark.parametrize("direction", [1, -1])
def test_tiles_follow_the_normal_of_the_image_header(tmp_path: Path, direction: int) -> None:
    tiles = _write(tmp_path / "a", _image_header(normal=NORMAL * direction))
    read = _read(tmp_path / "a")
    for number, tile in enumerate(tiles):
        assert np.array_equal(_tile_at(read, number * direction), tile)
    assert read.volume.grid.shape[2] == _COUNT
    assert (read.findings, read.volume.spacing_known) == ((), True)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("named", [True, False])
def test_the_protocol_alone_is_enough(tmp_path: Path, direction: int, named: bool) -> None:
    places = [direction * float(number) for number in range(_COUNT)]
    tiles = _write(tmp_path / "a", None, _series_header(places), named=named)
    read = _read(tmp_path / "a")
    for number, tile in enumerate(tiles):
        assert np.array_equal(_tile_at(read, number * direction), tile)
    assert read.findings == ()


def test_images_numbered_against_the_protocol_are_turned_and_told(tmp_path: Path) -> None:
    # the first tile lies where the last slice of the protocol does
    tiles = _write(tmp_path / "a", None, _series_header([-4.0, -3.0, -2.0, -1.0, 0.0]))
    read = _read(tmp_path / "a")
    for place, tile in enumerate(tiles[::-1]):
        assert np.array_equal(_tile_at(read, place), tile)
    assert [(f.code, f.severity) for f in read.findings] == [("mosaic-reversed", "flagged")]
    assert "12.0 mm" in read.findings[0].message


def test_mosaics_of_a_series_become_channels(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", _image_header())

    def second(dataset: FileDataset) -> None:
        dataset.SOPInstanceUID, dataset.AcquisitionNumber = "1.2.3.5", 2

    _again(tmp_path / "a", tmp_path / "b", second)
    read = _read(tmp_path / "a", tmp_path / "b")
    assert read.volume.image.shape[0] == 2
    assert np.array_equal(_tile_at(read, 3), first[3])


def _again(source: Path, target: Path, change: Change) -> None:
    dataset = pydicom.dcmread(source)
    change(dataset)
    dataset.save_as(target)


@pytest.mark.parametrize(
    ("image", "series"),
    [
        (None, None),
        (_image_header(count=0), None),
        (_image_header(count=12), None),
        (_image_header(normal=ROW), None),
        (_image_header(first=4), None),
        ({"NumberOfImagesInMosaic": ("US", ["5"])}, None),
        (None, _series_header([0.0, 1.0, 2.0, 3.5, 4.0])),
        (None, _series_header([0.0, 0.0, 0.0, 0.0, 0.0])),
    ],
)
def test_a_mosaic_that_is_not_described_is_refused(
    tmp_path: Path, image: Tags | None, series: Tags | None
) -> None:
    _write(tmp_path / "a", image, series)
    with pytest.raises(GeometryError, match="mosaic cannot be taken apart") as caught:
        _read(tmp_path / "a")
    assert caught.value.code == Code.MOSAIC_UNDESCRIBED


@pytest.mark.parametrize("content", [b"SV10\4\3\2\1\xff\xff\xff\xff", b"SV10", b"x" * 500])
def test_a_damaged_private_header_is_refused(tmp_path: Path, content: bytes) -> None:
    _write(tmp_path / "a", _image_header())

    def damage(dataset: FileDataset) -> None:
        dataset[0x00291010].value = content

    _again(tmp_path / "a", tmp_path / "a", damage)
    with pytest.raises(GeometryError) as caught:
        _read(tmp_path / "a")
    assert caught.value.code == Code.MOSAIC_UNDESCRIBED


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ImagePositionPatient", Code.MISSING_POSITION),
        ("ImageOrientationPatient", Code.MISSING_ORIENTATION),
        ("PixelSpacing", Code.MISSING_PIXEL_SPACING),
    ],
)
def test_a_mosaic_that_lies_nowhere_is_refused(tmp_path: Path, name: str, code: Code) -> None:
    _write(tmp_path / "a", _image_header())
    _again(tmp_path / "a", tmp_path / "a", lambda dataset: delattr(dataset, name))
    with pytest.raises(GeometryError) as caught:
        _read(tmp_path / "a")
    assert caught.value.code == code
