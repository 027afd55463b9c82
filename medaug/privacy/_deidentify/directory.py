"""The directory of a file-set (DICOMDIR, PS3.3 annex F), made of cleaned files alone."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import pydicom
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.fileset import DIRECTORY_RECORDERS, _four_level_record_type
from pydicom.filewriter import write_dataset

from medaug.privacy._deidentify.dates import DUMMY_DATE, DUMMY_TIME
from medaug.privacy._deidentify.marks import meta_elements
from medaug.privacy._deidentify.secret import Pseudonyms
from medaug.privacy._deidentify.stream import EXPLICIT, Element, write_elements, write_meta

DIRECTORY_CLASS: Final = "1.2.840.10008.1.3.10"
_LEVELS: Final = ("PATIENT", "STUDY", "SERIES")
_ITEM_HEAD, _SEQUENCE_HEAD = 8, 12
_IN_USE, _CONSISTENT = 0xFFFF, 0
# What a record must hold (PS3.3 F.5) and an image may lack, or the profile empties
_STAND_INS: Final = {
    "StudyDate": DUMMY_DATE, "StudyTime": DUMMY_TIME, "StudyID": "1", "Modality": "OT", "SeriesNumber": "0",
    "InstanceNumber": "0", "ContentDate": DUMMY_DATE, "ContentTime": DUMMY_TIME, "ContentLabel": "ANON",
    "CompletionFlag": "PARTIAL", "VerificationFlag": "UNVERIFIED", "StructureSetLabel": "ANON",
    "PresentationCreationDate": DUMMY_DATE, "PresentationCreationTime": DUMMY_TIME,
}  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """What the directory says of one file.

    Attributes:
        file: Path below the directory, each part as a file-set wants it (PS3.10 8.2).
        uids: SOP class, SOP instance and transfer syntax.
        keys: What tells patient, study, series and instance from others.
        kinds: Of the four records.
        records: The four records without their offsets, as they are written.
    """

    file: str
    uids: tuple[str, str, str]
    keys: tuple[str, ...]
    kinds: tuple[str, ...]
    records: tuple[bytes, ...]


def directory_entry(content: bytes, file: str) -> Entry | None:
    """What a directory says of a cleaned file; nothing where the file lacks what its record must hold."""
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    kinds = (*_LEVELS, _four_level_record_type(dataset))
    for keyword, value in _STAND_INS.items():
        if not dataset.get(keyword):
            setattr(dataset, keyword, value)
    try:
        records = tuple(_record(dataset, kind) for kind in kinds)
        keys = (str(dataset.PatientID), str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID))
    except (AttributeError, ValueError):
        return None
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    uids = (str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), syntax)
    return Entry(file, uids, (*keys, uids[1]), kinds, records)


def write_directory(entries: Iterable[Entry], pseudonyms: Pseudonyms) -> bytes:
    """A directory of these files; the same files give the same bytes."""
    roots = _tree(entries)
    nodes = [node for root in roots for node in root.walk()]
    instance = pseudonyms.uid("directory " + " ".join(node.key for node in nodes))
    meta = write_meta(meta_elements(DIRECTORY_CLASS, instance, EXPLICIT.uid))
    before = len(meta) + len(write_elements(_head(0, 0), EXPLICIT)) + _SEQUENCE_HEAD
    for node in nodes:
        node.offset, before = before, before + _ITEM_HEAD + len(node.content(0))
    items = b"".join(_item(node.content(following)) for node, following in _with_next(roots))
    ends = (roots[0].offset, roots[-1].offset) if roots else (0, 0)
    head = write_elements(_head(*ends), EXPLICIT)
    sequence = struct.pack("<HH2sHI", 0x0004, 0x1220, b"SQ", 0, len(items))
    return meta + head + sequence + items


@final
@dataclass(slots=True)
class _Node:
    """A record and those below it."""

    key: str
    kind: str
    record: bytes
    entry: Entry | None = None
    below: dict[tuple[str, str], _Node] = field(default_factory=dict)
    offset: int = 0

    def walk(self) -> Iterator[_Node]:
        """This record, then all below it."""
        yield self
        for node in self.below.values():
            yield from node.walk()

    def content(self, following: int) -> bytes:
        """The record with the offsets of the next one and of the first below it (PS3.3 F.3.2.2)."""
        lower = next(iter(self.below.values())).offset if self.below else 0
        elements = [
            Element(0x00041400, "UL", struct.pack("<I", following)),
            Element(0x00041410, "US", struct.pack("<H", _IN_USE)),
            Element(0x00041420, "UL", struct.pack("<I", lower)),
            Element(0x00041430, "CS", self.kind.encode("ascii")),
        ]
        if self.entry is not None:
            file = self.entry.file.replace("/", "\\")
            elements.append(Element(0x00041500, "CS", file.encode("ascii")))
            for tag, uid in zip((0x00041510, 0x00041511, 0x00041512), self.entry.uids, strict=True):
                elements.append(Element(tag, "UI", uid.encode("ascii")))
        return write_elements(elements, EXPLICIT) + self.record


def _tree(entries: Iterable[Entry]) -> Sequence[_Node]:
    """Patients with their studies, series and instances, in the order in which they come."""
    top: dict[tuple[str, str], _Node] = {}
    for entry in entries:
        level = top
        for key, kind, record in zip(entry.keys, entry.kinds, entry.records, strict=True):
            leaf = entry if kind == entry.kinds[-1] else None
            # two files of one instance have a record each
            node = level.setdefault((key, entry.file if leaf else ""), _Node(key, kind, record, leaf))
            level = node.below
    return tuple(top.values())


def _with_next(nodes: Sequence[_Node]) -> Iterator[tuple[_Node, int]]:
    """All records in their order, each with the offset of the next one beside it."""
    for node, following in zip(nodes, (*nodes[1:], None), strict=False):
        yield node, following.offset if following is not None else 0
        yield from _with_next(tuple(node.below.values()))


def _head(first: int, last: int) -> list[Element]:
    return [
        Element(0x00041130, "CS"),
        Element(0x00041200, "UL", struct.pack("<I", first)),
        Element(0x00041202, "UL", struct.pack("<I", last)),
        Element(0x00041212, "US", struct.pack("<H", _CONSISTENT)),
    ]


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _record(dataset: Dataset, kind: str) -> bytes:
    record = DIRECTORY_RECORDERS[kind](dataset)
    if "SpecificCharacterSet" in dataset:
        record.SpecificCharacterSet = dataset.SpecificCharacterSet
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, record)
    return out.getvalue()
