"""DICOM segmentations (SEG) on the grid of their source image."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from medaug.core.errors import DependencyError, GeometryError, LabelError, UnreadableError
from medaug.core.volume import Mask
from medaug.io.dicom import SeriesVolume
from medaug.io.headers import PYDICOM_ERRORS, quiet_pydicom

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

_FRACTION_THRESHOLD = 0.5
# highdicom keeps the index of frames in a small database in memory
_SEG_ERRORS = (*PYDICOM_ERRORS, sqlite3.Error)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One segment on the grid of its source image.

    Attributes:
        name: SegmentLabel, stripped.
        mask: (I, J, K) bool, RAS+ order, the grid of the source volume.
    """

    name: str
    mask: Mask


@final
@dataclass(frozen=True, slots=True, eq=False)
class SegmentationObject:
    """What one SEG file holds."""

    segments: tuple[Segment, ...]
    sha256: str


def read_seg(path: Path, source: SeriesVolume, *, where: str = "") -> SegmentationObject:
    """Put every segment of a SEG object on the grid of its source series, without resampling.

    BINARY, FRACTIONAL (0.5 and above) and LABELMAP objects (PS3.3 C.8.20); frames that the object leaves out are
    empty. Overlapping segments stay apart here; :func:`combine` refuses them.

    Args:
        path: The SEG file.
        source: The series it was drawn on.
        where: Pseudonymous id for error lines.

    Raises:
        DependencyError: If highdicom is not installed.
        UnreadableError: If the file is damaged or no SEG object.
        GeometryError: If the object lies in another frame of reference, or its voxels do not fall on those of the source.
    """
    try:
        import highdicom
    except ImportError as error:
        hint = "install it with `pip install medaug[dicom]`"
        raise DependencyError("reading DICOM SEG needs highdicom", where=where, hint=hint) from error
    try:
        content = path.read_bytes()
        with quiet_pydicom():
            seg = highdicom.seg.segread(path)
            frame = str(seg.get("FrameOfReferenceUID") or "")
            names = {
                n: str(seg.get_segment_description(n).segment_label).strip()
                for n in seg.segment_numbers
                if n > 0
            }
    except _SEG_ERRORS as error:
        raise UnreadableError("DICOM SEG is cut short or damaged", where=where) from error
    if frame and source.frame_of_reference_uid and frame != source.frame_of_reference_uid:
        raise GeometryError("segmentation lies in another frame of reference than the image", where=where)
    segments = [Segment(name, _on_source(seg, number, source, where)) for number, name in names.items()]
    return SegmentationObject(tuple(segments), hashlib.sha256(content).hexdigest())


def _on_source(seg: Segmentation, number: int, source: SeriesVolume, where: str) -> Mask:
    from highdicom import VolumeGeometry

    columns, rows, slices = source.turn.invert(source.volume.image[0]).shape
    # highdicom orders voxels as (slice, row, column)
    affine = source.affine_lps[:, [2, 1, 0, 3]]
    geometry = VolumeGeometry(affine, (slices, rows, columns), "PATIENT")
    try:
        with quiet_pydicom():
            drawn = seg.get_volume(segment_numbers=[number], combine_segments=False, rtol=0.02)
            _require_inside(drawn.affine, drawn.spatial_shape, geometry.affine, geometry.spatial_shape)
            placed = drawn.match_geometry(geometry, tol=1e-3)
    except _SEG_ERRORS as error:
        hint = "resample the segmentation onto its image first"
        raise GeometryError(
            "segmentation lies on another grid than the image", where=where, hint=hint
        ) from error
    values = placed.array[..., 0] if placed.array.ndim == 4 else placed.array
    mask = values >= _FRACTION_THRESHOLD
    return source.turn.apply(np.ascontiguousarray(mask.transpose(2, 1, 0)))


def _require_inside(
    affine: np.ndarray, shape: Sequence[int], onto: np.ndarray, onto_shape: Sequence[int]
) -> None:
    """Refuse a segmentation that reaches outside its image: matching would cut it off silently."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    corners[:, :3] *= np.array(shape[:3]) - 1
    index = np.linalg.solve(onto, affine @ corners.T)[:3].T
    if index.min() < -0.5 or (index > np.array(onto_shape[:3]) - 0.5).any():
        raise ValueError("segmentation reaches outside the image")


def combine(segments: Sequence[Segment], class_names: Sequence[str], *, where: str = "") -> np.ndarray:
    """One label map out of segments: id 1 for the first class name, and so on.

    Segments of one name are joined.

    Returns:
        (I, J, K) uint8.

    Raises:
        LabelError: If segments of two classes share a voxel, or a segment's name is not among the classes.
    """
    labels = np.zeros(segments[0].mask.shape, dtype=np.uint8)
    for segment in segments:
        if segment.name not in class_names:
            raise LabelError("a segment has no name in the class table", where=where)
        number = list(class_names).index(segment.name) + 1
        if ((labels != 0) & (labels != number) & segment.mask).any():
            hint = "a label map holds one class a voxel; take one of the segments out"
            raise LabelError("segments of two classes overlap", where=where, hint=hint)
        labels[segment.mask] = number
    return labels
