"""What was written, read again and compared: images value by value, places to a thousandth of a millimetre, labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medaug.core.case import Case
from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.geometry import to_ras
from medaug.io.annotations import Target, combine, target_of
from medaug.io.dicom import read_series
from medaug.io.segmentation import read_seg
from medaug.layouts._dicom.placing import frames_of, unplaced
from medaug.layouts._dicom.stored import store


def require_same_image(case: Case, channel: int, files: Sequence[Path]) -> Target:
    """Compare a series with the channel that it was made of.

    Returns:
        Where the series lies, for its segmentation.

    Raises:
        DataError: If it cannot be read as :mod:`medaug.io.dicom` reads any series.
        UnreadableError: If a value is another one than rounding to stored steps makes of it.
        GeometryError: If it lies elsewhere.
    """
    volume = case.volume
    grid = volume.grid if volume.spacing_known else unplaced(volume.grid)
    stored = store(frames_of(volume.image[channel], grid), volume.unit)
    wanted = stored.coding.decode(stored.frames)
    series = read_series(files, where=case.case_id)
    ras, turn = to_ras(grid)
    is_there = series.volume.grid.agrees_with(ras) if volume.spacing_known else True
    if not is_there or series.volume.grid.shape != ras.shape:
        raise GeometryError("series lies elsewhere than its image", where=case.case_id)
    found = frames_of(turn.invert(series.volume.image[0]), grid)
    if not np.array_equal(found, wanted):
        raise UnreadableError("series holds other values than were to be written", where=case.case_id)
    return target_of(series)


def require_same_labels(case: Case, target: Target, path: Path, classes: Sequence[str]) -> None:
    """Compare a segmentation with the label map that it was made of.

    Raises:
        DataError: If a voxel has another class, or the object does not fit its series.
    """
    seg = read_seg(path, target, where=case.case_id)
    labels = combine(seg.segments, classes, where=case.case_id).labels
    grid = case.volume.grid if case.volume.spacing_known else unplaced(case.volume.grid)
    turn = to_ras(grid)[1]
    if case.label_map is None or not np.array_equal(labels, turn.apply(case.label_map.labels)):
        raise LabelError("segmentation differs from the label map", where=case.case_id)
