"""One channel of a volume as a single-frame CT or MR series."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import final

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from medaug import __version__
from medaug.core.errors import GeometryError
from medaug.core.geometry import Reorientation, ras_to_lps
from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import Unit, Volume
from medaug.layouts._dicom.identity import MANUFACTURER, SeriesIdentity

# columns run to the patient's left and rows to the back, as scanners store axial slices
_TO_DICOM = Reorientation((0, 1, 2), (True, True, False))
STORED_STEPS = 65535
_SHEAR_TOLERANCE = 1e-4


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """Whole numbers and how they become values: stored x slope + intercept."""

    values: np.ndarray
    slope: float
    intercept: float


def write_series(
    volume: Volume, identity: SeriesIdentity, folder: Path, *, channel: int = 0
) -> tuple[Dataset, ...]:
    """Write ``0001.dcm`` and on, feet to head, one slice along K each.

    HU go through the rescale (PS3.3 C.11.1) with slope 1, rounded to whole HU; other units are stored as they are
    where whole, else in 65535 steps over their range.

    Args:
        volume: RAS+; its affine may be oblique, but not sheared.
        identity: What the headers say.
        folder: Made where it is missing.
        channel: Which channel of the volume.

    Returns:
        The headers, in slice order, for a segmentation to refer to.

    Raises:
        GeometryError: If the grid is sheared, which an image plane cannot express.
        StorageError: If a file cannot be written.
    """
    image = _TO_DICOM.apply(volume.image[channel])
    affine = _dicom_affine(volume)
    stored = _quantise(image, volume.unit)
    slices = []
    for k in range(image.shape[2]):
        dataset = _slice(identity, stored, affine, k, volume)
        write_dataset(dataset, folder / f"{k + 1:04d}.dcm")
        slices.append(dataset)
    return tuple(slices)


def _dicom_affine(volume: Volume) -> np.ndarray:
    """(column, row, slice) index to LPS+ mm."""
    ras = np.array(volume.grid.affine)
    for axis, flip in enumerate(_TO_DICOM.flips):
        if flip:
            ras[:3, 3] += ras[:3, axis] * (volume.grid.shape[axis] - 1)
            ras[:3, axis] *= -1
    axes = ras[:3, :3] / np.linalg.norm(ras[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR_TOLERANCE:
        raise GeometryError("grid is sheared", expected="perpendicular axes", hint="resample first")
    return ras_to_lps(ras)


def _quantise(image: np.ndarray, unit: Unit) -> _Stored:
    low, high = float(image.min()), float(image.max())
    if unit is Unit.HU or bool((image == np.rint(image)).all()):
        whole = np.rint(image).astype(np.int64)
        if low < -1024 and low >= np.iinfo(np.int16).min and high <= np.iinfo(np.int16).max:
            return _Stored(whole.astype(np.int16), 1.0, 0.0)
        offset = -1024 if unit is Unit.HU else min(0, int(whole.min()))
        if whole.min() >= offset and whole.max() - offset <= STORED_STEPS:
            return _Stored((whole - offset).astype(np.uint16), 1.0, float(offset))
    slope = float(format_number_as_ds((high - low) / STORED_STEPS if high > low else 1.0))
    intercept = float(format_number_as_ds(low))
    steps = np.clip(np.rint((image.astype(np.float64) - intercept) / slope), 0, STORED_STEPS)
    return _Stored(steps.astype(np.uint16), slope, intercept)


def _slice(identity: SeriesIdentity, stored: _Stored, affine: np.ndarray, k: int, volume: Volume) -> Dataset:
    dataset = Dataset()
    identity.fill(dataset)
    _fill_series(dataset, identity, k)
    _fill_plane(dataset, affine, k, spacing_known=volume.spacing_known)
    # array axes are (column, row, slice); a frame is stored row by row
    _fill_pixels(dataset, np.ascontiguousarray(stored.values[:, :, k].T))
    if identity.modality == "CT" or (stored.slope, stored.intercept) != (1.0, 0.0):
        dataset.RescaleIntercept = _decimal(stored.intercept)
        dataset.RescaleSlope = _decimal(stored.slope)
        dataset.RescaleType = "HU" if volume.unit is Unit.HU else "US"
    return dataset


def _fill_series(dataset: Dataset, identity: SeriesIdentity, k: int) -> None:
    """SOP common, general series, equipment and the image modules of CT (C.8.2.1) or MR (C.8.3.1)."""
    is_ct = identity.modality == "CT"
    dataset.SOPClassUID = CTImageStorage if is_ct else MRImageStorage
    dataset.SOPInstanceUID = identity.uids.uid("image", identity.series_number, k)
    dataset.SeriesInstanceUID = identity.uids.uid("series", identity.series_number)
    dataset.Modality = identity.modality
    dataset.SeriesNumber = identity.series_number
    dataset.SeriesDescription = identity.description
    dataset.Laterality = ""
    dataset.PatientPosition = "HFS"
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = __version__
    dataset.InstanceNumber = k + 1
    dataset.AcquisitionNumber = 1
    dataset.BurnedInAnnotation = "NO"
    dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"] if is_ct else ["DERIVED", "PRIMARY", "OTHER"]
    if is_ct:
        dataset.KVP = None
        return
    dataset.ScanningSequence, dataset.SequenceVariant = "RM", "NONE"
    dataset.ScanOptions = dataset.MRAcquisitionType = ""
    dataset.EchoTime = dataset.EchoTrainLength = dataset.RepetitionTime = None


def _fill_plane(dataset: Dataset, affine: np.ndarray, k: int, *, spacing_known: bool) -> None:
    """Image plane (PS3.3 C.7.6.2); spacing that is only nominal says so in words."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    place = affine[:3, :3] @ np.array([0.0, 0.0, float(k)]) + affine[:3, 3]
    cosines = (affine[:3, :2] / steps[:2]).T.ravel()
    dataset.ImagePositionPatient = [_decimal(value) for value in place]
    dataset.ImageOrientationPatient = [_decimal(value) for value in cosines]
    dataset.PixelSpacing = [_decimal(steps[1]), _decimal(steps[0])]
    dataset.SliceThickness = _decimal(steps[2])
    dataset.SpacingBetweenSlices = _decimal(steps[2])
    dataset.SliceLocation = _decimal(place[2])
    if not spacing_known:
        dataset.ImageComments = "Spacing and position are nominal"


def _fill_pixels(dataset: Dataset, frame: np.ndarray) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = frame.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1 if frame.dtype == np.int16 else 0
    dataset.PixelData = frame.astype(frame.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW"


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2); -0 becomes 0."""
    return str(format_number_as_ds(float(value) + 0.0))


def write_dataset(dataset: Dataset, path: Path) -> None:
    """Write a DICOM file, explicit little endian, whole or not at all.

    Raises:
        StorageError: If the file cannot be written.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    content = BytesIO()
    FileDataset(content, dataset, preamble=b"\0" * 128, file_meta=meta).save_as(
        content, enforce_file_format=True
    )
    write_bytes_atomic(path, content.getvalue())
