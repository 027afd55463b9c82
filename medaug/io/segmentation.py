"""DICOM segmentations (SEG) on the grid of their image, voxel for voxel; nothing is resampled here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from pydicom.dataset import Dataset

from medaug.core.errors import DataError, DependencyError, GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import lps_to_ras
from medaug.core.volume import Labels, Mask
from medaug.core.wording import counted
from medaug.io._dicom.placing import OFF_GRID, Place, place_on
from medaug.io._dicom.segframes import (
    SegFrame,
    SegLayout,
    read_frame_list,
    read_layout,
    read_values,
)
from medaug.io.annotations import Annotation, Segment, Target, open_dicom, reference_note
from medaug.io.headers import PYDICOM_ERRORS, quiet_pydicom

_ROUNDING: Final = 1e-9


def read_seg(
    path: Path,
    target: Target,
    *,
    numbers: Collection[int] | None = None,
    fraction_threshold: float = 0.5,
    where: str = "",
) -> Annotation:
    """Put the segments of a SEG object on the grid of its image.

    BINARY, FRACTIONAL (probability and occupancy alike) and LABELMAP objects (PS3.3 C.8.20). Every frame is put where
    its own position says; a frame without a position (planar radiographs) lies on the image it names. Frames that the
    object leaves out are empty. Overlapping segments stay apart: :func:`medaug.io.annotations.combine` joins them.

    Args:
        path: The SEG file.
        target: The image it was drawn on.
        numbers: Which segments to read; None reads all but the background of a LABELMAP.
        fraction_threshold: Share of MaximumFractionalValue from which on a voxel belongs to its segment.
        where: Pseudonymous id for error lines.

    Raises:
        UnreadableError: If the file is damaged, no SEG object, or of a tiled image.
        GeometryError: If it lies in another frame of reference, off the voxels of the image or outside it, or refers
            to other images.
        LabelError: If a LABELMAP holds a number that no segment has.
        DependencyError: If its transfer syntax needs a plugin that is not installed.
    """
    try:
        dataset, sha256 = open_dicom(path)
        with quiet_pydicom():
            seg = _open(dataset, target)
            wanted = [item for item in seg.names if numbers is None or item[0] in numbers]
            if seg.layout.kind == "LABELMAP":
                segments = _from_labelmap(seg, wanted)
            else:
                segments = [
                    Segment.of(number, name, _drawn(seg, number, fraction_threshold))
                    for number, name in wanted
                ]
    except (DataError, DependencyError) as error:
        raise error.located(where) from error
    except PYDICOM_ERRORS as error:
        hint = "copy or export it again"
        raise UnreadableError(
            "DICOM SEG is cut short or damaged", where=where, hint=hint, code=Code.TRUNCATED_FILE
        ) from error
    return Annotation(tuple(segments), sha256, (*seg.findings, *_notes(seg, segments, fraction_threshold)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Seg:
    """A SEG whose headers were read and found to fit its image."""

    dataset: Dataset
    layout: SegLayout
    names: tuple[tuple[int, str], ...]
    frames: tuple[SegFrame, ...]
    target: Target
    findings: tuple[Finding, ...]


def _open(dataset: Dataset, target: Target) -> _Seg:
    layout = read_layout(dataset)
    own = str(dataset.get("FrameOfReferenceUID") or "")
    if own and target.frame_of_reference_uid and own != target.frame_of_reference_uid:
        raise GeometryError(
            "segmentation lies in another frame of reference than the image", code=Code.REFERENCE_MISSING
        )
    names = tuple(
        sorted(
            (int(item.SegmentNumber), str(item.get("SegmentLabel") or "").strip())
            for item in dataset.SegmentSequence
            # segment 0 is the background of a LABELMAP (PS3.3 C.8.20.4)
            if int(item.SegmentNumber) > 0
        )
    )
    frames = read_frame_list(dataset, layout)
    declared = {number for number, _ in names}
    if len(declared) < len(names) or any(f.segment not in declared for f in frames if f.segment is not None):
        raise LabelError(
            "a frame shows a segment that is declared twice or not at all", code=Code.LABEL_ID_UNKNOWN
        )
    referred = {uid for frame in frames for uid in frame.instance_uids} - {""}
    note = reference_note(referred, target, same_space=bool(own and own == target.frame_of_reference_uid))
    return _Seg(dataset, layout, names, frames, target, (note,) if note else ())


def _drawn(seg: _Seg, number: int, threshold: float) -> Mask:
    """The mask of one segment of a BINARY or FRACTIONAL object."""
    frames = {frame.index: frame for frame in seg.frames if frame.segment == number}
    mask = np.zeros(seg.target.grid.shape, dtype=bool)
    layers: dict[tuple[int, int], bytes] = {}
    least = 1.0 if seg.layout.kind == "BINARY" else threshold * seg.layout.maximum - _ROUNDING
    for index, values in read_values(seg.dataset, seg.layout, sorted(frames)):
        inside = values >= least
        place = _place(seg, frames[index])
        _require_alone(layers, place.layer, inside)
        place.put(inside, mask)
    return mask


def _from_labelmap(seg: _Seg, wanted: Sequence[tuple[int, str]]) -> list[Segment]:
    labels: Labels = np.zeros(seg.target.grid.shape, dtype=np.uint16)
    layers: dict[tuple[int, int], bytes] = {}
    frames = {frame.index: frame for frame in seg.frames}
    known = np.array([0, *(number for number, _ in seg.names)])
    for index, stored in read_values(seg.dataset, seg.layout, sorted(frames)):
        values = stored if seg.layout.padding is None else np.where(stored == seg.layout.padding, 0, stored)
        if not np.isin(np.unique(values), known).all():
            raise LabelError("label map holds a number that no segment has", code=Code.LABEL_ID_UNKNOWN)
        place = _place(seg, frames[index])
        _require_alone(layers, place.layer, values)
        place.put(values, labels)
    return [Segment.of(number, name, labels == number) for number, name in wanted]


def _require_alone(layers: dict[tuple[int, int], bytes], layer: tuple[int, int], values: np.ndarray) -> None:
    """Two frames of a segment at one place must agree: those of two time points do not, and have no one mask."""
    content = np.packbits(values).tobytes() if values.dtype == bool else values.tobytes()
    if layers.setdefault(layer, content) != content:
        raise GeometryError(
            "different frames of one segment lie at one place",
            expected="one frame a slice",
            hint="export the segmentation of each volume as an object of its own",
            code=Code.CONFLICTING_POSITION,
        )


def _place(seg: _Seg, frame: SegFrame) -> Place:
    size = (seg.layout.columns, seg.layout.rows)
    affine = frame.affine_lps if frame.affine_lps is not None else _of_named_image(frame, seg.target, size)
    place = place_on(seg.target.grid, affine, size, to_nearest=seg.target.is_upright)
    if place is None:
        raise GeometryError(
            "segmentation lies on another grid than the image",
            hint="resample the segmentation onto its image first",
            code=Code.LABEL_GRID,
        )
    _require_on_named_image(frame, seg.target, place)
    return place


def _of_named_image(frame: SegFrame, target: Target, size: tuple[int, int]) -> np.ndarray:
    """Where a frame without a position lies: on the whole of the one image that it names."""
    slices = [n for n, uid in enumerate(target.instance_uids) if uid in frame.instance_uids]
    if len(slices) != 1 or target.affine_lps is None:
        raise GeometryError(
            "segmentation says neither where it lies nor on which image", code=Code.REFERENCE_MISSING
        )
    affine = np.array(target.affine_lps)
    affine[:, 3] = affine @ np.array([0, 0, slices[0], 1.0])
    ends = np.array([[0, 0, 0, 1.0], [size[0] - 1, size[1] - 1, 0, 1.0]]).T
    to_index = np.linalg.inv(target.grid.affine) @ lps_to_ras(affine)
    index = (to_index @ ends)[:3]
    # from one corner of the image to the opposite one, along both of its axes
    whole = np.abs(index[:, 1] - index[:, 0]) - (np.array(target.grid.shape) - 1)
    if np.abs(whole[np.abs(to_index[:3, :2]).argmax(axis=0)]).max() > OFF_GRID:
        raise GeometryError(
            f"segmentation is {size[0]} x {size[1]}", expected="the size of its image", code=Code.LABEL_GRID
        )
    return affine


def _require_on_named_image(frame: SegFrame, target: Target, place: Place) -> None:
    """A frame drawn on one image lies where that image lies."""
    if len(frame.instance_uids) != 1 or target.affine_lps is None:
        return
    slices = [n for n, uid in enumerate(target.instance_uids) if uid in frame.instance_uids]
    if len(slices) != 1:
        return
    corner = lps_to_ras(target.affine_lps) @ np.array([0, 0, slices[0], 1.0])
    index = target.grid.to_index((float(corner[0]), float(corner[1]), float(corner[2])))
    axis, layer = place.layer
    along = np.abs(np.linalg.inv(target.grid.affine) @ lps_to_ras(target.affine_lps))[:3, 2].argmax()
    if axis == along and abs(float(index[axis]) - layer) > 0.5:
        raise GeometryError(
            "a frame lies elsewhere than the image it names",
            hint="export image and segmentation again",
            code=Code.LABEL_GRID,
        )


def _notes(seg: _Seg, segments: Iterable[Segment], threshold: float) -> list[Finding]:
    notes = []
    if seg.layout.kind == "FRACTIONAL":
        message = (
            f"fractions of {threshold:g} and above were taken as inside; choose with --fraction-threshold"
        )
        notes.append(finding(Code.FRACTIONS_THRESHOLDED, "fixed", message))
    if seg.target.is_upright:
        message = (
            "segmentation followed the slices of a tilted gantry to the nearest voxel; look at its outlines"
        )
        notes.append(finding(Code.LABEL_RESAMPLED, "fixed", message))
    empty = sum(segment.voxels == 0 for segment in segments)
    if empty:
        message = f"{counted(empty, 'segment')} of the segmentation {'is' if empty == 1 else 'are'} empty"
        notes.append(finding(Code.SEGMENT_EMPTY, "flagged", message))
    return notes
