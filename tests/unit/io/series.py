"""DICOM series made up for the tests: an oblique grid, one file a slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from medaug.io.headers import quiet_pydicom

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
ROW, COLUMN = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.9701425, -0.2425356])
NORMAL = np.cross(ROW, COLUMN)
ORIGIN, STEP_MM, SPACING = np.array([-10.0, 5.0, 30.0]), 2.5, (0.8, 0.6)
Edit = Callable[[FileDataset, int], None]


def stored_values(count: int = 5, rows: int = 6, columns: int = 7, seed: int = 1) -> np.ndarray:
    """(slice, row, column) int16."""
    return np.random.default_rng(seed).integers(0, 2000, (count, rows, columns)).astype(np.int16)


def write_series(
    folder: Path, stored: np.ndarray, edit: Edit | None = None, sop_class: str = CT, uid: str = ""
) -> list[Path]:
    """Write one file a slice, named so that the order of names is not that of positions."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid(entropy_srcs=[str(folder), sop_class])
    paths = []
    for number, values in enumerate(stored):
        dataset = instance(values, number, sop_class, uid)
        if edit is not None:
            edit(dataset, number)
        path = folder / f"IM{(number * 7) % 10:04d}{number}"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def instance(values: np.ndarray, number: int, sop_class: str, uid: str) -> FileDataset:
    """One slice with everything a reader needs."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[uid, str(number)])
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = uid
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[uid, "study"])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[uid, "frame"])
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "PAT-4711", "Meier^Anna", "19570312"
    dataset.StudyID, dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = (
        "1",
        "20200101",
        "120000",
        "A1",
    )
    dataset.ReferringPhysicianName, dataset.PatientSex, dataset.SeriesNumber = "", "F", 1
    dataset.Modality = "CT" if sop_class == CT else "MR"
    dataset.InstanceNumber = 100 - number
    dataset.ImagePositionPatient = [round(float(v), 6) for v in ORIGIN + NORMAL * STEP_MM * number]
    dataset.ImageOrientationPatient = [float(v) for v in (*ROW, *COLUMN)]
    dataset.PixelSpacing, dataset.SliceThickness = [str(v) for v in SPACING], "9.9"
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *values.shape, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = values.astype("<i2").tobytes()
    return dataset


def write_dicomdir(path: Path, references: Sequence[Sequence[str]]) -> Path:
    """A DICOMDIR of image records alone."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    records = []
    for reference in references:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.add_new("ReferencedFileID", "LO", list(reference))
        records.append(record)
    dataset.DirectoryRecordSequence = records
    dataset.save_as(path, enforce_file_format=True)
    return path


def reread(path: Path) -> FileDataset:
    """The file as pydicom reads it."""
    return pydicom.dcmread(path)


def write_seg(
    path: Path, files: list[Path], masks: np.ndarray, names: list[str], kind: str = "BINARY"
) -> None:
    """A SEG of (slice, row, column, segment) masks on the files, in the order of the files."""
    descriptions = [
        hd.seg.SegmentDescription(
            n, name, codes.SCT.Tissue, codes.SCT.Tissue, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for n, name in enumerate(names, start=1)
    ]
    with quiet_pydicom():
        seg = hd.seg.Segmentation(
            source_images=[reread(f) for f in files],
            pixel_array=masks,
            segmentation_type=kind,
            segment_descriptions=descriptions,
            series_instance_uid=hd.UID(),
            series_number=2,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="test",
            manufacturer_model_name="test",
            software_versions="1",
            device_serial_number="1",
        )
        seg.save_as(path)
