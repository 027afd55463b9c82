"""Scans outside a dataset folder that wait to be labelled, each with the way back to its own grid and order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from medaug.core.errors import DataError, GeometryError, UnreadableError
from medaug.core.geometry import Grid, Reorientation, to_ras
from medaug.core.storage import sha256_if_readable
from medaug.core.volume import Image, Unit, Volume
from medaug.io.dicom import SeriesVolume, read_series
from medaug.io.headers import scan
from medaug.io.nifti import is_nifti, read_nifti, stem

_CHANNEL_END = re.compile(r"_\d{4}$")


@final
@dataclass(frozen=True, slots=True)
class ScanFiles:
    """The files of one scan: a NIfTI file a channel, or the instances of one DICOM series.

    Attributes:
        case_id: NIfTI: the file's name without its ending; DICOM: a running number, since UIDs identify.
        files: In the order of the channels; DICOM: in any order.
        is_dicom: Whether they are DICOM.
    """

    case_id: str
    files: tuple[Path, ...]
    is_dicom: bool

    @property
    def sha256(self) -> str:
        """Hashes of all files, joined."""
        return " ".join(sha256_if_readable(path) for path in self.files)


@final
@dataclass(frozen=True, slots=True, eq=False)
class ForeignScan:
    """A scan in memory, in RAS+ order.

    Attributes:
        volume: The image.
        stored_grid: The grid as the file holds it; for DICOM the RAS+ one.
        turn: From the file's order of axes to that of ``volume``.
        series: For DICOM: the series, to which a segmentation object will refer.
    """

    volume: Volume
    stored_grid: Grid
    turn: Reorientation
    series: SeriesVolume | None

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Labels or other values of ``volume`` on :attr:`stored_grid`, voxel for voxel under the file's own."""
        return self.turn.invert(values)


def find_scans(source: Path, channels: int) -> tuple[ScanFiles, ...]:
    """The scans of a NIfTI file, a folder of NIfTI files, or a folder (tree) of DICOM series.

    Files of several channels carry the channel's number at the end of their name, as nnU-Net wants:
    ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz``; for one channel that ending is optional.

    Raises:
        DataError: If there is no scan, or a case lacks a channel.
    """
    if source.is_file():
        return _nifti_scans((source,), channels) if is_nifti(source) else _dicom_scans((source,))
    if not source.is_dir():
        raise DataError(
            f"{source.name} not found", hint="name a dataset, a NIfTI file or folder, or a DICOM folder"
        )
    files = tuple(sorted(path for path in source.iterdir() if path.is_file() and is_nifti(path)))
    if files:
        return _nifti_scans(files, channels)
    return _dicom_scans(tuple(sorted(path for path in source.rglob("*") if path.is_file())))


def _nifti_scans(files: Sequence[Path], channels: int) -> tuple[ScanFiles, ...]:
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(_CHANNEL_END.sub("", stem(path)), []).append(path)
    for case_id, group in groups.items():
        if len(group) != channels:
            expected = f"{channels} (CASE_0000.nii.gz, CASE_0001.nii.gz, ...)" if channels > 1 else "1"
            raise DataError(f"{len(group)} channel files", where=case_id, expected=expected)
    return tuple(ScanFiles(case_id, tuple(group), is_dicom=False) for case_id, group in groups.items())


def _dicom_scans(files: Sequence[Path]) -> tuple[ScanFiles, ...]:
    found = scan(files).images
    if not found:
        hint = "name the folder of the images itself; only DICOM is looked for in its subfolders"
        raise DataError("no NIfTI file and no DICOM image series here", where="SRC", hint=hint)
    return tuple(
        ScanFiles(f"series_{number:03d}", series.files, is_dicom=True)
        for number, series in enumerate(found, start=1)
    )


def read_scan(files: ScanFiles, channels: tuple[str, ...], unit: Unit) -> ForeignScan:
    """Read a scan; NIfTI files do not say what their values mean, so the channels and unit are the caller's.

    Raises:
        UnreadableError: If a file is damaged, a value is not finite, or a channel has one value everywhere.
        GeometryError: If channels lie on different grids, or slices do not form a volume.
    """
    if files.is_dicom:
        series = read_series(files.files, where=files.case_id)
        _check_values(series.volume.image, files.case_id)
        same = Reorientation((0, 1, 2), (False, False, False))
        return ForeignScan(series.volume, series.volume.grid, same, series)
    images = [read_nifti(path, as_stored=True, where=files.case_id) for path in files.files]
    stored = images[0].grid
    if not all(image.grid.agrees_with(stored) for image in images[1:]):
        raise GeometryError("channels lie on different grids", where=files.case_id)
    grid, turn = to_ras(stored)
    image = turn.apply(np.stack([image.array.astype(np.float32) for image in images]))
    _check_values(image, files.case_id)
    known = all(image.spacing_known for image in images)
    return ForeignScan(Volume(image, grid, unit, channels, known), stored, turn, None)


def _check_values(image: Image, case_id: str) -> None:
    """Refuse what no scanner makes."""
    if not np.isfinite(image).all():
        hint = "replace them at the source"
        raise UnreadableError("image holds values that are not finite", where=case_id, hint=hint)
    if any(float(channel.min()) == float(channel.max()) for channel in image):
        raise UnreadableError("image has one value everywhere", where=case_id, hint="export it again")
