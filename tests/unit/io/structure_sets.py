"""RT structure sets made up for the tests, on the series of :mod:`tests.unit.io.series`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from tests.unit.io.series import reread

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"


@dataclass(frozen=True)
class Drawn:
    """A contour: (column, row) corners on the n-th file, ``off`` slices away from it."""

    file: int
    corners: Sequence[tuple[float, float]]
    kind: str = "CLOSED_PLANAR"
    off: float = 0.0


def item(**values: object) -> Dataset:
    """An item of a sequence."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def points_mm(source: FileDataset, step_mm: np.ndarray, drawn: Drawn) -> np.ndarray:
    """The corners of a contour in LPS+ mm."""
    cosines = np.array([float(v) for v in source.ImageOrientationPatient])
    rows, columns = (float(v) for v in source.PixelSpacing)
    origin = np.array([float(v) for v in source.ImagePositionPatient])
    corners = np.array(drawn.corners, dtype=float)
    return np.asarray(
        origin
        + corners[:, :1] * columns * cosines[:3]
        + corners[:, 1:] * rows * cosines[3:]
        + drawn.off * step_mm
    )


def write_structures(path: Path, files: Sequence[Path], regions: Mapping[str, Sequence[Drawn]]) -> Path:
    """A structure set with a region of each name, numbered from 1."""
    sources = [reread(file) for file in files]
    first = sources[0]
    far = np.array([float(v) for v in sources[-1].ImagePositionPatient])
    step = (far - np.array([float(v) for v in first.ImagePositionPatient])) / max(len(files) - 1, 1)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, UID(STRUCTURE_SET)
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = STRUCTURE_SET, meta.MediaStorageSOPInstanceUID
    made.Modality, made.SeriesInstanceUID = "RTSTRUCT", generate_uid(entropy_srcs=[str(path), "series"])
    made.StudyInstanceUID = first.StudyInstanceUID
    made.PatientID, made.PatientName = first.PatientID, first.PatientName
    space = str(first.get("FrameOfReferenceUID", ""))
    images = Items([_image(source) for source in sources])
    series = item(SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=images)
    study = item(RTReferencedSeriesSequence=Items([series]))
    frame = item(FrameOfReferenceUID=space, RTReferencedStudySequence=Items([study]))
    made.ReferencedFrameOfReferenceSequence = Items([frame])
    made.StructureSetROISequence = Items(
        [
            item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=space)
            for n, name in enumerate(regions, start=1)
        ]
    )
    made.ROIContourSequence = Items(
        [
            item(ReferencedROINumber=n, ContourSequence=Items([_contour(sources, step, d) for d in drawn]))
            for n, drawn in enumerate(regions.values(), start=1)
        ]
    )
    made.save_as(path, enforce_file_format=True)
    return path


def _image(source: FileDataset) -> Dataset:
    return item(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)


def _contour(sources: Sequence[FileDataset], step_mm: np.ndarray, drawn: Drawn) -> Dataset:
    source = sources[drawn.file]
    points = points_mm(source, step_mm, drawn)
    return item(
        ContourImageSequence=Items([_image(source)]),
        ContourGeometricType=drawn.kind,
        NumberOfContourPoints=len(points),
        ContourData=[f"{value:.10g}" for value in points.ravel()],
    )
