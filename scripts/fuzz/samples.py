"""Small valid sources of every kind that ingest reads, each with planted identifiers, for the fuzzer to damage."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

CANARY = "zq7x"
Files = dict[str, bytes]
# JPEG 2000 halves an image five times
_ROWS, _COLUMNS, _SLICES = 34, 32, 3
_CT, _MR, _PET = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
_US, _ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.4.1"
_RTSTRUCT, _DICOMDIR = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.1.3.10"
_ROOT = "1.2.826.0.1.3680043.10.1."


def canary(what: str) -> str:
    """Text that no message, log or public file may hold."""
    return f"{CANARY.capitalize()}{what}"


def _values(seed: int, count: int = _SLICES) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2000, (count, _ROWS, _COLUMNS)).astype("<i2")


def _dataset(sop_class: str, uid: str, syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.ImplementationClassUID = UID(_ROOT + "9")
    dataset = FileDataset(
        "",
        {},
        file_meta=meta,
        preamble=b"\0" * 128,
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
    )
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = canary("Name^Änna"), canary("Id")
    dataset.PatientBirthDate, dataset.AccessionNumber = "19570312", canary("Acc")
    dataset.ReferringPhysicianName, dataset.StudyDescription = canary("Doctor"), canary("Study")
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = _ROOT + "1", _ROOT + "2"
    dataset.SeriesInstanceUID = _ROOT + "3"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.SeriesNumber = "20200101", "120000", "1", 1
    block = dataset.private_block(0x0011, canary("Creator"), create=True)
    block.add_new(1, "LO", canary("Private"))
    return dataset


def _pixels(dataset: Dataset, frames: np.ndarray, *, signed: bool = True) -> None:
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = _ROWS, _COLUMNS, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", int(signed)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OW"


def _place(dataset: Dataset, number: int) -> None:
    dataset.ImagePositionPatient = [-10.0, 5.0, 2.5 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = ["0.8", "0.6"], "2.5"


def _saved(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _slice(
    number: int, values: np.ndarray, sop_class: str = _CT, syntax: str = ExplicitVRLittleEndian
) -> bytes:
    dataset = _dataset(sop_class, f"{_ROOT}4.{number + 1}", syntax)
    dataset.Modality = {_CT: "CT", _MR: "MR", _PET: "PT"}[sop_class]
    dataset.ImageType, dataset.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], number
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024" if sop_class == _CT else "0"
    if sop_class == _PET:
        dataset.Units, dataset.DecayCorrection, dataset.CorrectedImage = "BQML", "START", ["ATTN", "DECY"]
        dataset.PatientWeight, dataset.SeriesDate, dataset.SeriesTime = "70", "20200101", "120500"
        isotope = Dataset()
        isotope.RadionuclideTotalDose, isotope.RadionuclideHalfLife = "350000000", "6586.2"
        isotope.RadiopharmaceuticalStartTime = "110000"
        dataset.RadiopharmaceuticalInformationSequence = [isotope]
    _place(dataset, number)
    _pixels(dataset, values)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = values.astype(">i2").tobytes()
    if syntax in (RLELossless, JPEG2000Lossless):
        # compress() begins with what is uncompressed
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(UID(syntax), values, generate_instance_uid=False)
    return _saved(dataset)


def series(seed: int = 1, sop_class: str = _CT, syntax: str = ExplicitVRLittleEndian) -> Files:
    """Three slices in one transfer syntax."""
    values = _values(seed)
    return {f"IM{number}": _slice(number, values[number], sop_class, syntax) for number in range(_SLICES)}


def _enhanced(seed: int) -> Files:
    dataset = _dataset(_ENHANCED_MR, _ROOT + "5")
    dataset.Modality, dataset.ImageType = "MR", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared, measures, orientation, transform = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.8", "0.6"], "2.5"
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = "1", "0", "US"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [transform]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number in range(_SLICES):
        frame, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-10.0, 5.0, 2.5 * number]
        content.StackID, content.InStackPositionNumber = "1", number + 1
        content.DimensionIndexValues = [1, number + 1]
        frame.PlanePositionSequence, frame.FrameContentSequence = [position], [content]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.NumberOfFrames = _SLICES
    _pixels(dataset, _values(seed), signed=False)
    return {"enhanced.dcm": _saved(dataset)}


def _ultrasound(seed: int) -> Files:
    dataset = _dataset(_US, _ROOT + "6")
    dataset.Modality = "US"
    _pixels(dataset, _values(seed, 1), signed=False)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    rng = np.random.default_rng(seed)
    dataset.PixelData = rng.integers(0, 255, (_ROWS, _COLUMNS, 3)).astype(np.uint8).tobytes()
    return {"us": _saved(dataset)}


def _jpeg(seed: int) -> Files:
    """A baseline JPEG frame that is none: what decoders meet when the fragment is damaged."""
    files = series(seed)
    dataset = _dataset(_CT, f"{_ROOT}4.9", "1.2.840.10008.1.2.4.70")
    dataset.Modality = "CT"
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    _place(dataset, _SLICES)
    _pixels(dataset, _values(seed, 1))
    noise = np.random.default_rng(seed).bytes(200)
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xc3\x00\x0b\x10" + noise + b"\xff\xd9"])
    return files | {"IM9": _saved(dataset)}


def _seg(seed: int) -> Files:
    """A BINARY SEG, every frame a function of the standard's and nothing else (PS3.3 A.51)."""
    files = series(seed)
    dataset = _dataset("1.2.840.10008.5.1.4.1.1.66.4", _ROOT + "7")
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SegmentationType = _ROOT + "8", "SEG", "BINARY"
    reference = Dataset()
    reference.SeriesInstanceUID = _ROOT + "3"
    items = []
    for number in range(_SLICES):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = _CT, f"{_ROOT}4.{number + 1}"
        items.append(item)
    reference.ReferencedInstanceSequence = items
    dataset.ReferencedSeriesSequence = [reference]
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 1, "solid", "MANUAL"
    dataset.SegmentSequence = [segment]
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.8", "0.6"], "2.5"
    measures.SpacingBetweenSlices = "2.5"
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_seg_frame(number) for number in range(_SLICES)]
    dimension = Dataset()
    dimension.DimensionIndexPointer, dimension.FunctionalGroupPointer = 0x00200032, 0x00209113
    dataset.DimensionIndexSequence = [dimension]
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = _SLICES, _ROWS, _COLUMNS
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 1, 1, 0, 0
    mask = np.zeros((_SLICES, _ROWS, _COLUMNS), np.uint8)
    mask[1:, 3:6, 2:5] = 1
    dataset.PixelData = np.packbits(mask.ravel(), bitorder="little").tobytes()
    dataset["PixelData"].VR = "OB"
    return files | {"seg.dcm": _saved(dataset)}


def _seg_frame(number: int) -> Dataset:
    frame, position, content, which = Dataset(), Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [-10.0, 5.0, 2.5 * number]
    content.DimensionIndexValues = [number + 1]
    which.ReferencedSegmentNumber = 1
    frame.PlanePositionSequence, frame.FrameContentSequence = [position], [content]
    frame.SegmentIdentificationSequence = [which]
    return frame


def _rtstruct(seed: int) -> Files:
    files = series(seed)
    dataset = _dataset(_RTSTRUCT, _ROOT + "7")
    dataset.SeriesInstanceUID, dataset.Modality, dataset.StructureSetLabel = _ROOT + "8", "RTSTRUCT", "1"
    roi, drawn, study, of_series, frame = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "solid", _ROOT + "2"
    dataset.StructureSetROISequence = [roi]
    of_series.SeriesInstanceUID = _ROOT + "3"
    study.ReferencedSOPInstanceUID, study.RTReferencedSeriesSequence = _ROOT + "1", [of_series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = _ROOT + "2", [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    contours = []
    for number in range(_SLICES):
        contour, image = Dataset(), Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = _CT, f"{_ROOT}4.{number + 1}"
        contour.ContourImageSequence, contour.ContourGeometricType = [image], "CLOSED_PLANAR"
        corners = [(-9, 6), (-6, 6), (-6, 9), (-9, 9)]
        contour.NumberOfContourPoints = len(corners)
        contour.ContourData = [str(v) for x, y in corners for v in (x, y, 2.5 * number)]
        contours.append(contour)
    drawn.ReferencedROINumber, drawn.ContourSequence = 1, contours
    dataset.ROIContourSequence = [drawn]
    observation = Dataset()
    observation.ObservationNumber, observation.ReferencedROINumber = 1, 1
    observation.RTROIInterpretedType, observation.ROIInterpreter = "", canary("Reader")
    dataset.RTROIObservationsSequence = [observation]
    return files | {"rt.dcm": _saved(dataset)}


def _dicomdir(seed: int) -> Files:
    files = {f"DIR/{name}": content for name, content in series(seed).items()}
    dataset = _dataset(_DICOMDIR, _ROOT + "0")
    del dataset.SeriesInstanceUID
    records = []
    for name in ["IM0", "IM1", "IM2"]:
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["DIR", name]
        records.append(record)
    dataset.DirectoryRecordSequence = records
    return files | {"DICOMDIR": _saved(dataset)}


def _nifti(seed: int, kind: type[nib.Nifti1Image] | type[nib.Nifti2Image] = nib.Nifti1Image) -> bytes:
    image = kind(_values(seed).transpose(2, 1, 0) - 1000, np.diag([-0.7, -0.8, 2.0, 1.0]))
    header = image.header
    header["descrip"], header["intent_name"], header["aux_file"] = (
        canary("Note"),
        canary("Intent"),
        canary("Aux"),
    )
    if kind is nib.Nifti1Image:
        header["db_name"] = canary("Db")
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", canary("Extension").encode()))
    return bytes(image.to_bytes())


def _label(seed: int) -> bytes:
    labels = np.zeros((_COLUMNS, _ROWS, _SLICES), np.uint8)
    labels[2:5, 3:6, 1:] = 1 + seed % 2
    return bytes(nib.Nifti1Image(labels, np.diag([-0.7, -0.8, 2.0, 1.0])).to_bytes())


def _niftis(seed: int) -> Files:
    return {
        "images/a.nii": _nifti(seed),
        "labels/a.nii.gz": gzip.compress(_label(seed), 1, mtime=0),
    }


def _nifti_2(seed: int) -> Files:
    return {"a.nii.gz": gzip.compress(_nifti(seed, nib.Nifti2Image), 1, mtime=0), "a_seg.nii": _label(seed)}


def _nrrd(seed: int) -> Files:
    head = (
        "NRRD0004\n# made by the fuzzer\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {_COLUMNS} {_ROWS} {_SLICES}\nspace directions: (0.6,0,0) (0,0.8,0) (0,0,2.5)\n"
        f"kinds: domain domain domain\nendian: little\nencoding: {'gzip' if seed % 2 else 'raw'}\n"
        f"space origin: (-10,5,0)\ncontent: {canary('Content')}\nwho:={canary('Person')}\n\n"
    )
    raw = (_values(seed) - 1000).astype("<i2").tobytes()
    return {"a.nrrd": head.encode() + (gzip.compress(raw, 1, mtime=0) if seed % 2 else raw)}


def _metaimage(seed: int) -> Files:
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = {bool(seed % 2)}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -10 5 0\n"
        f"Comment = {canary('Comment')}\nElementSpacing = 0.6 0.8 2.5\nDimSize = {_COLUMNS} {_ROWS} {_SLICES}\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    raw = (_values(seed) - 1000).astype("<i2").tobytes()
    return {"a.mha": head.encode() + (zlib.compress(raw, 1) if seed % 2 else raw)}


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_of(values: np.ndarray) -> bytes:
    rows, columns = values.shape
    raw = b"".join(b"\0" + line.tobytes() for line in values.astype(np.uint8))
    head = struct.pack(">2I5B", columns, rows, 8, 0, 0, 0, 0)
    text = b"Author\0" + canary("Author").encode()
    parts = [(b"IHDR", head), (b"tEXt", text), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _png(seed: int) -> Files:
    mask = np.zeros((_ROWS, _COLUMNS))
    mask[3:6, 2:5] = 255
    return {"images/a.png": _png_of(_values(seed, 1)[0] % 256), "masks/a.png": _png_of(mask)}


def _tiff(seed: int) -> Files:
    values = (_values(seed, 1)[0]).astype("<u2").tobytes()
    at = 8 + len(values)
    note = canary("Artist").encode() + b"\0"
    tags = [(256, 4, 1, _COLUMNS), (257, 4, 1, _ROWS), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, _ROWS), (279, 4, 1, len(values))]
    tags += [(315, 2, len(note), at + 2 + 12 * 10 + 4)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return {"images/a.tif": b"II*\0" + struct.pack("<I", at) + values + directory + note}


def _zip(seed: int) -> Files:
    buffer = io.BytesIO()
    members = {f"{canary('Member')}/{name}": content for name, content in series(seed).items()} | _niftis(
        seed
    )
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if seed % 2 else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
    return {"scans.zip": buffer.getvalue()}


def _table(seed: int) -> Files:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(
        ["case_id", "patient_id", "image", "label", "lesion_classes", "label_ids", "lesion_free", "remark"]
    )
    writer.writerow(
        ["c1", "p1", "images/a.nii", "labels/a.nii.gz", "solid;other", "1;2", "no", canary("Remark")]
    )
    writer.writerow(["c2", "p2", "images/b.nii", "", "", "", "yes", ""])
    return _niftis(seed) | {"images/b.nii": _nifti(seed + 1), "cases.csv": buffer.getvalue().encode()}


def _nnunet(seed: int) -> Files:
    said = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "solid": 1, "other": 2},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        "description": canary("Text"),
    }
    image = gzip.compress(_nifti(seed), 1, mtime=0)
    label = gzip.compress(_label(seed), 1, mtime=0)
    described = json.dumps(said).encode()
    return {"imagesTr/a_0000.nii.gz": image, "labelsTr/a.nii.gz": label, "dataset.json": described}


def _syntax(uid: str) -> Callable[[int], Files]:
    return lambda seed: series(seed, syntax=uid)


MAKERS: dict[str, Sequence[Callable[[int], Files]]] = {
    "dicom": (
        series,
        _syntax(ImplicitVRLittleEndian),
        _syntax(ExplicitVRBigEndian),
        _syntax(DeflatedExplicitVRLittleEndian),
        _syntax(RLELossless),
        _syntax(JPEG2000Lossless),
        _jpeg,
        lambda seed: series(seed, _MR),
        lambda seed: series(seed, _PET),
        _ultrasound,
    ),
    "enhanced": (_enhanced,),
    "seg": (_seg,),
    "rtstruct": (_rtstruct,),
    "dicomdir": (_dicomdir,),
    "nifti": (_niftis, _nifti_2),
    "nrrd": (_nrrd,),
    "metaimage": (_metaimage,),
    "png": (_png,),
    "tiff": (_tiff,),
    "zip": (_zip,),
    "table": (_table,),
    "json": (_nnunet,),
}
