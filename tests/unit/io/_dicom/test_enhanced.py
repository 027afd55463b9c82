"""Enhanced multi-frame objects: every frame lies where its functional groups say, whatever the order in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import Tag
from pydicom.uid import RLELossless

from medaug.core.errors import GeometryError, MedaugError, UnreadableError
from medaug.core.findings import Code
from medaug.core.volume import Unit
from medaug.io._dicom import pixels
from medaug.io.dicom import SeriesVolume, Stack, open_series, read_stack
from medaug.io.headers import scan
from tests.unit.io._dicom.pictures import Change, compressed_as, write_picture
from tests.unit.io.series import COLUMN, NORMAL, ORIGIN, ROW, SPACING, STEP_MM

_MR, _CT, _PET = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.130"
Describe = Callable[[Dataset, int], None]


def _nothing(groups: Dataset, number: int) -> None:
    pass


def _unchanged(dataset: FileDataset) -> None:
    pass


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _stored(count: int = 4) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 4000, (count, 5, 6)).astype("<u2")


def _write(
    path: Path,
    stored: np.ndarray,
    places: Sequence[int],
    describe: Describe = _nothing,
    change: Change = _unchanged,
    sop_class: str = _MR,
) -> Path:
    """Frame n stands at place ``places[n]`` along the normal; orientation and spacing are shared."""

    def enhance(dataset: FileDataset) -> None:
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
            delattr(dataset, name)
        del dataset.RescaleSlope, dataset.RescaleIntercept
        shared = _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=[*map(float, ROW), *map(float, COLUMN)])],
            PixelMeasuresSequence=[_item(PixelSpacing=[str(v) for v in SPACING], SliceThickness="9")],
        )
        dataset.SharedFunctionalGroupsSequence = [shared]
        frames = []
        for number, place in enumerate(places):
            position = [round(float(v), 6) for v in ORIGIN + NORMAL * STEP_MM * place]
            frames.append(_item(PlanePositionSequence=[_item(ImagePositionPatient=position)]))
            describe(frames[-1], number)
        dataset.PerFrameFunctionalGroupsSequence = frames
        change(dataset)

    return write_picture(path, stored, enhance, sop_class)


def _open(path: Path) -> tuple[Stack, ...]:
    (series,) = scan([path]).images
    return open_series(series, tilt="refuse")


def _read(path: Path) -> SeriesVolume:
    (stack,) = _open(path)
    return read_stack(stack)


def _slices(read: SeriesVolume, channel: int = 0) -> np.ndarray:
    """(slice, row, column) as stored."""
    return read.turn.invert(read.volume.image[channel]).transpose(2, 1, 0)


def test_frames_lie_where_their_own_position_says(tmp_path: Path) -> None:
    stored = _stored()
    read = _read(_write(tmp_path / "a", stored, [2, 0, 3, 1]))
    assert np.array_equal(_slices(read), stored[[1, 3, 0, 2]])
    assert np.allclose(read.affine_lps[:3, 2], NORMAL * STEP_MM, atol=1e-5)
    assert np.allclose(read.affine_lps[:3, 3], ORIGIN, atol=1e-5)
    assert (read.modality, read.findings, read.volume.spacing_known) == ("MR", (), True)


def test_rescale_is_that_of_each_frame(tmp_path: Path) -> None:
    def describe(groups: Dataset, number: int) -> None:
        groups.PixelValueTransformationSequence = [
            _item(RescaleSlope=str(number + 0.5), RescaleIntercept=str(-number), RescaleType="US")
        ]

    stored = _stored(3)
    slices = _slices(_read(_write(tmp_path / "a", stored, [0, 1, 2], describe)))
    for number in range(3):
        expected = stored[number].astype(np.float64) * (number + 0.5) - number
        assert np.array_equal(slices[number], expected.astype(np.float32))


def test_enhanced_ct_is_in_hu(tmp_path: Path) -> None:
    def shared(dataset: FileDataset) -> None:
        values = _item(RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")
        dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [values]

    stored = _stored(3)
    read = _read(_write(tmp_path / "a", stored, [0, 1, 2], change=shared, sop_class=_CT))
    assert (read.volume.unit, read.modality) == (Unit.HU, "CT")
    assert np.array_equal(_slices(read), stored - 1024.0)


def _diffusion(groups: Dataset, number: int) -> None:
    groups.MRDiffusionSequence = [_item(DiffusionBValue=[0.0, 1000.0][number % 2])]


def _temporal(groups: Dataset, number: int) -> None:
    groups.FrameContentSequence = [_item(TemporalPositionIndex=number % 2 + 1)]


def _echo(groups: Dataset, number: int) -> None:
    groups.MREchoSequence = [_item(EffectiveEchoTime=[4.6, 9.2][number % 2])]


@pytest.mark.parametrize(
    ("describe", "channels"),
    [
        (_diffusion, ("b0", "b1000")),
        (_temporal, ("time_1", "time_2")),
        (_echo, ("echo_4.6ms", "echo_9.2ms")),
    ],
)
def test_volumes_on_one_grid_become_channels(
    tmp_path: Path, describe: Describe, channels: tuple[str, ...]
) -> None:
    stored = _stored(6)
    read = _read(_write(tmp_path / "a", stored, [0, 0, 1, 1, 2, 2], describe))
    assert read.volume.channels == channels
    assert np.array_equal(_slices(read, 0), stored[::2])
    assert np.array_equal(_slices(read, 1), stored[1::2])


def test_a_private_dimension_tells_volumes_apart_and_one_of_places_does_not(tmp_path: Path) -> None:
    def describe(groups: Dataset, number: int) -> None:
        groups.FrameContentSequence = [_item(DimensionIndexValues=[number // 2 + 1, number % 2 + 1])]

    def pointers(dataset: FileDataset) -> None:
        tags = (Tag("InStackPositionNumber"), Tag(0x2005, 0x1429))
        dataset.DimensionIndexSequence = [_item(DimensionIndexPointer=tag) for tag in tags]

    stored = _stored(6)
    path = _write(tmp_path / "a", stored, [0, 0, 1, 1, 2, 2], describe, pointers)
    (stack,) = _open(path)
    assert [trait.name for trait in stack.volumes[0][0].traits] == ["dimension_2"]
    read = read_stack(stack)
    assert np.array_equal(_slices(read, 1), stored[1::2])


def test_directions_tell_volumes_apart_where_a_b_value_is_wrong(tmp_path: Path) -> None:
    def describe(groups: Dataset, number: int) -> None:
        b_value = 900.0 if number == 3 else 1000.0
        direction = _item(DiffusionGradientOrientation=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]][number % 2])
        groups.MRDiffusionSequence = [
            _item(DiffusionBValue=b_value, DiffusionGradientDirectionSequence=[direction])
        ]

    stored = _stored(6)
    read = _read(_write(tmp_path / "a", stored, [0, 0, 1, 1, 2, 2], describe))
    assert np.array_equal(_slices(read, 0), stored[1::2])
    assert read.volume.image.shape[0] == 2


def test_stacks_apart_become_stacks_of_their_own(tmp_path: Path) -> None:
    def describe(groups: Dataset, number: int) -> None:
        groups.FrameContentSequence = [_item(StackID=str(number // 3 + 1))]
        if number >= 3:
            turned = [*map(float, COLUMN), *map(float, -ROW)]
            groups.PlaneOrientationSequence = [_item(ImageOrientationPatient=turned)]

    stacks = _open(_write(tmp_path / "a", _stored(6), [0, 1, 2, 0, 1, 2], describe))
    assert [stack.shape[2] for stack in stacks] == [3, 3]
    assert all(Code.SEVERAL_VOLUMES in {f.code for f in stack.findings} for stack in stacks)


def test_scouts_are_told_by_their_frame_type(tmp_path: Path) -> None:
    def describe(groups: Dataset, number: int) -> None:
        kind = "LOCALIZER" if number == 3 else "AXIAL"
        groups.MRImageFrameTypeSequence = [_item(FrameType=["ORIGINAL", "PRIMARY", kind, "NONE"])]
        if number == 3:
            turned = [*map(float, COLUMN), *map(float, NORMAL)]
            groups.PlaneOrientationSequence = [_item(ImageOrientationPatient=turned)]

    stacks = _open(_write(tmp_path / "a", _stored(4), [0, 1, 2, 0], describe))
    assert [stack.shape[2] for stack in stacks] == [3, 1]
    assert Code.SCOUT_SEPARATED in {f.code for f in stacks[0].findings}


def test_pet_in_becquerel_by_its_real_world_units_becomes_suv(tmp_path: Path) -> None:
    def pet(dataset: FileDataset) -> None:
        code = _item(CodeValue="Bq/ml", CodingSchemeDesignator="UCUM", CodeMeaning="Becquerels/milliliter")
        groups = dataset.SharedFunctionalGroupsSequence[0]
        groups.RealWorldValueMappingSequence = [_item(MeasurementUnitsCodeSequence=[code])]
        groups.PixelValueTransformationSequence = [
            _item(RescaleSlope="2", RescaleIntercept="0", RescaleType="US")
        ]
        dataset.AttenuationCorrected, dataset.DecayCorrected = "YES", "YES"
        dataset.DecayCorrectionDateTime, dataset.PatientWeight = "20200101110000", "70"
        dataset.RadiopharmaceuticalInformationSequence = [
            _item(
                RadionuclideTotalDose="370000000",
                RadionuclideHalfLife="6586.2",
                RadiopharmaceuticalStartDateTime="20200101100000",
            )
        ]

    stored = _stored(3)
    read = _read(_write(tmp_path / "a", stored, [0, 1, 2], change=pet, sop_class=_PET))
    assert (read.volume.unit, read.findings) == (Unit.SUV, ())
    assert np.allclose(_slices(read), stored * 2 * 2.763367e-4, rtol=1e-6)


def test_a_compressed_object_is_parsed_once_and_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    whole = pixels.pydicom.dcmread  # type: ignore[attr-defined]

    def counted(*arguments: object, **options: object) -> object:
        parsed.append(1)
        return whole(*arguments, **options)

    stored = _stored(40)
    path = _write(tmp_path / "a", stored, range(40), change=compressed_as(RLELossless))
    (stack,) = _open(path)
    monkeypatch.setattr(pixels.pydicom, "dcmread", counted)  # type: ignore[attr-defined]
    assert np.array_equal(_slices(read_stack(stack)), stored)
    assert len(parsed) == 1


def _lose_place(groups: Dataset, number: int) -> None:
    if number == 1:
        del groups.PlanePositionSequence


def _lose_frame(dataset: FileDataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:-1]


def _lose_bytes(dataset: FileDataset) -> None:
    dataset.PixelData = dataset.PixelData[:-20]


@pytest.mark.parametrize(
    ("describe", "change", "kind", "code"),
    [
        (_lose_place, _unchanged, GeometryError, Code.MISSING_POSITION),
        (_nothing, _lose_frame, UnreadableError, Code.BAD_PIXEL_FORMAT),
        (_nothing, _lose_bytes, UnreadableError, Code.TRUNCATED_FILE),
    ],
)
def test_what_does_not_hold_together_is_refused(
    tmp_path: Path,
    describe: Describe,
    change: Change,
    kind: type[MedaugError],
    code: Code,
) -> None:
    path = _write(tmp_path / "a", _stored(), range(4), describe, change)
    with pytest.raises(kind) as caught:
        _open(path)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.20", "Nuclear Medicine Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.12.1", "X-Ray Angiographic Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.7", "Secondary Capture Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.4", "MR Image Storage with 4 frames"),
    ],
)
def test_other_classes_are_refused_by_name(tmp_path: Path, sop_class: str, name: str) -> None:
    with pytest.raises(UnreadableError, match=name) as caught:
        _open(write_picture(tmp_path / "a", _stored(), sop_class=sop_class))
    assert caught.value.code == Code.UNSUPPORTED_CLASS
