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

from medaug import __version__
from medaug.core.errors import DataError, DependencyError
from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import LabelMap
from medaug.io.dicom import SeriesVolume
from medaug.io.headers import quiet_pydicom, read_dataset
from medaug.layouts._dicom.identity import MANUFACTURER, Uids

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

_SERIES_NUMBER = 9001
_CATEGORY = Code("49755003", "SCT", "Morphologically Altered Structure")
_TYPE = Code("52988006", "SCT", "Lesion")
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
    present = [int(number) for number in np.unique(label_map.labels) if number > 0]
    if not present:
        return False
    consecutive = np.searchsorted(np.array([0, *present]), label_map.labels).astype(np.uint8)
    # (column, row, slice) to (slice, row, column)
    frames = np.ascontiguousarray(series.turn.invert(consecutive).transpose(2, 1, 0))
    names = [label_map.class_names[number - 1] for number in present]
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


def _build(frames: np.ndarray, names: Sequence[str], slices: list[Dataset]) -> Segmentation:
    try:
        from highdicom.seg import Segmentation, SegmentationTypeValues
    except ImportError as error:
        hint = "install it with `pip install medaug[dicom]`"
        raise DependencyError("writing DICOM SEG needs highdicom", hint=hint) from error
    uids = Uids(hashlib.sha256(frames.tobytes()).digest(), (str(slices[0].SeriesInstanceUID),))
    return Segmentation(
        source_images=slices,
        pixel_array=frames,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(n, name, uids) for n, name in enumerate(names, start=1)],
        series_instance_uid=uids.uid("series"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=uids.uid("segmentation"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="0",
        series_description="Model segmentation, research use",
        content_label="LESIONS",
        content_description="Lesion classes",
    )


def _describe(number: int, name: str, uids: Uids) -> SegmentDescription:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription

    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=_CATEGORY,
        segmented_property_type=_TYPE,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=MANUFACTURER, version=__version__, family=_FAMILY
        ),
        tracking_uid=uids.uid("segment", name),
        tracking_id=name,
    )
