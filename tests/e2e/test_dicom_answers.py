"""Real DICOM series against their staged answers: read exactly, or refused for a reason that is allowed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.io._dicom.pixels import read_frames
from medaug.io.dicom import SeriesVolume, open_series, read_stack
from medaug.io.headers import Scan, Series, scan

Answer = dict[str, Any]
# Its truth was written by a tool that left three of the four volumes empty
_HALF_TOLD = "philips_enhanced/dti/001"
# Why the staged series may be refused, in our codes
_REASONS = {
    "failing/gantrytilting/001": {Code.GANTRY_TILT},
    "failing/notavolume/001": {Code.NOT_A_VOLUME},
    "failing/sliceincrement/002": {Code.MISSING_SLICE},
    "03_missing_middle_slice": {Code.MISSING_SLICE},
    "12_missing_ipp_iop": {Code.MISSING_POSITION},
    "13_gantry_tilt_15deg": {Code.GANTRY_TILT},
}
# What the headers of the rest hold that a reader must say
_FOUND = {
    "04_exact_duplicates_same_uid": {Code.DUPLICATE_INSTANCE},
    "13_gantry_tilt_15deg": {Code.GANTRY_TILT},
    "25_one_slice_only": {Code.SINGLE_SLICE},
    "failing/gantrytilting/001": {Code.GANTRY_TILT},
    "siemens/fmri/001": {Code.MOSAIC_REVERSED},
}
# Read exactly as the answer says, with a contradiction in its header that the answer does not speak of
_TOLD_MORE = {"siemens/fmri/001"}


def _answers(data: Path, group: str) -> dict[str, Answer]:
    answers: dict[str, Answer] = json.loads((data / "dicom" / "answers.json").read_text())[group]
    return answers


def _scan(data: Path, group: str, name: str) -> Scan:
    return scan(sorted(path for path in (data / "dicom" / group / name).rglob("*") if path.is_file()))


def _series(data: Path, group: str, name: str) -> tuple[Series, ...]:
    return _scan(data, group, name).images


def _digest(values: np.ndarray) -> str:
    # adding 0 turns -0.0 into 0.0, as the answers have it
    return hashlib.sha256((np.ascontiguousarray(values, "<f4") + np.float32(0)).tobytes()).hexdigest()


def _canonical(read: SeriesVolume, truth: Answer) -> np.ndarray:
    """(I, J, K), or (I, J, K, volume) where the answer has a fourth axis."""
    return read.volume.image[0] if len(truth["shape"]) == 3 else np.moveaxis(read.volume.image, 0, -1)


def _differs(read: SeriesVolume, truth: Answer) -> str:
    image = _canonical(read, truth)
    if list(image.shape) != truth["shape"]:
        return f"shape {image.shape} against {truth['shape']}"
    if np.abs(np.array(truth["affine"]) - read.volume.grid.affine).max() > 1e-3:
        return "affine"
    if truth["dtype"] == "int":
        return "" if _digest(image) == truth["sha256"] else "voxels"
    figures = {"min": image.min(), "max": image.max(), "sum": image.sum(dtype=np.float64)}
    close = [np.isclose(float(value), truth[name], rtol=1e-5) for name, value in figures.items()]
    return "" if all(close) else "figures"


def _is_resampled(read: SeriesVolume) -> bool:
    return any(finding.code == Code.GANTRY_TILT for finding in read.findings)


def _read(series: Series) -> Iterator[SeriesVolume]:
    for stack in open_series(series, tilt="resample"):
        yield read_stack(stack)


def _outcome(series: Series) -> tuple[list[SeriesVolume], DataError | None]:
    try:
        return list(_read(series)), None
    except DataError as error:
        return [], error


def _check(data: Path, group: str, name: str, answer: Answer) -> None:
    left_out = _scan(data, group, name).not_dicom
    truths = answer.get("volumes") or ([answer["volume"]] if "volume" in answer else [])
    left = list(truths)
    for series in _series(data, group, name):
        volumes, refused = _outcome(series)
        if refused is not None:
            assert "refused" in answer["allowed"], f"{name}: {refused.line()}"
            assert refused.code in _REASONS[name], name
            left = []
        for read in volumes:
            codes = {finding.code for finding in read.findings}
            assert codes == _FOUND.get(name, set()), name
            odd = bool(left_out or (codes and name not in _TOLD_MORE))
            assert ("volume+finding" if odd else "volume") in answer["allowed"], name
            same = [truth for truth in left if not _differs(read, truth)]
            # a resampled volume is none of the input grid: its parts are held elsewhere
            assert same or not truths or _is_resampled(read), f"{name}: {_differs(read, left[0])}"
            left = [truth for truth in left if truth is not (same or left)[0]]
    assert not left, f"{name}: an answer was not found"


@pytest.mark.parametrize("group", ["series", "hostile"])
def test_every_series_is_read_as_its_answer_says_or_refused_as_it_allows(
    medaug_data: Path, group: str
) -> None:
    answers = _answers(medaug_data, group)
    assert len(answers) >= 10
    for name, answer in answers.items():
        if name != _HALF_TOLD:
            _check(medaug_data, group, name, answer)


def test_the_one_volume_that_a_staged_answer_holds_is_among_those_read(medaug_data: Path) -> None:
    (series,) = _series(medaug_data, "series", _HALF_TOLD)
    (read,) = _read(series)
    file = medaug_data / "dicom" / "series" / f"{_HALF_TOLD}_ground_truth.nii.gz"
    truth = nibabel.as_closest_canonical(nibabel.load(file))
    assert np.allclose(truth.affine, read.volume.grid.affine, atol=1e-3)
    volumes = np.moveaxis(np.asarray(truth.dataobj), -1, 0)
    held = [volume for volume in volumes if volume.any()]
    assert len(held) == 1
    assert sum(np.allclose(held[0], channel, rtol=1e-5) for channel in read.volume.image) == 1
    # the four are one image without weighting and three directions, none of them empty
    assert all(channel.any() for channel in read.volume.image)
    assert [name.partition("_")[0] for name in read.volume.channels] == ["b0", "b1300", "b1300", "b1300"]


def test_a_resampled_gantry_keeps_the_voxels_that_lie_upright(medaug_data: Path) -> None:
    (series,) = _series(medaug_data, "series", "failing/gantrytilting/001")
    (read,) = _read(series)
    truth = _answers(medaug_data, "series")["failing/gantrytilting/001"]["volume"]
    image = read.volume.image[0]
    assert image.shape[0] == truth["shape"][0]
    assert image.shape[2] == truth["shape"][2]
    # the shear is along J: the upright grid is longer there, and its extremes are those of the slices
    assert image.shape[1] > truth["shape"][1]
    assert (float(image.min()), float(image.max())) == (truth["min"], truth["max"])
    inverse = np.linalg.inv(read.volume.grid.affine)
    corner = inverse @ np.array(truth["affine"]) @ np.array([0, 0, 0, 1.0])
    assert np.abs(corner[:3] - np.rint(corner[:3])).max() < 1e-2


def test_all_encodings_of_one_image_give_one_volume(medaug_data: Path) -> None:
    answers = _answers(medaug_data, "encodings")["files"]
    digests = set()
    for name, answer in answers.items():
        (series,) = scan([medaug_data / "dicom" / "encodings" / "In" / name]).images
        (stack,) = open_series(series, tilt="refuse")
        digests.add(_digest(read_stack(stack).volume.image))
        # the answer is that of the whole picture, of which the slices are tiles
        tile = stack.volumes[0][0]
        rows, columns = answer["shape"]
        picture = replace(tile, tile=None, pixels=replace(tile.pixels, rows=rows, columns=columns))
        assert _digest(read_frames([picture])[0]) == answer["sha256"], name
    assert (len(digests), len(answers)) == (1, 9)
