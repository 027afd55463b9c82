"""Secondary captures: medaug's own give back their volume, others and what is left of a series never become one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.io.dicom import read_series
from medaug.layouts.dicom import SeriesIdentity, Uids, write_series

Change = Callable[[FileDataset], None]


def _volume(shape: tuple[int, int, int], unit: Unit = Unit.HU, *, known: bool = False) -> Volume:
    image = np.random.default_rng(4).integers(-900, 900, (1, *shape)).astype(np.float32)
    # the longest steps are along I, which tells nothing where they are nominal
    return Volume(image, Grid(shape, np.diag([3.0, 1.0, 1.0, 1.0])), unit, ("x",), known)


def _write(folder: Path, volume: Volume, modality: str = "OT") -> list[Path]:
    write_series(volume, SeriesIdentity(Uids(b"k", ("p",)), "p", "p^", modality), folder)
    # the order of names is not that of slices
    paths = sorted(folder.iterdir())
    return [path.rename(folder / f"IM{(7 * n) % 10}") for n, path in enumerate(paths)]


def _change(path: Path, change: Change) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


@pytest.mark.parametrize("shape", [(9, 8, 5), (9, 8, 1), (1, 9, 8), (9, 1, 8), (1, 1, 9)])
@pytest.mark.parametrize(
    ("modality", "unit"),
    [("CT", Unit.HU), ("CT", Unit.ARBITRARY), ("OT", Unit.HU), ("PT", Unit.SUV), ("XA", Unit.ARBITRARY)],
)
def test_slices_that_lie_nowhere_are_counted(
    tmp_path: Path, shape: tuple[int, int, int], modality: str, unit: Unit
) -> None:
    written = _volume(shape, unit)
    found = read_series(_write(tmp_path, written, modality))
    assert np.array_equal(found.volume.image, written.image)
    assert (found.volume.unit, found.modality) == (unit, modality)
    assert not found.volume.spacing_known
    assert found.volume.grid.spacing_mm == (1.0, 1.0, 1.0)
    assert Code.SPACING_NOMINAL in {note.code for note in found.findings}
    assert Code.SINGLE_SLICE not in {note.code for note in found.findings}


@pytest.mark.parametrize(("modality", "unit"), [("PT", Unit.SUV), ("OT", Unit.HU), ("DX", Unit.ARBITRARY)])
def test_slices_that_lie_somewhere_stay_there(tmp_path: Path, modality: str, unit: Unit) -> None:
    written = _volume((9, 8, 5), unit, known=True)
    found = read_series(_write(tmp_path, written, modality))
    assert np.array_equal(found.volume.image, written.image)
    assert found.volume.grid.agrees_with(written.grid)
    assert (found.volume.unit, found.volume.spacing_known, found.findings) == (unit, True, ())


def _without_number(dataset: FileDataset) -> None:
    del dataset.InstanceNumber


def _without_count(dataset: FileDataset) -> None:
    del dataset.ImagesInAcquisition


def _as_the_second(dataset: FileDataset) -> None:
    dataset.InstanceNumber = 2


def _narrow(dataset: FileDataset) -> None:
    dataset.Columns = dataset.Columns // 2
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_without_number, Code.MISSING_POSITION),
        (_without_count, Code.SEVERAL_VOLUMES),
        (_as_the_second, Code.CONFLICTING_POSITION),
        (_narrow, Code.MIXED_SIZE),
    ],
)
def test_a_slice_that_does_not_fit_is_refused(tmp_path: Path, change: Change, code: Code) -> None:
    paths = _write(tmp_path, _volume((9, 8, 5)))
    _change(paths[3], change)
    with pytest.raises(DataError) as caught:
        read_series(paths)
    assert caught.value.code == code


@pytest.mark.parametrize("lost", [0, 2, 4])
def test_a_slice_that_is_missing_is_noticed_wherever_it_lay(tmp_path: Path, lost: int) -> None:
    paths = _write(tmp_path, _volume((9, 8, 5)))
    with pytest.raises(DataError, match=r"4 of 5|1 slice is missing") as caught:
        read_series(paths[:lost] + paths[lost + 1 :])
    assert caught.value.code == Code.MISSING_SLICE


def _by_another(dataset: FileDataset) -> None:
    dataset.Manufacturer = "ACME"


def _with_frames(dataset: FileDataset) -> None:
    dataset.NumberOfFrames = 2
    dataset.PixelData += dataset.PixelData


@pytest.mark.parametrize("change", [_by_another, _with_frames])
@pytest.mark.parametrize("known", [True, False])
def test_captures_of_others_are_refused(tmp_path: Path, change: Change, known: bool) -> None:
    paths = _write(tmp_path, _volume((9, 8, 5), known=known))
    _change(paths[0], change)
    with pytest.raises(DataError, match="Secondary Capture") as caught:
        read_series(paths)
    assert caught.value.code == Code.UNSUPPORTED_CLASS
