"""One channel of a volume as a series of single-frame CT, MR or secondary capture images."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from medaug import __version__
from medaug.core.storage import write_bytes_atomic
from medaug.core.volume import Unit, Volume
from medaug.layouts._dicom.identity import MANUFACTURER, SeriesIdentity
from medaug.layouts._dicom.placing import affine_of, count, frames_of, place, text, unplaced
from medaug.layouts._dicom.stored import Coding, Stored, store

_CLASSES: Final = {"CT": CTImageStorage, "MR": MRImageStorage}
_LO_LENGTH: Final = 64
_VALUE_TYPES: Final = {Unit.HU: "HU", Unit.SUV: "SUV", Unit.ARBITRARY: "US"}


def write_series(
    volume: Volume, identity: SeriesIdentity, folder: Path, *, channel: int = 0
) -> tuple[Dataset, ...]:
    """Write ``0001.dcm`` and on, one slice each: along K, or along the axis of clearly the longest steps.

    CT and MR Image Storage where that is the modality and the spacing is known; else Secondary Capture, which tells where
    it lies if the spacing is known, and the order and number of slices otherwise: what :mod:`medaug.io.dicom` reads back.
    How intensities are kept: :func:`store`.

    Args:
        volume: RAS+; its affine may be oblique, but not sheared.
        identity: What the headers say.
        folder: Made where it is missing.
        channel: Which channel of the volume.

    Returns:
        The headers, in slice order, for a segmentation to refer to.

    Raises:
        GeometryError: If the grid is sheared, which an image plane cannot express.
        UnreadableError: If a value is not finite.
        StorageError: If a file cannot be written.
    """
    grid = volume.grid if volume.spacing_known else unplaced(volume.grid)
    stored = store(frames_of(volume.image[channel], grid), volume.unit)
    affine = affine_of(grid) if volume.spacing_known else None
    slices = []
    for k, frame in enumerate(stored.frames):
        dataset = _header(identity, k, is_placed=affine is not None)
        if affine is not None:
            place(dataset, affine, k)
        else:
            count(dataset, grid)
        dataset.DerivationDescription = _derivation(identity, stored)
        _fill_values(dataset, stored, volume.unit)
        _fill_pixels(dataset, frame)
        write_dataset(dataset, folder / f"{k + 1:04d}.dcm")
        slices.append(dataset)
    return tuple(slices)


def _header(identity: SeriesIdentity, k: int, *, is_placed: bool) -> Dataset:
    """SOP common, general series and equipment, and the image modules."""
    dataset = Dataset()
    identity.fill(dataset, is_placed=is_placed)
    known = _CLASSES.get(identity.modality) if is_placed else None
    dataset.SOPClassUID = known or SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = identity.uids.uid("image", identity.series_number, k)
    dataset.SeriesInstanceUID = identity.uids.uid("series", identity.series_number)
    dataset.Modality = identity.modality
    dataset.SeriesNumber = identity.series_number
    dataset.SeriesDescription = identity.description[:_LO_LENGTH]
    dataset.Laterality = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = __version__
    dataset.InstanceNumber = k + 1
    dataset.AcquisitionNumber = 1
    # a synthetic image was not made by examining a patient (PS3.3 C.7.6.1.1.2)
    dataset.ImageType = ["DERIVED", "SECONDARY" if identity.is_synthetic else "PRIMARY"]
    if known is None:
        _fill_capture(dataset, identity)
    elif known == CTImageStorage:
        _fill_ct(dataset)
    else:
        _fill_mr(dataset)
    return dataset


def _fill_ct(dataset: Dataset) -> None:
    """CT Image (C.8.2.1)."""
    dataset.ImageType = [*dataset.ImageType, "AXIAL"]
    dataset.PatientPosition = ""
    dataset.KVP = None


def _fill_mr(dataset: Dataset) -> None:
    """MR Image (C.8.3.1); the sequence is not known."""
    dataset.ImageType = [*dataset.ImageType, "OTHER"]
    dataset.PatientPosition = ""
    dataset.ScanningSequence, dataset.SequenceVariant = "RM", "NONE"
    dataset.ScanOptions = dataset.MRAcquisitionType = ""
    dataset.EchoTime = dataset.EchoTrainLength = dataset.RepetitionTime = None


def _fill_capture(dataset: Dataset, identity: SeriesIdentity) -> None:
    """SC Equipment (C.8.6.1): a synthetic image, or one that a workstation wrote."""
    dataset.ConversionType = "SYN" if identity.is_synthetic else "WSD"
    dataset.PatientOrientation = ""


def _derivation(identity: SeriesIdentity, stored: Stored) -> str:
    kept = (
        f"in steps of {stored.coding.slope:g}, off by at most {stored.loss:.3g}" if stored.loss else "exactly"
    )
    return f"{identity.derivation or 'Written anew from voxels'}. Intensities are kept {kept}."


def _fill_values(dataset: Dataset, stored: Stored, unit: Unit) -> None:
    """Modality and VOI look-up (C.11.1, C.11.2)."""
    coding = stored.coding
    if dataset.Modality == "CT" or unit is not Unit.ARBITRARY or _is_rescaled(coding):
        dataset.RescaleIntercept, dataset.RescaleSlope = text(coding.intercept), text(coding.slope)
        dataset.RescaleType = _VALUE_TYPES[unit]
    centre, width = stored.window
    dataset.WindowCenter, dataset.WindowWidth = text(centre), text(width)
    if width < 1:
        # the plain linear function has no width below 1 (C.11.2.1.2.1)
        dataset.VOILUTFunction = "LINEAR_EXACT"


def _is_rescaled(coding: Coding) -> bool:
    return (coding.slope, coding.intercept) != (1.0, 0.0)


def _fill_pixels(dataset: Dataset, frame: np.ndarray) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = frame.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1 if frame.dtype == np.int16 else 0
    dataset.PixelData = frame.astype(frame.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW"


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
