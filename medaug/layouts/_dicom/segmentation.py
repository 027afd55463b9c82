"""A label map as a DICOM SEG object that refers to its image series."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from medaug import __version__
from medaug.core.errors import DependencyError, LabelError
from medaug.core.geometry import Reorientation
from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import LabelMap
from medaug.io.headers import quiet_pydicom
from medaug.layouts._dicom.identity import MANUFACTURER, SeriesIdentity

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

_TO_DICOM = Reorientation((0, 1, 2), (True, True, False))
_ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_LESION = Code("52988006", "SCT", "Lesion")
# classes with a code of their own (PS3.16 CID 6102); every other class is a lesion with the class as its label
_KNOWN_TYPES = {
    "solid": Code("27925004", "SCT", "Nodule"),
    "nodule": Code("27925004", "SCT", "Nodule"),
    "ground_glass": Code("112120", "DCM", "Ground glass opacity"),
}


def write_seg(label_map: LabelMap, slices: Sequence[Dataset], identity: SeriesIdentity, path: Path) -> None:
    """Write a BINARY segmentation (PS3.3 A.51), one segment a class that is present.

    SegmentLabel is the class name; category and type are coded. The same input gives the same bytes.

    Args:
        label_map: RAS+, on the grid of the series.
        slices: What ``write_series`` returned for the series.
        identity: What it was given.
        path: File to write.

    Raises:
        LabelError: If the label map is empty.
        DependencyError: If highdicom is not installed.
        StorageError: If the file cannot be written.
    """
    present = [number for number in np.unique(label_map.labels) if number > 0]
    if not present:
        raise LabelError("label map is empty", expected="at least one class", hint="write no segmentation")
    consecutive = np.searchsorted(np.array([0, *present]), label_map.labels).astype(np.uint8)
    # (column, row, slice) to (slice, row, column)
    frames = np.ascontiguousarray(_TO_DICOM.apply(consecutive).transpose(2, 1, 0))
    names = [label_map.class_names[number - 1] for number in present]
    with quiet_pydicom():
        seg = _build(frames, names, slices, identity)
        _make_reproducible(seg, identity)
        content = BytesIO()
        seg.save_as(content)
    write_bytes_atomic(path, content.getvalue())


def _build(
    frames: np.ndarray, names: Sequence[str], slices: Sequence[Dataset], identity: SeriesIdentity
) -> Segmentation:
    try:
        from highdicom.seg import Segmentation, SegmentationTypeValues
    except ImportError as error:
        hint = "install it with `pip install medaug[dicom]`"
        raise DependencyError("writing DICOM SEG needs highdicom", hint=hint) from error
    number = identity.series_number + 100
    return Segmentation(
        source_images=list(slices),
        pixel_array=frames,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(n, name, identity) for n, name in enumerate(names, start=1)],
        series_instance_uid=identity.uids.uid("series", number),
        series_number=number,
        sop_instance_uid=identity.uids.uid("segmentation", number),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="0",
        content_label="LESIONS",
        content_description="Lesion classes",
    )


def _describe(number: int, name: str, identity: SeriesIdentity) -> SegmentDescription:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription

    algorithm = AlgorithmIdentificationSequence(
        name=MANUFACTURER, version=__version__, family=Code("123111", "DCM", "Deformable Models")
    )
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=_ABNORMAL_STRUCTURE,
        segmented_property_type=_KNOWN_TYPES.get(name, _LESION),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=identity.uids.uid("segment", name),
        tracking_id=name,
    )


def _make_reproducible(seg: Segmentation, identity: SeriesIdentity) -> None:
    """Replace what highdicom takes from the clock and from random UIDs, and say what made the labels."""
    if "ContributingEquipmentSequence" in seg:
        del seg.ContributingEquipmentSequence  # highdicom names itself, with the time of day
    identity.fill(seg)
    seg.SeriesDescription = "Segmentation"
    organization = identity.uids.uid("dimensions", identity.series_number)
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
