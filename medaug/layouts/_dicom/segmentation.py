"""A label map as a DICOM SEG object that refers to its image series."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from medaug import __version__
from medaug.core.errors import DependencyError, LabelError
from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import LabelMap
from medaug.io.headers import quiet_pydicom
from medaug.layouts._dicom.identity import MANUFACTURER, SeriesIdentity, Uids
from medaug.layouts._dicom.placing import frames_of, unplaced
from medaug.layouts._dicom.terms import CATEGORY, schemes_of, term_of
from medaug.layouts._dicom.unplaced import need_places, with_places, without_places

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

SegmentationType = Literal["BINARY", "LABELMAP"]
_DEFORMABLE_MODELS: Final = Code("123111", "DCM", "Deformable Models")
_SERIES_OFFSET = 1000


@final
@dataclass(frozen=True, slots=True)
class SegSettings:
    """How label maps are written.

    Attributes:
        kind: One bit a voxel and segment, or one number a voxel (PS3.3 C.8.20.2.3).
        terms: Codes of classes that go before those known here.
    """

    kind: SegmentationType = "BINARY"
    terms: Mapping[str, Code] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Segments:
    """What the header of a SEG object says of its segments.

    Attributes:
        names: Of segments 1, 2, ...
        terms: Their coded types.
        uids: Of series, object and segments.
        family: Of the algorithm that drew them; None where medaug did not.
    """

    names: tuple[str, ...]
    terms: tuple[Code, ...]
    uids: Uids
    family: Code | None

    def describe(self) -> list[SegmentDescription]:
        """The items of Segment Sequence (PS3.3 C.8.20.4)."""
        from highdicom.content import AlgorithmIdentificationSequence
        from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription

        kinds = SegmentAlgorithmTypeValues
        algorithm = self.family and AlgorithmIdentificationSequence(
            name=MANUFACTURER, version=__version__, family=self.family
        )
        return [
            SegmentDescription(
                segment_number=number,
                segment_label=name,
                segmented_property_category=CATEGORY,
                segmented_property_type=term,
                algorithm_type=kinds.MANUAL if algorithm is None else kinds.AUTOMATIC,
                algorithm_identification=algorithm,
                tracking_uid=self.uids.uid("segment", name),
                tracking_id=name,
            )
            for number, (name, term) in enumerate(zip(self.names, self.terms, strict=True), start=1)
        ]


_BY_DEFAULT: Final = SegSettings()


def write_seg(
    label_map: LabelMap,
    slices: Sequence[Dataset],
    identity: SeriesIdentity,
    path: Path,
    settings: SegSettings = _BY_DEFAULT,
) -> None:
    """Write a segmentation (PS3.3 A.51), one segment a class that is present.

    SegmentLabel is the class name; category and type are coded. The same input gives the same bytes.

    Args:
        label_map: RAS+, on the grid of the series.
        slices: What ``write_series`` returned for the series.
        identity: What it was given.
        path: File to write.
        settings: Kind of object, and codes.

    Raises:
        LabelError: If the label map is empty, or a class has a name that no header can hold.
        DependencyError: If highdicom is not installed.
        StorageError: If the file cannot be written.
    """
    names, labels = present(label_map)
    if not names:
        raise LabelError("label map is empty", expected="at least one class", hint="write no segmentation")
    grid = label_map.grid
    frames = frames_of(labels, grid if "ImagePositionPatient" in slices[0] else unplaced(grid))
    segments = _segments(names, frames, identity, settings)
    content = BytesIO()
    with quiet_pydicom():
        seg = build_seg(frames, segments, slices, identity.series_number + _SERIES_OFFSET, settings.kind)
        _make_reproducible(seg, identity, segments.uids)
        seg.save_as(content)
    write_bytes_atomic(path, content.getvalue())


def _segments(
    names: tuple[str, ...], frames: np.ndarray, identity: SeriesIdentity, settings: SegSettings
) -> Segments:
    """What is said of them; another content is another object, whatever it is called."""
    terms = tuple(term_of(name, settings.terms) for name in names)
    said = "\x1f".join(
        (settings.kind, *names, *(f"{t.scheme_designator}:{t.value}:{t.meaning}" for t in terms))
    )
    content = hashlib.sha256(frames.tobytes() + said.encode("utf-8")).hexdigest()
    uids = Uids(identity.uids.key, (*identity.uids.scope, "segmentation", content))
    return Segments(names, terms, uids, _DEFORMABLE_MODELS if identity.is_synthetic else None)


def present(label_map: LabelMap) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes that a label map holds, and its labels counted through: 1 for the first of these, and so on."""
    numbers = [int(number) for number in np.unique(label_map.labels) if number > 0]
    kind = np.uint8 if len(numbers) < 256 else np.uint16
    names = tuple(label_map.class_names[number - 1] for number in numbers)
    return names, np.searchsorted(np.array([0, *numbers]), label_map.labels).astype(kind)


def build_seg(
    frames: np.ndarray,
    segments: Segments,
    slices: Sequence[Dataset],
    series_number: int,
    kind: SegmentationType = "BINARY",
) -> Segmentation:
    """The object.

    Args:
        frames: (slice, row, column), 0 or the number of a segment.
        segments: What its header says of them.
        slices: Headers of the images that they lie on, in order.
        series_number: Of the object.
        kind: BINARY or LABELMAP.

    Raises:
        DependencyError: If highdicom is not installed.
    """
    seg = _segmentation_class()(
        source_images=with_places(slices) if need_places(slices) else list(slices),
        pixel_array=frames,
        segmentation_type=kind,
        segment_descriptions=segments.describe(),
        series_instance_uid=segments.uids.uid("series"),
        series_number=series_number,
        sop_instance_uid=segments.uids.uid("object"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="0",
        content_label="LESIONS",
        content_description="Lesion classes",
    )
    schemes = schemes_of(segments.terms)
    if schemes:
        seg.CodingSchemeIdentificationSequence = schemes
    if need_places(slices):
        without_places(seg)
    elif "FrameOfReferenceUID" not in seg:
        # of an image that lies nowhere (PS3.3 C.7.6.1, type 2C)
        seg.PatientOrientation = ""
    return seg


def _segmentation_class() -> type[Segmentation]:
    try:
        from highdicom.seg import Segmentation
    except ImportError as error:
        hint = "install it with `pip install medaug[dicom]`"
        raise DependencyError("writing DICOM SEG needs highdicom", hint=hint) from error
    return Segmentation


def _make_reproducible(seg: Segmentation, identity: SeriesIdentity, uids: Uids) -> None:
    """Replace what highdicom takes from the clock and from random UIDs, and say what made the labels."""
    if "ContributingEquipmentSequence" in seg:
        del seg.ContributingEquipmentSequence  # highdicom names itself, with the time of day
    identity.fill(seg, is_placed="FrameOfReferenceUID" in seg)
    seg.SeriesDescription = "Segmentation"
    organization = uids.uid("dimensions")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
