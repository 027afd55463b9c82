"""Single DICOM pictures and their frames, made up for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from medaug.io._dicom.classic import pixel_format, rescale_of
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Frame, Plane, Rescale
from medaug.io.headers import quiet_pydicom
from tests.unit.io.series import MR, instance

Change = Callable[[FileDataset], None]


def write_picture(path: Path, stored: np.ndarray, change: Change | None = None, sop_class: str = MR) -> Path:
    """A (rows, columns), (rows, columns, 3) or (frames, rows, columns) array as one file, rescale 1 and 0."""
    pixels = stored[0] if stored.ndim == 3 and stored.shape[-1] != 3 else stored
    dataset = instance(pixels[:, :, 0] if pixels.ndim == 3 else pixels, 0, sop_class, "1.2.3")
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "0"
    if pixels.ndim == 3:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    elif stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    bits = 8 * stored.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    if change is not None:
        change(dataset)
    # a plain data set has no encoding of its own yet, so that any transfer syntax can be written
    plain = Dataset(dataset)
    plain.file_meta = dataset.file_meta
    with quiet_pydicom():
        plain.save_as(path, enforce_file_format=True)
    return path


def encoded_as(syntax: str, *frames: bytes) -> Change:
    """Put encoded frames in the place of the pixels."""

    def change(dataset: FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate(list(frames))
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    return change


def compressed_as(syntax: str) -> Change:
    """Compress with the encoder at hand."""

    def change(dataset: FileDataset) -> None:
        with quiet_pydicom():
            dataset.compress(UID(syntax), generate_instance_uid=False)

    return change


def frames_of(path: Path, rescale: Rescale | None = None, modality: str = "") -> list[Frame]:
    """The frames of a file, as any header parser would make them, without the short cut of a pixel offset."""
    with quiet_pydicom():
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        elements = Elements.of(dataset)
        pixels = pixel_format(elements, str(dataset.file_meta.TransferSyntaxUID))
        rescale = rescale or rescale_of(elements, "")[0]
    count = int(dataset.get("NumberOfFrames") or 1)
    return [
        Frame(
            path=path,
            number=number,
            frames_in_file=count,
            tile=None,
            instance_uid="1.2.3.4",
            patient=("PAT-4711", "", ""),
            frame_of_reference_uid="",
            modality=modality or str(dataset.Modality),
            plane=Plane(None, None, None, None),
            thickness_mm=None,
            pixels=pixels,
            rescale=rescale,
            is_scout=False,
            traits=(),
            pixel_offset=None,
        )
        for number in range(count)
    ]
