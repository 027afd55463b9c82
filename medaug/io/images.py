"""Image and label files of every format but DICOM, read into RAS+ order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from medaug.core.errors import DataError, GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding
from medaug.core.geometry import Box, Grid, Reorientation, to_ras
from medaug.core.volume import Labels, Mask
from medaug.io import metaimage, nifti, nrrd, pictures
from medaug.io.annotations import Annotation, Segment
from medaug.io.drawings import Declared, Drawing
from medaug.io.formats import FileKind, kind_of, unsupported_format
from medaug.io.stored import Frames, StoredImage, channels_first, require_upright, whole_numbers

_LOADERS: Final[dict[FileKind, Callable[[Path], StoredImage]]] = {
    "nifti": nifti.load_nifti,
    "nrrd": nrrd.load_nrrd,
    "metaimage": metaimage.load_metaimage,
    "picture": pictures.load_picture,
}
_COUNTERS: Final[dict[FileKind, Callable[[Path], int]]] = {
    "nifti": nifti.count_frames,
    "nrrd": nrrd.count_frames,
    "metaimage": metaimage.count_frames,
    "picture": pictures.count_pages,
}
# of a voxel: the rounding of affines written as text
_LATTICE_VOXELS = 0.05
_COMPANIONS: Final[dict[str, Callable[[Path], Path | None]]] = {
    ".hdr": nifti.second_file,
    ".nhdr": nrrd.data_file,
    ".mhd": metaimage.data_file,
}


@final
@dataclass(frozen=True, slots=True, eq=False)
class FileImage:
    """A file in RAS+ order.

    Attributes:
        image: (C, I, J, K), of the type in which it is stored.
        grid: Where the voxels are.
        spacing_known: False where the spacing is nominal.
        sha256: Of each file it was read from.
        findings: What was odd, without a case id.
    """

    image: np.ndarray
    grid: Grid
    spacing_known: bool
    sha256: tuple[str, ...]
    findings: tuple[Finding, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class FileLabels:
    """A label file in RAS+ order.

    Attributes:
        labels: (I, J, K) int32, ids as stored.
        grid: Where the voxels are.
        sha256: Of each file it was read from.
        findings: What was odd, without a case id.
    """

    labels: Labels
    grid: Grid
    sha256: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_image(path: Path, frames: Frames = None, *, where: str = "") -> FileImage:
    """Read an image by the format that its name claims.

    Args:
        path: NIfTI, NRRD, MetaImage or a picture.
        frames: What its fourth axis is, if it has one; pages of a picture are slices where this is None.
        where: Pseudonymous id for error lines, which never name the path.

    Raises:
        UnreadableError: If the file is missing, damaged, of a format that is not read, or claims an absurd size.
        GeometryError: If its axes are not perpendicular or place no voxels, or a fourth axis is not explained.
    """
    try:
        kind = _kind(path)
        stored = _LOADERS[kind](path)
        channels, grid, turn = _upright(stored, kind, frames)
    except DataError as error:
        raise error.located(where) from error
    return FileImage(turn.apply(channels), grid, stored.spacing_known, stored.sha256, stored.findings)


def read_label_file(path: Path, frames: Frames = None, *, where: str = "") -> FileLabels:
    """Read a label map by the format that its name claims; as :func:`read_image`.

    Palette pictures have the index of a colour as id, others their grey value.

    Raises:
        LabelError: If the values are not whole numbers of at least 0, or in colour (``label-not-whole``).
        UnreadableError: As :func:`read_image`.
        GeometryError: As :func:`read_image`.
    """
    try:
        kind = _kind(path)
        stored = pictures.load_mask(path) if kind == "picture" else _LOADERS[kind](path)
        if any(note.code == Code.COLOUR_CONVERTED for note in stored.findings):
            raise LabelError("label map is in colour", hint="store class ids", code=Code.LABEL_NOT_WHOLE)
        channels, grid, turn = _upright(stored, kind, None if frames == "channels" else frames)
        labels = turn.apply(whole_numbers(channels[0]))
    except DataError as error:
        raise error.located(where) from error
    return FileLabels(labels, grid, stored.sha256, stored.findings)


def slicer_drawing(path: Path) -> Drawing | None:
    """What a Slicer segmentation (``.seg.nrrd``) declares, or None where an NRRD file is none.

    Raises:
        UnreadableError: If the header is damaged.
        LabelError: If a segment has no usable value or layer.
    """
    segments = nrrd.declared_segments(path)
    if not segments:
        return None
    declared = tuple(Declared(n, s.name, s.codes) for n, s in enumerate(segments, start=1))
    nothing: frozenset[str] = frozenset()
    return Drawing(path, False, declared, nothing, nothing, nothing, "")


def read_slicer_segments(path: Path, onto: Grid, numbers: frozenset[int]) -> Annotation:
    """The segments of a Slicer segmentation on the grid of their image, voxel on voxel; they may overlap.

    Slicer stores only the part of the grid that holds segments.

    Args:
        path: The ``.seg.nrrd`` file.
        onto: Grid of the image, RAS+ order.
        numbers: The segments wanted, counted from 1 in the order of the header.

    Raises:
        GeometryError: If its voxels do not fall on those of the image, or a segment reaches outside it.
        LabelError: If the header declares a segment in a layer that the file does not have.
        UnreadableError: As :func:`read_image`.
    """
    declared, stored = nrrd.declared_segments(path), nrrd.load_nrrd(path)
    layers, grid, turn = _upright(stored, "nrrd", "channels")
    offset = _offset(grid, onto)
    segments = []
    for number, segment in enumerate(declared, start=1):
        if number not in numbers:
            continue
        if not 0 <= segment.layer < len(layers):
            raise LabelError("a segment is declared in a layer that the file does not have", code=Code.LABEL)
        mask = turn.apply(layers[segment.layer] == segment.value)
        segments.append(Segment.of(number, segment.name, _placed(mask, offset, onto.shape)))
    return Annotation(tuple(segments), stored.sha256[0], stored.findings)


def _offset(grid: Grid, onto: Grid) -> tuple[int, int, int]:
    """Index in ``onto`` of the first voxel of ``grid``."""
    matrix = np.linalg.solve(onto.affine, grid.affine)
    start = np.rint(matrix[:3, 3])
    corners = np.array(list(itertools.product(*((0, n - 1) for n in grid.shape))), dtype=np.float64)
    apart = np.abs(corners @ (matrix[:3, :3] - np.eye(3)).T + matrix[:3, 3] - start).max()
    if apart > _LATTICE_VOXELS:
        hint = "resample it onto the image first"
        raise GeometryError(
            "segmentation lies on another grid than its image", hint=hint, code=Code.LABEL_GRID
        )
    return int(start[0]), int(start[1]), int(start[2])


def _placed(mask: np.ndarray, offset: tuple[int, int, int], shape: tuple[int, int, int]) -> Mask:
    """The mask of a part of a grid on the whole of it."""
    whole = np.zeros(shape, dtype=bool)
    if not mask.any():
        return whole
    box = Box.around(mask)
    i, j, k = (a + b for a, b in zip(box.start, offset, strict=True))
    place = Box((i, j, k), (i + box.shape[0], j + box.shape[1], k + box.shape[2]))
    if not place.inside(shape):
        hint = "pair it with the image it was drawn on"
        raise GeometryError("segmentation reaches outside its image", hint=hint, code=Code.LABEL_GRID)
    whole[place.slices] = mask[box.slices]
    return whole


def count_frames(path: Path) -> int:
    """Length of the fourth axis of a file as its header claims it, 1 where it has none.

    Raises:
        UnreadableError: As :func:`read_image`.
        GeometryError: As :func:`read_image`.
    """
    return _COUNTERS[_kind(path)](path)


def companion(path: Path) -> Path | None:
    """The second file of an image of two files, found through its header; None where there is none, or it is damaged."""
    find = next((find for ending, find in _COMPANIONS.items() if path.name.lower().endswith(ending)), None)
    try:
        return None if find is None else find(path)
    except DataError:
        # the image itself will be refused with the reason when it is read
        return None


def _kind(path: Path) -> FileKind:
    kind = kind_of(path)
    if kind is None:
        name = unsupported_format(path)
        what = f"file is {name}, which is not read" if name else "file is of no format that is read"
        raise UnreadableError(what, hint="convert it to NIfTI", code=Code.UNSUPPORTED_FORMAT)
    return kind


def _upright(stored: StoredImage, kind: FileKind, frames: Frames) -> tuple[np.ndarray, Grid, Reorientation]:
    """(C, I, J, K) as stored, the RAS+ grid, and the way there."""
    if frames is None and kind == "picture":
        stored = pictures.pages_as_slices(stored)
    require_upright(stored.affine)
    channels = channels_first(stored, frames)
    return channels, *to_ras(Grid(channels.shape[1:], stored.affine))
