"""Label files of a case, one or several, as one label map with the ids of its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medaug.core.errors import GeometryError, LabelError
from medaug.core.findings import Code, finding
from medaug.core.volume import Labels
from medaug.core.wording import counted
from medaug.ingest import checks
from medaug.ingest.sources import ClassId, LabelSource
from medaug.io.annotations import Segment, combine
from medaug.io.formats import kind_of
from medaug.io.images import FileLabels, read_label_file
from medaug.io.stored import Frames

# How editors of pictures write "yes"
WHITE = 255


def label_files(label: LabelSource) -> tuple[Path, ...]:
    """Its files but for those that only hold the voxels of another."""
    return tuple(path for path in label.files if kind_of(path) is not None) or label.files


def read_label_files(
    label: LabelSource,
    classes: Sequence[ClassId],
    frames: Frames,
    *,
    priority: Sequence[str] = (),
    where: str = "",
) -> FileLabels:
    """Read a label map, or merge the masks of a picture.

    In a picture of no other id, 255 is the only class. A file whose folder names a class is that class wherever it is not 0.

    Args:
        label: One label file, or several masks.
        classes: Ids and names of the source.
        frames: What the fourth axis is.
        priority: Classes that win where masks overlap, the strongest first.
        where: Pseudonymous id for error lines.

    Raises:
        LabelError: If the values are no ids, or masks of two classes overlap (``overlapping-segments``).
        UnreadableError: If a file is missing, damaged or of a format that is not read.
        GeometryError: If masks differ in size (``label-grid``), or a fourth axis is not explained.
    """
    files = label_files(label)
    read = [_read(path, classes, frames, where) for path in files]
    first = read[0]
    if not all(checks.same_grid(first.grid, other.grid) for other in read[1:]):
        what, hint = "masks of one image differ in size", "redraw them on the image"
        raise GeometryError(what, where=where, hint=hint, code=Code.LABEL_GRID)
    if len(read) == 1 and not label.names:
        return first
    labels = _merged(label, read, classes, priority, where)
    notes = tuple(note for file in read for note in file.findings)
    if len(read) > 1:
        message = f"{counted(len(read), 'mask file')} were merged into one label map"
        notes = (*notes, finding(Code.MASKS_MERGED, "fixed", message))
    digests = tuple(digest for file in read for digest in file.sha256)
    return FileLabels(labels, first.grid, digests, notes)


def _read(path: Path, classes: Sequence[ClassId], frames: Frames, where: str) -> FileLabels:
    file = read_label_file(path, frames, where=where)
    named = [pair.label_id for pair in classes]
    if kind_of(path) != "picture" or WHITE in named or len(named) != 1:
        return file
    if not set(np.unique(file.labels).tolist()) <= {0, WHITE}:
        return file
    return replace(file, labels=np.where(file.labels == WHITE, named[0], 0).astype(np.int32))


def _merged(
    label: LabelSource,
    read: Sequence[FileLabels],
    classes: Sequence[ClassId],
    priority: Sequence[str],
    where: str,
) -> Labels:
    """One array with the ids of the source."""
    ids = {pair.name: pair.label_id for pair in classes}
    if label.names:
        if any(name not in ids for name in label.names):
            what = "a folder of masks has a name that the class table does not hold"
            raise LabelError(what, where=where, code=Code.LABEL_NAME_UNKNOWN)
        segments = [
            Segment.of(ids[name], name, file.labels > 0) for name, file in zip(label.names, read, strict=True)
        ]
    else:
        names = {pair.label_id: pair.name for pair in classes}
        present = [(file, int(n)) for file in read for n in np.unique(file.labels) if n > 0]
        ids |= {f"id {n}": n for _, n in present if n not in names}
        segments = [Segment.of(n, names.get(n, f"id {n}"), file.labels == n) for file, n in present]
    if not segments:
        return read[0].labels
    order = list(ids)
    joined = combine(segments, order, priority=priority, where=where).labels
    return np.asarray(np.array([0, *(ids[name] for name in order)], dtype=np.int32)[joined])
