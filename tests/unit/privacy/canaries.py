"""DICOM files in which every attribute of the confidentiality table holds a value that stands nowhere else."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache

import pydicom
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medaug.privacy._deidentify.table import Row, rows

ROWS = tuple(row for row in rows() if row.tag.isalnum() and "x" not in row.tag and row.tag != "private")
# The dictionary of pydicom knows these; the others are unknown elements, which go
KNOWN = tuple(
    row for row in ROWS if int(row.tag, 16) in DicomDictionary and row.tag[:4] not in ("0000", "0002", "0004")
)
PREAMBLE = b"CANARYPREAMBLE".ljust(128, b"!")


@dataclass
class Canaries:
    """A file and what it holds: bytes that may not come out, by where they stand."""

    dataset: FileDataset
    values: dict[str, bytes] = field(default_factory=dict)

    def content(self) -> bytes:
        out = io.BytesIO()
        self.dataset.save_as(out, enforce_file_format=True)
        return out.getvalue()


def vr_of(row: Row) -> str:
    return row.vr.split(" or ")[0]


def value_of(row: Row, number: int) -> object:
    """A valid value for the representation that no other row and no other place has."""
    vr, day = vr_of(row), f"{1931 + number % 60}{1 + number % 12:02d}{1 + number % 28:02d}"
    made: dict[str, object] = {
        "AE": f"CANARY{number:05d}",
        "AS": f"{number % 80:03d}Y",
        "CS": f"CANARY{number:05d}",
        "DA": day,
        "DT": f"{day}{number % 24:02d}1507.{number:06d}",
        "TM": f"{number % 24:02d}1507.{number:06d}",
        "DS": f"{number}.7531",
        "IS": str(7_000_000 + number),
        "PN": f"Canary{number:05d}^Zachariasz",
        "UI": f"1.2.826.0.1.99999.{number}",
        "UR": f"http://canary{number:05d}.example/x",
        "US": 40_000 + number % 20_000,
        "UL": 4_000_000 + number,
    }
    if vr in made:
        return made[vr]
    if vr in ("OB", "OW", "UN"):
        return f"CANARY{number:06d}".encode("ascii")
    return f"CANARY{number:05d}"


def raw_of(row: Row, number: int) -> bytes | None:
    """The bytes to be searched for; None where the value is too common to tell."""
    value = value_of(row, number)
    if vr_of(row) in ("AS", "US", "UL", "DA", "TM", "DS"):
        return None
    return value if isinstance(value, bytes) else str(value).split("^")[0].encode("ascii")


def base(syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    """A small CT slice of a patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID("1.2.826.0.1.88888.1")
    meta.TransferSyntaxUID = UID(syntax)
    is_little, is_implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    dataset = FileDataset("canary.dcm", {}, PREAMBLE, meta, is_implicit, is_little)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, UID("1.2.826.0.1.88888.1")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.88888.2", "1.2.826.0.1.88888.3"
    dataset.PatientID, dataset.PatientName = "MRN4711-A", "Kowalczyk^Bronislawa"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = bytes(range(32))
    return dataset


@lru_cache(maxsize=8)
def table_file(depth: int, syntax: str = ExplicitVRLittleEndian) -> Canaries:
    """Every row of the table at a depth of items, 0 being the data set itself; not to be changed."""
    made = Canaries(base(syntax))
    inner = made.dataset if depth == 0 else Dataset()
    for index, row in enumerate(KNOWN):
        number = index + 1000 * (depth + 1)
        tag = int(row.tag, 16)
        if row.keyword == "SOPInstanceUID":
            continue
        if vr_of(row) == "SQ":
            item = Dataset()
            item.CodeMeaning = f"CANARY{number:05d}"
            inner[tag] = DataElement(tag, "SQ", Sequence([item]))
            continue
        inner[tag] = DataElement(tag, vr_of(row), value_of(row, number))
        if (raw := raw_of(row, number)) is not None:
            made.values[row.tag] = raw
    for _ in range(depth - 1):
        outer = Dataset()
        outer.ReferencedSeriesSequence = Sequence([inner])
        inner = outer
    if depth:
        made.dataset.ReferencedSeriesSequence = Sequence([inner])
    return made


def odd_places(syntax: str = ExplicitVRLittleEndian) -> Canaries:
    """Canaries in private elements, overlays, curves, group lengths, file meta, unknown elements and the preamble."""
    made = Canaries(base(syntax))
    dataset, say = made.dataset, {}
    for name in (
        "creator",
        "private",
        "inner",
        "overlay",
        "comment",
        "curve",
        "entity",
        "unknown",
        "meta",
        "padding",
    ):
        say[name] = f"CANARY-{name}"
        made.values[name] = say[name].encode("ascii")
    made.values["preamble"] = b"CANARYPREAMBLE"
    block = dataset.private_block(0x0029, say["creator"], create=True)
    block.add_new(0x01, "LO", say["private"])
    item = Dataset()
    item.PatientName = say["inner"]
    block.add_new(0x02, "SQ", Sequence([item]))
    dataset.add_new(0x60003000, "OW", say["overlay"].encode("ascii").ljust(32))
    dataset.add_new(0x60024000, "LT", say["comment"])
    dataset.add_new(0x50003000, "OB", say["curve"].encode("ascii").ljust(32))
    dataset.add_new(0x00189998, "LO", say["unknown"])
    dataset.add_new(0xFFFCFFFC, "OB", say["padding"].encode("ascii").ljust(32))
    dataset.file_meta.SourceApplicationEntityTitle = "CANARY-meta"
    dataset.file_meta.PrivateInformationCreatorUID = UID("1.2.826.0.1.77777.1")
    dataset.file_meta.PrivateInformation = say["entity"].encode("ascii").ljust(32)
    made.values["meta uid"] = b"1.2.826.0.1.77777.1"
    return made


def parse(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))
