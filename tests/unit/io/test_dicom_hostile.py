"""Series with one planted fault each: the right volume with the right findings, or a refusal with the right code."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, generate_uid

from medaug.core.catalogue import read_catalogue
from medaug.core.errors import DataError
from medaug.core.findings import Code, Finding
from medaug.io.dicom import SeriesVolume, open_series, read_stack
from medaug.io.headers import quiet_pydicom, scan
from tests.unit.io.series import CT, MR, NORMAL, ROW, STEP_MM, Edit, reread, stored_values, write_series

Plant = Callable[[Path], None]
STORED = stored_values(6)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(folder: Path, tilt: str = "resample") -> list[SeriesVolume]:
    """Every stack of every series in a folder."""
    found = scan(_files(folder))
    stacks = [
        stack
        for series in found.images
        for stack in open_series(series, tilt="refuse" if tilt == "refuse" else "resample")
    ]
    return [read_stack(stack) for stack in stacks]


def edited(edit: Edit | None, stored: np.ndarray = STORED, sop_class: str = CT) -> Plant:
    def plant(folder: Path) -> None:
        write_series(folder, stored, edit, sop_class, uid="1.2.826.0.1.3680043.8.498.1")

    return plant


def every(**values: object) -> Edit:
    def edit(dataset: FileDataset, _: int) -> None:
        with quiet_pydicom():
            for name, value in values.items():
                setattr(dataset, name, value)

    return edit


def on(number: int, **values: object) -> Edit:
    def edit(dataset: FileDataset, at: int) -> None:
        if at == number:
            every(**values)(dataset, at)

    return edit


def gone(*names: str, at: int | None = None) -> Edit:
    def edit(dataset: FileDataset, number: int) -> None:
        for name in names if at in (None, number) else ():
            delattr(dataset, name)

    return edit


def moved(dataset: FileDataset, shift_mm: np.ndarray) -> None:
    dataset.ImagePositionPatient = [
        round(float(a + b), 6) for a, b in zip(dataset.ImagePositionPatient, shift_mm, strict=True)
    ]


def shifted(number: int, shift_mm: np.ndarray) -> Edit:
    def edit(dataset: FileDataset, at: int) -> None:
        if at == number:
            moved(dataset, shift_mm)

    return edit


def shear(dataset: FileDataset, number: int) -> None:
    moved(dataset, ROW * 0.6 * number)


def curved(dataset: FileDataset, number: int) -> None:
    moved(dataset, ROW * 0.1 * number**2)


def lost(*numbers: int) -> Plant:
    def plant(folder: Path) -> None:
        files = write_series(folder, STORED, uid="1.2.3.1")
        for number in numbers:
            files[number].unlink()

    return plant


def copied(change: Callable[[Dataset], None] | None = None) -> Plant:
    def plant(folder: Path) -> None:
        files = write_series(folder, STORED, uid="1.2.3.1")
        dataset = reread(files[2])
        if change is not None:
            change(dataset)
        dataset.save_as(folder / "copy")

    return plant


def other_pixels(dataset: Dataset) -> None:
    dataset.PixelData = (STORED[2] + 1).astype("<i2").tobytes()


def other_uid(dataset: Dataset) -> None:
    dataset.SOPInstanceUID = "1.2.3.99"


def other_slice(dataset: Dataset) -> None:
    other_uid(dataset)
    other_pixels(dataset)


def cut(keep: int) -> Plant:
    def plant(folder: Path) -> None:
        files = write_series(folder, STORED, uid="1.2.3.1")
        files[5].write_bytes(files[5].read_bytes()[:keep])

    return plant


def encoded(syntax: str, *, preamble: bool = True) -> Plant:
    def plant(folder: Path) -> None:
        for path in write_series(folder, STORED, uid="1.2.3.1"):
            dataset = reread(path)
            plain = Dataset(dataset)
            plain.file_meta = dataset.file_meta
            plain.file_meta.TransferSyntaxUID = UID(syntax)
            if syntax.endswith(".2.2"):
                plain.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            plain.save_as(path, enforce_file_format=True)
            if not preamble:
                path.write_bytes(path.read_bytes()[132:])

    return plant


def volumes(count: int, edit: Callable[[FileDataset, int, int], None]) -> Plant:
    """Several volumes at the same places; ``edit(dataset, slice, volume)`` says what tells them apart."""

    def plant(folder: Path) -> None:
        for volume in range(count):

            def one(dataset: FileDataset, number: int, volume: int = volume) -> None:
                dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", str(number), str(volume)])
                dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                # numbers and names that tell nothing
                dataset.InstanceNumber = (number * 7 + volume * 5) % 11
                edit(dataset, number, volume)

            stored = STORED + 100 * volume
            write_series(folder / str(volume), stored, one, MR, uid="1.2.3.1")

    return plant


def scouted(folder: Path) -> None:
    write_series(folder / "a", STORED, uid="1.2.3.1")

    def scout(dataset: FileDataset, _: int) -> None:
        dataset.SOPInstanceUID = "1.2.3.50"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.FrameOfReferenceUID = "1.2.3.51"

    write_series(folder / "b", STORED[:1], scout, uid="1.2.3.1")


def two_grids(folder: Path) -> None:
    write_series(folder / "a", STORED, every(AcquisitionNumber=1), uid="1.2.3.1")

    def later(dataset: FileDataset, number: int) -> None:
        dataset.SOPInstanceUID = f"1.2.3.6{number}"
        dataset.AcquisitionNumber = 2

    write_series(folder / "b", STORED[:4] + 7, later, uid="1.2.3.1")


def under_two_series(folder: Path) -> None:
    for name, series in (("a", "1.2.3.1"), ("b", "1.2.3.2")):

        def same(dataset: FileDataset, number: int, name: str = name) -> None:
            dataset.SOPInstanceUID = f"1.2.3.7{number}"
            if name == "b":
                dataset.PixelData = (STORED[number] + 1).astype("<i2").tobytes()

        write_series(folder / name, STORED, same, uid=series)


def missing_of_an_echo(folder: Path) -> None:
    volumes(2, lambda dataset, number, volume: setattr(dataset, "EchoTime", 4.6 + volume))(folder)
    next(p for p in (folder / "1").iterdir() if p.name.endswith("5")).unlink()


REFUSED: dict[str, tuple[Plant, Code]] = {
    "middle slice missing": (lost(3), Code.MISSING_SLICE),
    "two slices missing": (lost(1, 3), Code.MISSING_SLICE),
    "slice out of step": (edited(shifted(2, NORMAL * 0.9)), Code.UNEVEN_SPACING),
    "slice beside the others": (edited(shifted(2, ROW * 0.5)), Code.CURVED_STACK),
    "curved": (edited(curved), Code.CURVED_STACK),
    "all at one place": (edited(every(ImagePositionPatient=[1, 2, 3])), Code.NOT_A_VOLUME),
    "two images at one place": (copied(other_slice), Code.CONFLICTING_POSITION),
    "two in one plane": (edited(shifted(2, NORMAL * STEP_MM + ROW * 40)), Code.CONFLICTING_POSITION),
    "one UID, other pixels": (copied(other_pixels), Code.CONFLICTING_INSTANCE),
    "one UID for all": (edited(every(SOPInstanceUID="1.2.3")), Code.CONFLICTING_INSTANCE),
    "one UID in two series": (under_two_series, Code.CONFLICTING_INSTANCE),
    "two patients": (edited(on(2, PatientID="PAT-4712")), Code.MIXED_PATIENTS),
    "two names": (edited(on(2, PatientName="Schulz^Karl")), Code.MIXED_PATIENTS),
    "two frames of reference": (
        edited(on(2, FrameOfReferenceUID="1.2.3")),
        Code.MIXED_FRAMES_OF_REFERENCE,
    ),
    "two classes": (edited(on(2, SOPClassUID=MR)), Code.MIXED_MODALITIES),
    "two units": (edited(on(2, RescaleType="US")), Code.MIXED_MODALITIES),
    "slice turned": (edited(on(2, ImageOrientationPatient=[1, 0, 0, 0, 1, 0])), Code.MIXED_ORIENTATION),
    "axes not perpendicular": (
        edited(every(ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0])),
        Code.BAD_ORIENTATION,
    ),
    "axes no unit vectors": (
        edited(every(ImageOrientationPatient=[2, 0, 0, 0, 2, 0])),
        Code.BAD_ORIENTATION,
    ),
    "axes not a number": (
        edited(every(ImageOrientationPatient=[1, 0, 0, 0, float("nan"), 0])),
        Code.BAD_ORIENTATION,
    ),
    "two spacings": (edited(on(2, PixelSpacing=["0.8", "0.7"])), Code.MIXED_SPACING),
    "negative spacing": (edited(every(PixelSpacing=["-0.8", "0.7"])), Code.BAD_PIXEL_SPACING),
    "rows differ": (
        edited(on(2, Rows=3, PixelData=STORED[2, :3].tobytes())),
        Code.MIXED_SIZE,
    ),
    "no position": (edited(gone("ImagePositionPatient", at=3)), Code.MISSING_POSITION),
    "position not a number": (
        edited(on(1, ImagePositionPatient=[0, 0, float("nan")])),
        Code.MISSING_POSITION,
    ),
    "no orientation": (edited(gone("ImageOrientationPatient", at=3)), Code.MISSING_ORIENTATION),
    "no spacing": (edited(gone("PixelSpacing", at=3)), Code.MISSING_PIXEL_SPACING),
    "no pixels": (edited(gone("PixelData", at=3)), Code.NO_PIXEL_DATA),
    "slope zero": (edited(on(2, RescaleSlope="0")), Code.ZERO_RESCALE_SLOPE),
    "slope not a number": (edited(on(2, RescaleSlope="nan")), Code.ZERO_RESCALE_SLOPE),
    "cut within the pixels": (cut(-10), Code.TRUNCATED_FILE),
    "cut within the header": (cut(-200), Code.TRUNCATED_FILE),
    "pixels too short": (edited(on(2, PixelData=b"\0\0" * 41)), Code.TRUNCATED_FILE),
    "pixels too long": (edited(on(2, PixelData=b"\0\0" * 84)), Code.BAD_PIXEL_FORMAT),
    "more bits stored than allocated": (edited(on(2, BitsStored=17)), Code.BAD_PIXEL_FORMAT),
    "colours": (
        edited(on(2, SamplesPerPixel=3, PhotometricInterpretation="RGB", PixelData=b"\0\0" * 126)),
        Code.BAD_PIXEL_FORMAT,
    ),
    "absurd size": (edited(every(Rows=65535, Columns=65535)), Code.TRUNCATED_FILE),
    "class that is not read": (
        edited(every(SOPClassUID="1.2.840.10008.5.1.4.1.1.7")),
        Code.UNSUPPORTED_CLASS,
    ),
    "an echo short of its last slice": (missing_of_an_echo, Code.MISSING_SLICE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_faults_are_refused_with_their_code(tmp_path: Path, name: str) -> None:
    plant, code = REFUSED[name]
    plant(tmp_path / "Meier")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert caught.value.code == code
    assert "refused" in read_catalogue()[code].severities
    line = caught.value.line()
    assert not any(word in line for word in ("Meier", "4711", "4712", "Schulz", "1.2.3", str(tmp_path)))


def test_a_tilted_gantry_is_refused_where_that_is_asked(tmp_path: Path) -> None:
    edited(shear)(tmp_path)
    with pytest.raises(DataError, match=r"tilted by 13\.5 degrees") as caught:
        read(tmp_path, tilt="refuse")
    assert caught.value.code == Code.GANTRY_TILT


def _echo(dataset: FileDataset, _: int, volume: int) -> None:
    dataset.EchoTime = [4.6, 9.2, 13.8][volume]


def _weighted(dataset: FileDataset, _: int, volume: int) -> None:
    dataset.DiffusionBValue = [0.0, 1000.0, 1000.0][volume]
    dataset.DiffusionGradientOrientation = [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]][volume]


def _siemens(dataset: FileDataset, _: int, volume: int) -> None:
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", str(50 * volume))


def _timed(dataset: FileDataset, number: int, volume: int) -> None:
    dataset.AcquisitionDate = "20200101"
    dataset.AcquisitionTime = f"1200{volume}{number}.5"


def _phased(dataset: FileDataset, number: int, volume: int) -> None:
    # every slice runs through all phases before the next begins
    dataset.TriggerTime = str(volume * 30 + number * 2)
    dataset.AcquisitionTime = f"12{number:02d}{volume:02d}"


def _complex(dataset: FileDataset, _: int, volume: int) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "MP"[volume % 2]]


def _echoes_of_both(dataset: FileDataset, number: int, volume: int) -> None:
    _complex(dataset, number, volume)
    dataset.EchoTime = [4.6, 9.2][volume // 2]


def _agent(dataset: FileDataset, _: int, volume: int) -> None:
    dataset.ContrastBolusAgent = ["", "Meier AG"][volume]


APART: dict[str, tuple[int, Callable[[FileDataset, int, int], None], tuple[str, ...]]] = {
    "echoes": (3, _echo, ("echo_4.6ms", "echo_9.2ms", "echo_13.8ms")),
    "gradients": (3, _weighted, ("b0_direction_1", "b1000_direction_2", "b1000_direction_3")),
    "private b-values": (2, _siemens, ("b0", "b50")),
    "clock": (3, _timed, ("time_1", "time_2", "time_3")),
    "phases": (3, _phased, ("phase_1", "phase_2", "phase_3")),
    "magnitude and phase": (2, _complex, ("type_M", "type_P")),
    "two traits": (
        4,
        _echoes_of_both,
        ("echo_4.6ms_type_M", "echo_4.6ms_type_P", "echo_9.2ms_type_M", "echo_9.2ms_type_P"),
    ),
    "free text is not shown": (2, _agent, ("contrast_1", "contrast_2")),
}


@pytest.mark.parametrize("name", APART)
def test_volumes_are_told_apart_by_what_differs(tmp_path: Path, name: str) -> None:
    count, edit, channels = APART[name]
    volumes(count, edit)(tmp_path)
    (found,) = read(tmp_path)
    assert found.volume.channels == channels
    assert found.findings == ()
    for volume, image in enumerate(found.volume.image):
        stored = found.turn.invert(image).transpose(2, 1, 0)
        assert np.array_equal(stored, STORED + 100.0 * volume - 1024)


def test_volumes_become_stacks_of_their_own_where_that_is_asked(tmp_path: Path) -> None:
    volumes(3, _echo)(tmp_path)
    (series,) = scan(_files(tmp_path)).images
    stacks = open_series(series, tilt="refuse", split_volumes=True)
    assert [(stack.part, stack.channels) for stack in stacks] == [
        ("echo_4.6ms", ("MR",)),
        ("echo_9.2ms", ("MR",)),
        ("echo_13.8ms", ("MR",)),
    ]
    assert len({uid for stack in stacks for uid in stack.instance_uids}) == 18


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_instance_numbers_tell_volumes_apart_only_where_they_count_them(
    tmp_path: Path,
    is_shuffled: bool,
) -> None:
    numbers = list(range(12))
    if is_shuffled:
        random.Random(4).shuffle(numbers)
    volumes(2, lambda d, number, volume: setattr(d, "InstanceNumber", numbers[number + 6 * volume]))(tmp_path)
    if is_shuffled:
        with pytest.raises(DataError) as caught:
            read(tmp_path)
        assert caught.value.code == Code.CONFLICTING_POSITION
    else:
        (found,) = read(tmp_path)
        assert found.volume.channels == ("volume_1", "volume_2")


ODD: dict[str, tuple[Plant, tuple[Code, ...]]] = {
    "clean": (edited(None), ()),
    "numbers swapped": (edited(lambda d, n: setattr(d, "InstanceNumber", (n * 5) % 6)), ()),
    "thickness lies": (edited(every(SliceThickness="77", SpacingBetweenSlices="-3")), ()),
    "big endian": (encoded("1.2.840.10008.1.2.2"), ()),
    "implicit": (encoded("1.2.840.10008.1.2"), ()),
    "deflated": (encoded("1.2.840.10008.1.2.1.99"), ()),
    "no preamble": (encoded("1.2.840.10008.1.2.1", preamble=False), ()),
    "exact copy": (copied(), (Code.DUPLICATE_INSTANCE,)),
    "exact copy under another UID": (copied(other_uid), (Code.DUPLICATE_INSTANCE,)),
    "no rescale": (edited(gone("RescaleSlope", "RescaleIntercept")), (Code.RESCALE_MISSING,)),
    "inverted display": (edited(every(PhotometricInterpretation="MONOCHROME1")), (Code.MONOCHROME1,)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_series_give_the_right_volume_and_say_what_is_odd(tmp_path: Path, name: str) -> None:
    plant, codes = ODD[name]
    plant(tmp_path)
    with quiet_pydicom():
        (found,) = read(tmp_path)
    assert tuple(finding.code for finding in found.findings) == codes
    shift = 0 if name == "no rescale" else 1024
    stored = found.turn.invert(found.volume.image[0]).transpose(2, 1, 0)
    assert np.array_equal(stored, STORED.astype(np.float32) - shift)
    assert _severities_are_known(found.findings)


def _severities_are_known(findings: tuple[Finding, ...]) -> bool:
    return all(finding.severity in read_catalogue()[Code(finding.code)].severities for finding in findings)


def test_scouts_are_cases_of_their_own(tmp_path: Path) -> None:
    scouted(tmp_path)
    slices, scout = read(tmp_path)
    assert (slices.volume.image.size, scout.volume.image.size) == (STORED.size, STORED[0].size)
    assert {f.code for f in slices.findings} == {Code.SCOUT_SEPARATED}
    assert {f.code for f in scout.findings} == {Code.SCOUT_SEPARATED, Code.SINGLE_SLICE}


def test_a_scout_that_makes_no_stack_is_told_and_left_out(tmp_path: Path) -> None:
    scouted(tmp_path)
    for path in (tmp_path / "b").iterdir():
        dataset = reread(path)
        del dataset.PixelSpacing
        dataset.save_as(path)
    (slices,) = read(tmp_path)
    assert "1 could not be stacked and was left out" in slices.findings[0].message


def test_volumes_on_two_grids_become_two_stacks(tmp_path: Path) -> None:
    two_grids(tmp_path)
    found = read(tmp_path)
    assert [one.volume.grid.shape[2] for one in found] == [6, 4]
    assert [[f.code for f in one.findings] for one in found] == [[Code.SEVERAL_VOLUMES]] * 2


def test_signs_and_slopes_are_those_of_each_slice(tmp_path: Path) -> None:
    def edit(dataset: FileDataset, number: int) -> None:
        dataset.PixelRepresentation = number % 2
        dataset.RescaleSlope, dataset.RescaleIntercept = str(0.5 + number), str(-number)

    stored = STORED - 900
    write_series(tmp_path, stored, edit)
    (found,) = read(tmp_path)
    seen = np.stack([values.astype("<u2" if n % 2 == 0 else "<i2") for n, values in enumerate(stored)])
    expected = np.stack([values * (0.5 + n) - n for n, values in enumerate(seen.astype(np.float64))])
    assert np.array_equal(
        found.turn.invert(found.volume.image[0]).transpose(2, 1, 0), expected.astype(np.float32)
    )


def test_bits_beside_the_value_are_no_part_of_it(tmp_path: Path) -> None:
    def edit(dataset: FileDataset, number: int) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
        dataset.PixelData = ((STORED[number].astype(np.uint16) & 0xFFF) | 0xA000).astype("<u2").tobytes()

    write_series(tmp_path, STORED, edit)
    (found,) = read(tmp_path)
    expected = STORED.astype(np.float32) - 1024
    assert np.array_equal(found.turn.invert(found.volume.image[0]).transpose(2, 1, 0), expected)


def test_lone_slices_have_a_nominal_thickness_where_none_is_named(tmp_path: Path) -> None:
    write_series(tmp_path, STORED[:1], gone("SliceThickness"))
    (found,) = read(tmp_path)
    assert found.volume.grid.spacing_mm[2] == pytest.approx(1)
    assert not found.volume.spacing_known
    assert [f.code for f in found.findings] == [Code.SINGLE_SLICE]
