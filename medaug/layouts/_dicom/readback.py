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
from medaug.core.geometry import Affine, Grid, lps_to_ras
from medaug.core.volume import Volume
from medaug.io.annotations import Target, combine, target_of
from medaug.io.dicom import read_series
from medaug.io.headers import quiet_pydicom
from medaug.io.segmentation import read_seg
from medaug.layouts._dicom.placing import TO_DICOM, affine_of, frames_of
from medaug.layouts._dicom.stored import store


def require_same_image(case: Case, channel: int, files: Sequence[Path]) -> Target:
    """Compare a series with the channel that it was made of.

    Returns:
        Where the series lies, for its segmentation.

    Raises:
        UnreadableError: If a value is another one than rounding to stored steps makes of it.
        GeometryError: If it lies elsewhere.
    """
    stored = store(frames_of(case.volume.image[channel]), case.volume.unit)
    wanted = stored.coding.decode(stored.frames)
    found, target = _read(files, case)
    if found.shape != wanted.shape or not np.array_equal(found, wanted):
        raise UnreadableError("series holds other values than were to be written", where=case.case_id)
    if case.volume.spacing_known and not target.grid.agrees_with(case.volume.grid):
        raise GeometryError("series lies elsewhere than its image", where=case.case_id)
    return target


def require_same_labels(case: Case, target: Target, path: Path, classes: Sequence[str]) -> None:
    """Compare a segmentation with the label map that it was made of.

    Raises:
        DataError: If a voxel has another class, or the object does not fit its series.
    """
    seg = read_seg(path, target, where=case.case_id)
    labels = combine(seg.segments, classes, where=case.case_id).labels
    if case.label_map is None or not np.array_equal(labels, case.label_map.labels):
        raise LabelError("segmentation differs from the label map", where=case.case_id)


def _read(files: Sequence[Path], case: Case) -> tuple[np.ndarray, Target]:
    """(slice, row, column) intensities and where they lie."""
    with quiet_pydicom():
        if dcmread(files[0], stop_before_pixels=True).SOPClassUID != SecondaryCaptureImageStorage:
            series = read_series(files, where=case.case_id)
            return frames_of(series.volume.image[0]), target_of(series)
        slices = [dcmread(path) for path in files]
        frames = np.stack([_values(one) for one in slices])
    affine = _affine(slices, case.volume)
    return frames, Target(
        # the order of voxels is that of the case, whose slices these are
        grid=Grid(case.volume.grid.shape, _undone(affine, case.volume.grid.shape)),
        frame_of_reference_uid=str(slices[0].get("FrameOfReferenceUID") or ""),
        instance_uids=tuple(str(one.SOPInstanceUID) for one in slices),
        affine_lps=affine,
    )


def _values(one: Dataset) -> np.ndarray:
    slope, intercept = (
        float(one.get(word, start)) for word, start in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    return (one.pixel_array.astype(np.float64) * slope + intercept).astype(np.float32)


def _affine(slices: Sequence[Dataset], volume: Volume) -> Affine:
    """(column, row, slice) index to LPS+ mm; of no meaning where the images lie nowhere."""
    if not volume.spacing_known:
        return affine_of(Grid(volume.grid.shape, np.eye(4)))
    first, last = slices[0], slices[-1]
    row, column = np.array(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    start, end = (np.array(one.ImagePositionPatient, dtype=np.float64) for one in (first, last))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * float(first.PixelSpacing[1]), column * float(first.PixelSpacing[0])
    alone = np.cross(row, column) * float(first.SpacingBetweenSlices)
    affine[:3, 2] = (end - start) / (len(slices) - 1) if len(slices) > 1 else alone
    affine[:3, 3] = start
    return affine


def _undone(affine_lps: Affine, shape: tuple[int, int, int]) -> Affine:
    """(i, j, k) index to RAS+ mm, out of that of stored (column, row, slice)."""
    affine = lps_to_ras(affine_lps)
    for axis, flip in enumerate(TO_DICOM.flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
            affine[:3, axis] *= -1
    return affine
