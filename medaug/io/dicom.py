"""DICOM series as volumes: geometry from position and orientation alone, LPS+ turned to RAS+ once, here.

What is not supported, or does not hold together, is refused: a wrong volume is never returned. Headers are parsed by
:func:`medaug.io.headers.scan`; :func:`open_series` makes stacks of their frames, and :func:`read_stack` reads the pixels of
one straight into the volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from medaug.core.errors import DataError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import Affine, Grid, Reorientation, lps_to_ras, to_ras
from medaug.core.volume import Volume
from medaug.io._dicom.border import quiet_pydicom
from medaug.io._dicom.capture import open_captures
from medaug.io._dicom.frame import Frame
from medaug.io._dicom.geometry import Tilt
from medaug.io._dicom.kinds import frames_of, kind_of
from medaug.io._dicom.pixels import FrameReader
from medaug.io._dicom.planar import open_pictures
from medaug.io._dicom.stack import Stack, open_stacks, same_image
from medaug.io.headers import Series, read_header

__all__ = ["SeriesVolume", "Stack", "Tilt", "open_files", "open_series", "read_series", "read_stack"]

# Slices that are written together, so that a volume whose last axis counts slices is filled a cache line at a time
_SLAB, _ROWS = 16, 32


@final
@dataclass(frozen=True, slots=True, eq=False)
class SeriesVolume:
    """A stack that was read.

    Attributes:
        volume: One channel a volume of the stack, RAS+ order; HU for CT.
        modality: DICOM modality code.
        findings: What was odd; without case ids, which the caller knows.
        affine_lps: 4 x 4, (column, row, slice) index to LPS+ mm, for what refers to the series.
        turn: From (column, row, slice) order to that of ``volume``.
        frame_of_reference_uid: Of the series, or empty.
        instance_uids: SOPInstanceUIDs of the first volume in the order of stored slices.
        other_uids: Those of its other volumes.
    """

    volume: Volume
    modality: str
    findings: tuple[Finding, ...]
    affine_lps: Affine
    turn: Reorientation
    frame_of_reference_uid: str
    instance_uids: tuple[str, ...]
    other_uids: frozenset[str] = frozenset()


def read_series(files: Sequence[Path], *, where: str = "") -> SeriesVolume:
    """Read the files of one series that holds one stack; a tilted gantry is refused.

    Args:
        files: All files of the series, in any order.
        where: Pseudonymous id for error lines.

    Raises:
        UnreadableError: If a file is damaged, or of a kind that is not supported (named in the line).
        GeometryError: If slices are missing, uneven, tilted, mixed or at one position, or say not where they lie.
        DataError: If two patients or two frames of reference stand under one series, or the series holds several stacks.
        DependencyError: If the transfer syntax needs a plugin that is not installed.
    """
    try:
        stacks = open_files(files, tilt="refuse")
        if len(stacks) > 1:
            what = f"series holds {len(stacks)} stacks of slices"
            raise DataError(what, expected="one", hint="separate them first", code=Code.SEVERAL_VOLUMES)
    except DataError as error:
        raise error.located(where) from error
    return read_stack(stacks[0], where=where)


def open_files(files: Sequence[Path], *, tilt: Tilt) -> tuple[Stack, ...]:
    """The stacks of files that are said to form one series, whatever their headers say; raises as :func:`open_series`."""
    return open_series(_series(files), tilt=tilt)


def _series(files: Sequence[Path]) -> Series:
    headers = [read_header(path) for path in files]
    if any(header is None for header in headers):
        what = "a file of the series is no DICOM image"
        raise UnreadableError(what, hint="take it out of the series", code=Code.UNREADABLE)
    return Series(tuple(header for header in headers if header is not None))


def open_series(series: Series, *, tilt: Tilt, split_volumes: bool = False) -> tuple[Stack, ...]:
    """The stacks of a series, from its headers; pixels are compared only where two instances collide.

    Args:
        series: As :func:`medaug.io.headers.scan` found it.
        tilt: Resample a tilted gantry upright, with a finding, or refuse it.
        split_volumes: Volumes on one grid (echoes, b-values, time points) become stacks of their own, not channels of one.

    Raises:
        UnreadableError: If a file is damaged, or of a kind that is not supported.
        GeometryError: If slices are missing, uneven, mixed or at one position, or say not where they lie.
        DataError: If two patients, frames of reference or modalities stand under one series, or one instance has two faces.
        DependencyError: If the transfer syntax needs a plugin that is not installed.
    """
    with quiet_pydicom():
        stacks = _stacks(series, tilt)
    if any(header.says_synthetic for header in series.headers):
        stacks = tuple(replace(stack, findings=(*stack.findings, _says_synthetic())) for stack in stacks)
    if not split_volumes:
        return stacks
    return tuple(one for stack in stacks for one in stack.apart())


def _stacks(series: Series, tilt: Tilt) -> tuple[Stack, ...]:
    frames = [frame for header in series.headers for frame in frames_of(header)]
    if not frames:
        raise UnreadableError("series holds no image", code=Code.NO_PIXEL_DATA)
    _require_no_rivals(series)
    kinds = {kind_of(header) for header in series.headers}
    if len(kinds) > 1:
        what = f"{' and '.join(sorted(kinds))} stand under one series UID"
        raise DataError(what, hint="separate them first", code=Code.MIXED_MODALITIES)
    match kinds.pop():
        case "pictures":
            return open_pictures(frames)
        case "captures":
            return open_captures(frames, tilt=tilt)
        case "slices":
            return open_stacks(frames, tilt=tilt)


def _says_synthetic() -> Finding:
    message = "header says Synthetic Data (0008,001C) YES, and the case counts as a scan; say --origin synthetic, or --origin real to have it so"
    return finding(Code.SYNTHETIC_DATA, "flagged", message)


def _require_no_rivals(series: Series) -> None:
    """Refuse an instance whose UID another series claims for another image."""
    mine = {header.sop_instance_uid: header for header in series.headers}
    for rival in series.rivals:
        pairs = zip(frames_of(mine[rival.sop_instance_uid]), frames_of(rival), strict=False)
        if not all(same_image(one, other) for one, other in pairs):
            what = "an image of another series has the SOPInstanceUID of one of this series"
            hint = "find out which is the original and take the other away"
            raise DataError(what, hint=hint, code=Code.CONFLICTING_INSTANCE)


def read_stack(stack: Stack, *, where: str = "") -> SeriesVolume:
    """Read the pixels of a stack into a volume in RAS+ order.

    Values are stored value x RescaleSlope + RescaleIntercept of their own frame (PS3.3 C.7.6.16.2.9 and C.11.1),
    computed in float64 and rounded once to float32. Besides the volume, a few slices are held in memory. Where the gantry
    was tilted, pixels outside every slice take the lowest value of their volume.

    Args:
        stack: Of :func:`open_series`.
        where: Pseudonymous id for error lines.

    Raises:
        UnreadableError: If a file is cut short or damaged.
    """
    grid, turn = to_ras(Grid(stack.shape, lps_to_ras(stack.affine_lps)))
    image = np.empty((len(stack.volumes), *grid.shape), dtype=np.float32)
    reader = FrameReader()
    try:
        with quiet_pydicom():
            for channel, frames in zip(image, stack.volumes, strict=True):
                _fill(_stored_view(channel, turn), frames, stack, reader)
    except DataError as error:
        raise error.located(where) from error
    return SeriesVolume(
        volume=Volume(image, grid, stack.unit, stack.channels, stack.spacing_known),
        modality=stack.modality,
        findings=stack.findings,
        affine_lps=stack.affine_lps,
        turn=turn,
        frame_of_reference_uid=stack.frame_of_reference_uid,
        instance_uids=stack.instance_uids,
        other_uids=frozenset(frame.instance_uid for frames in stack.volumes[1:] for frame in frames),
    )


def _stored_view(image: np.ndarray, turn: Reorientation) -> np.ndarray:
    """(slice, row, column) view of a volume in RAS+ order, to be written to."""
    unflipped = np.flip(image, tuple(n for n, flip in enumerate(turn.flips) if flip))
    return np.transpose(unflipped, [turn.order.index(axis) for axis in (2, 1, 0)])


def _fill(into: np.ndarray, frames: Sequence[Frame], stack: Stack, reader: FrameReader) -> None:
    """Read the slices of a volume, a slab at a time."""
    rows, columns = frames[0].pixels.rows, frames[0].pixels.columns
    slab = np.empty((min(_SLAB, len(frames)), rows, columns), dtype=np.float32)
    lowest = np.inf
    for start in range(0, len(frames), _SLAB):
        part = frames[start : start + _SLAB]
        reader.fill(part, slab[: len(part)])
        if stack.shear is None:
            _write(slab[: len(part)], into[start : start + len(part)])
            continue
        lowest = min(lowest, float(slab[: len(part)].min()))
        for number, values in enumerate(slab[: len(part)], start=start):
            into[number] = np.nan
            stack.shear.place(values, number, into[number])
    if stack.shear is not None:
        for values in into:
            values[np.isnan(values)] = lowest


def _write(slab: np.ndarray, into: np.ndarray) -> None:
    """Copy slices in blocks of rows that stay within the cache whatever the order of the volume's axes."""
    for row in range(0, slab.shape[1], _ROWS):
        into[:, row : row + _ROWS] = slab[:, row : row + _ROWS]
