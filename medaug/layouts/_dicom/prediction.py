"""A model's label map as a DICOM SEG object that refers to the series it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from medaug.core.errors import DataError
from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import LabelMap
from medaug.io.dicom import SeriesVolume
from medaug.io.headers import quiet_pydicom, read_dataset
from medaug.layouts._dicom.identity import Uids
from medaug.layouts._dicom.segmentation import Segments, build_seg, present
from medaug.layouts._dicom.terms import term_of

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

_SERIES_NUMBER = 9001
_FAMILY = Code("123110", "DCM", "Artificial Intelligence")


def write_prediction(label_map: LabelMap, series: SeriesVolume, files: Sequence[Path], path: Path) -> bool:
    """Write a BINARY segmentation (PS3.3 A.51), one segment a class that is present.

    The object belongs to the patient and study of its source, as PS3.3 A.51 demands, so it is as identifying
    as the source is. UIDs follow from source and labels: the same prediction has the same UIDs.

    Args:
        label_map: On the grid of ``series.volume``.
        series: What :func:`medaug.io.dicom.read_series` made of the files.
        files: The files of the series, in any order.
        path: File to write.

    Returns:
        False, with nothing written, where the label map is empty: the standard knows no empty segmentation.

    Raises:
        DataError: If the source lacks what a segmentation must repeat of it.
        DependencyError: If highdicom is not installed.
        StorageError: If the file cannot be written.
    """
    names, labels = present(label_map)
    if not names:
        return False
    # (column, row, slice) to (slice, row, column)
    frames = np.ascontiguousarray(series.turn.invert(labels).transpose(2, 1, 0))
    content = BytesIO()
    with quiet_pydicom():
        try:
            _build(frames, names, _in_slice_order(series, files)).save_as(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            hint = "use --format nifti"
            raise DataError("the series lacks what DICOM SEG must repeat of it", hint=hint) from error
    write_bytes_atomic(path, content.getvalue())
    return True


def _in_slice_order(series: SeriesVolume, files: Sequence[Path]) -> list[Dataset]:
    """The headers of the slices that became the volume, in its order."""
    datasets = [read_dataset(path, pixels=False) for path in files]
    by_uid = {str(dataset.get("SOPInstanceUID")): dataset for dataset in datasets}
    return [by_uid[uid] for uid in dict.fromkeys(series.instance_uids)]


def _build(frames: np.ndarray, names: tuple[str, ...], slices: list[Dataset]) -> Segmentation:
    uids = Uids(hashlib.sha256(frames.tobytes()).digest(), (str(slices[0].SeriesInstanceUID),))
    terms = tuple(term_of(name, {}) for name in names)
    seg = build_seg(frames, Segments(names, terms, uids, _FAMILY), slices, _SERIES_NUMBER)
    seg.SeriesDescription = "Model segmentation, research use"
    return seg
