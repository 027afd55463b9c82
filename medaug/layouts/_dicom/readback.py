"""What was written, read again and compared: images value by value, places to a thousandth of a millimetre, labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from medaug.core.case import Case
from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.geometry import Affine, Grid, lps_to_ras, to_ras
from medaug.io.annotations import Target, combine, target_of
from medaug.io.dicom import read_series
from medaug.io.headers import quiet_pydicom
from medaug.io.segmentation import read_seg
from medaug.layouts._dicom.placing import affine_of, frames_of, placed_as
from medaug.layouts._dicom.stored import store


def require_same_image(case: Case, channel: int, files: Sequence[Path]) -> Target:
    """Compare a series with the channel that it was made of.

    Returns:
        Where the series lies, for its segmentation.

    Raises:
        UnreadableError: If a value is another one than rounding to stored steps makes of it.
        GeometryError: If it lies elsewhere.
    """
    stored = store(frames_of(case.volume.image[channel], case.volume.grid), case.volume.unit)
    wanted = stored.coding.decode(stored.frames)
    found, target = _read(files, case)
    if found.shape != wanted.shape or not np.array_equal(found, wanted):
        raise UnreadableError("series holds other values than were to be written", where=case.case_id)
    return target


def require_same_labels(case: Case, target: Target, path: Path, classes: Sequence[str]) -> None:
    """Compare a segmentation with the label map that it was made of.

    Raises:
        DataError: If a voxel has another class, or the object does not fit its series.
    """
    seg = read_seg(path, target, where=case.case_id)
    labels = combine(seg.segments, classes, where=case.case_id).labels
    turn = to_ras(case.volume.grid)[1]
    if case.label_map is None or not np.array_equal(labels, turn.apply(case.label_map.labels)):
        raise LabelError("segmentation differs from the label map", where=case.case_id)


def _read(files: Sequence[Path], case: Case) -> tuple[np.ndarray, Target]:
    """(slice, row, column) intensities, and where they lie, which is where the case lies."""
    grid = case.volume.grid
    ras, turn = to_ras(grid)
    with quiet_pydicom():
        if dcmread(files[0], stop_before_pixels=True).SOPClassUID != SecondaryCaptureImageStorage:
            series = read_series(files, where=case.case_id)
            _require_place(series.volume.grid, ras, case)
            return frames_of(turn.invert(series.volume.image[0]), grid), target_of(series)
        slices = [dcmread(path) for path in files]
        frames = np.stack([_values(one) for one in slices])
    if case.volume.spacing_known:
        _require_place(Grid(placed_as(grid).shape, lps_to_ras(_affine(slices))), placed_as(grid), case)
    return frames, Target(
        grid=ras,
        frame_of_reference_uid=str(slices[0].get("FrameOfReferenceUID") or ""),
        instance_uids=tuple(str(one.SOPInstanceUID) for one in slices),
        affine_lps=affine_of(grid),
    )


def _require_place(found: Grid, wanted: Grid, case: Case) -> None:
    if not found.agrees_with(wanted):
        raise GeometryError("series lies elsewhere than its image", where=case.case_id)


def _values(one: Dataset) -> np.ndarray:
    slope, intercept = (
        float(one.get(word, start)) for word, start in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    return np.asarray(one.pixel_array.astype(np.float64) * slope + intercept, dtype=np.float32)


def _affine(slices: Sequence[Dataset]) -> Affine:
    """(column, row, slice) index to LPS+ mm."""
    first, last = slices[0], slices[-1]
    row, column = np.array(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    start, end = (np.array(one.ImagePositionPatient, dtype=np.float64) for one in (first, last))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * float(first.PixelSpacing[1]), column * float(first.PixelSpacing[0])
    alone = np.cross(row, column) * float(first.SpacingBetweenSlices)
    affine[:3, 2] = (end - start) / (len(slices) - 1) if len(slices) > 1 else alone
    affine[:3, 3] = start
    return affine
