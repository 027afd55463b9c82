"""What a person drew on an image: segments on its grid, whatever file they came in, and one label map out of them."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import Affine, Box, Grid
from medaug.core.volume import Labels, Mask
from medaug.core.wording import counted
from medaug.io._dicom.whole import is_whole
from medaug.io.dicom import SeriesVolume
from medaug.io.headers import PYDICOM_ERRORS, looks_like_dicom, quiet_pydicom

_MOST_CLASSES = np.iinfo(np.uint16).max
_MOST_INFLATED = 1 << 30


@final
@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The image that an annotation is put on.

    Attributes:
        grid: RAS+ order.
        frame_of_reference_uid: Or empty, where it is not known.
        instance_uids: Of its slices as stored, once a slice; empty where it is no DICOM series.
        other_uids: Of slices at the same places: other volumes (echoes, time points) of the image.
        affine_lps: (column, row, slice) index as stored to LPS+ mm; None where it is no DICOM series.
        is_upright: Whether its slices were moved within their planes, out of a tilted gantry.
    """

    grid: Grid
    frame_of_reference_uid: str = ""
    instance_uids: tuple[str, ...] = ()
    other_uids: frozenset[str] = frozenset()
    affine_lps: Affine | None = None
    is_upright: bool = False


def target_of(series: SeriesVolume) -> Target:
    """A series as the target of its annotations."""
    return Target(
        grid=series.volume.grid,
        frame_of_reference_uid=series.frame_of_reference_uid,
        instance_uids=series.instance_uids,
        other_uids=series.other_uids,
        affine_lps=series.affine_lps,
        is_upright=any(note.code == Code.GANTRY_TILT for note in series.findings),
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One segment (SEG) or region (RTSTRUCT) on the grid of its image; only the box that holds it is kept.

    Attributes:
        number: SegmentNumber or ROINumber.
        name: SegmentLabel or ROIName, stripped.
        inside: Which voxels of the box belong to it; one voxel of background where it is empty.
        box: Where it lies on the grid.
        shape: Of the grid.
    """

    number: int
    name: str
    inside: Mask
    box: Box
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, number: int, name: str, mask: Mask) -> Self:
        """The segment that a whole mask shows."""
        box = Box.around(mask) if mask.any() else Box((0, 0, 0), (1, 1, 1))
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        return cls(number, name, mask[box.slices].copy(), box, shape)

    @property
    def mask(self) -> Mask:
        """(I, J, K) bool on the whole grid."""
        mask = np.zeros(self.shape, dtype=bool)
        mask[self.box.slices] = self.inside
        return mask

    @property
    def voxels(self) -> int:
        """How many voxels it holds."""
        return int(np.count_nonzero(self.inside))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """What one annotation file holds; overlapping segments stay apart.

    Attributes:
        segments: In the order of their numbers.
        sha256: Of the file.
        findings: What was odd, without case id.
    """

    segments: tuple[Segment, ...]
    sha256: str
    findings: tuple[Finding, ...] = ()


@final
@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """Segments as one label map: (I, J, K) uint8, uint16 above 255 classes; and what was odd about it."""

    labels: Labels
    findings: tuple[Finding, ...] = ()


def open_dicom(path: Path) -> tuple[FileDataset, str]:
    """A DICOM file read once and parsed, and its SHA-256.

    Raises:
        UnreadableError: If the file is missing, cut short, damaged, no DICOM, or unpacks to too much.
    """
    if not looks_like_dicom(path):
        raise UnreadableError("annotation is no DICOM file", code=Code.UNREADABLE)
    try:
        content = path.read_bytes()
        with quiet_pydicom():
            _require_bounded(path, content)
            dataset = pydicom.dcmread(io.BytesIO(content), force=content[128:132] != b"DICM")
            _require_whole(dataset, content)
    except (*PYDICOM_ERRORS, zlib.error) as error:
        hint = "copy or export it again"
        raise UnreadableError(
            "annotation is cut short or damaged", hint=hint, code=Code.TRUNCATED_FILE
        ) from error
    return dataset, hashlib.sha256(content).hexdigest()


def _require_whole(dataset: FileDataset, content: bytes) -> None:
    """Refuse a file that is cut short, of which pydicom reads what is there."""
    if dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        # what inflates whole is whole
        return
    is_implicit, is_little = dataset.original_encoding
    if not is_whole(content, is_implicit=bool(is_implicit), is_little=bool(is_little)):
        hint = "copy or export it again"
        raise UnreadableError("annotation is cut short", hint=hint, code=Code.TRUNCATED_FILE)


def _require_bounded(path: Path, content: bytes) -> None:
    """Refuse a deflated file that would fill the memory (PS3.5 A.5)."""
    if content[128:132] != b"DICM":
        return
    meta = pydicom.filereader.read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    packed = zlib.decompressobj(-zlib.MAX_WBITS)
    packed.decompress(content[144 + int(meta.FileMetaInformationGroupLength) :], _MOST_INFLATED)
    if packed.unconsumed_tail:
        raise UnreadableError(
            f"annotation unpacks to more than {_MOST_INFLATED >> 20} MiB",
            hint="export as Explicit VR Little Endian",
            code=Code.ABSURD_SIZE,
        )


def combine(
    segments: Sequence[Segment],
    class_names: Sequence[str],
    *,
    priority: Sequence[str] = (),
    where: str = "",
) -> Combined:
    """One label map out of segments: id 1 for the first class name, and so on.

    Segments of one name are joined. Where two classes share a voxel, the one that stands first in ``priority`` wins; a
    class that stands there wins over all that do not.

    Raises:
        LabelError: If a segment's name is not among the classes, or classes that no priority orders share a voxel.
    """
    names = list(class_names)
    if any(segment.name not in names for segment in segments):
        raise LabelError(
            "a segment has no name in the class table", where=where, code=Code.LABEL_NAME_UNKNOWN
        )
    if len(names) > _MOST_CLASSES:
        raise LabelError(f"{len(names)} classes", where=where, expected=f"at most {_MOST_CLASSES}")
    rank = {name: number for number, name in enumerate(priority)}
    labels = np.zeros(segments[0].shape, dtype=np.uint8 if len(names) < 256 else np.uint16)
    shared = 0
    # the strongest last, so that it stays
    for segment in sorted(segments, key=lambda s: -rank.get(s.name, len(rank))):
        number = names.index(segment.name) + 1
        part = labels[segment.box.slices]
        overlap = (part != 0) & (part != number) & segment.inside
        if overlap.any() and segment.name not in rank:
            _refuse_overlap(int(overlap.sum()), where)
        shared += int(overlap.sum())
        part[segment.inside] = number
    if not shared:
        return Combined(labels)
    message = f"classes share {counted(shared, 'voxel')}, which the one first in --priority took"
    return Combined(labels, (finding(Code.OVERLAPPING_SEGMENTS, "fixed", message),))


def _refuse_overlap(voxels: int, where: str) -> None:
    raise LabelError(
        f"segments of two classes overlap in {counted(voxels, 'voxel')}",
        where=where,
        hint="say --priority with the class that wins first, or take one of the segments out",
        code=Code.OVERLAPPING_SEGMENTS,
    )


def reference_note(referred: set[str], target: Target, *, same_space: bool) -> Finding | None:
    """What to say of the images that an annotation refers to and that its target does not hold.

    Raises:
        GeometryError: If it holds none of them, and no common frame of reference ties the annotation to it either.
    """
    if not target.instance_uids or (not referred and same_space):
        return None
    missing = len(referred - set(target.instance_uids) - target.other_uids)
    message = (
        f"{missing} of the {counted(len(referred), 'image')} that the annotation refers to are not there"
    )
    if missing == len(referred) and not same_space:
        raise GeometryError(message, hint="add the images it was drawn on", code=Code.REFERENCE_MISSING)
    return finding(Code.REFERENCE_MISSING, "flagged", f"{message}; add them") if missing else None
