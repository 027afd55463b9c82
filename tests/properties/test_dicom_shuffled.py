"""Numbers, names and thicknesses of DICOM files say nothing about where slices lie: shuffling them changes nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset

from medaug.io.dicom import SeriesVolume, open_series, read_stack
from medaug.io.headers import scan
from tests.unit.io.series import MR, stored_values, write_series

COUNT = 5
_TEXT = st.floats(-20, 20, allow_nan=False).map(lambda value: f"{value:.3f}")


def _read(folder: Path) -> SeriesVolume:
    (series,) = scan(sorted(path for path in folder.rglob("*") if path.is_file())).images
    (stack,) = open_series(series, tilt="refuse")
    return read_stack(stack)


def _write(
    folder: Path, numbers: list[int], names: list[int], thickness: list[str], order: list[int]
) -> SeriesVolume:
    """Two echoes of one series; the four lists are what must not matter."""
    for echo in (0, 1):

        def edit(dataset: FileDataset, number: int, echo: int = echo) -> None:
            place = number + COUNT * echo
            dataset.SOPInstanceUID = f"1.2.3.4.{place}"
            dataset.EchoTime = str(5 + echo)
            dataset.InstanceNumber = numbers[place]
            dataset.SliceThickness = dataset.SpacingBetweenSlices = thickness[place]
            dataset.SliceLocation = thickness[order[place]]

        files = write_series(folder / str(echo), stored_values(COUNT, seed=echo), edit, MR, uid="1.2.3")
        for number, path in enumerate(files):
            path.rename(folder / f"{names[number + COUNT * echo]:03d}")
    return _read(folder)


@settings(max_examples=15, deadline=None)
@given(
    st.permutations(range(2 * COUNT)),
    st.permutations(range(2 * COUNT)),
    st.lists(_TEXT, min_size=2 * COUNT, max_size=2 * COUNT),
    st.permutations(range(2 * COUNT)),
)
def test_shuffling_what_does_not_place_slices_changes_nothing(
    numbers: list[int], names: list[int], thickness: list[str], order: list[int]
) -> None:
    plain = list(range(2 * COUNT))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first = _write(Path(one), plain, plain, ["2.5"] * 2 * COUNT, plain)
        second = _write(Path(other), numbers, names, thickness, order)
    assert first.volume.channels == second.volume.channels == ("echo_5ms", "echo_6ms")
    assert np.array_equal(first.volume.image, second.volume.image)
    assert np.array_equal(first.volume.grid.affine, second.volume.grid.affine)
    assert first.instance_uids == second.instance_uids
