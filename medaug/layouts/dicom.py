"""DICOM: image series with a DICOM SEG beside them; RAS+ becomes LPS+ here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, final

from pydantic import Field

from medaug import __version__
from medaug.core.case import CaseRecord, Manifest, Origin, StoredFile
from medaug.core.errors import LabelError
from medaug.core.findings import Code
from medaug.core.runs import Progress
from medaug.core.storage import sha256_file
from medaug.core.synthetic import says_how
from medaug.core.volume import Unit
from medaug.io.dataset import edit_mask_path, load_case
from medaug.layouts._dicom.identity import SeriesIdentity, Uids
from medaug.layouts._dicom.prediction import write_prediction
from medaug.layouts._dicom.readback import require_same_image, require_same_labels
from medaug.layouts._dicom.segmentation import SegmentationType, SegSettings, write_seg
from medaug.layouts._dicom.series import write_series
from medaug.layouts._dicom.terms import check_terms, parse_terms
from medaug.layouts.base import Export, Layout, LayoutConfig, copy_stored

__all__ = [
    "Config",
    "DicomLayout",
    "SegSettings",
    "SeriesIdentity",
    "Uids",
    "series_folder",
    "write_prediction",
    "write_seg",
    "write_series",
]

_MODALITY = re.compile(r"[A-Z]{2,16}")
_DERIVATIONS: Final = {
    Origin.REAL: "Written anew from the voxels of a scan",
    Origin.SYNTHETIC: "Synthesised in whole or in part",
    Origin.AUGMENTED: "Changed copy of a scan",
}


@final
class Config(LayoutConfig):
    """How label maps are written."""

    kind: Literal["dicom"] = "dicom"
    segmentation: SegmentationType = "BINARY"
    class_codes: str = Field(default="", description="such as nodule=SCT:27925004:Nodule, after commas")

    def build(self) -> Layout:
        """The layout.

        Raises:
            ConfigError: If the codes are not of that form.
        """
        return DicomLayout(SegSettings(self.segmentation, parse_terms(self.class_codes)))

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raise where a class that is given a code is none of these.

        Raises:
            ConfigError: If one is none, or the codes are not of that form.
        """
        check_terms(parse_terms(self.class_codes), classes)


@final
class DicomLayout:
    """``dicom/CASE/CHANNEL/0001.dcm`` and on, ``dicom/CASE/seg.dcm``, ``edits/CASE.nii.gz``.

    A case is a study, a channel is a series. What 16 bits cannot hold is rounded: see :mod:`medaug.layouts._dicom.stored`.
    """

    def __init__(self, settings: SegSettings) -> None:
        self._settings = settings

    def write(self, export: Export, progress: Progress) -> Manifest:
        """Write every case as one study; images leave the manifest, since a series is many files."""
        progress.start("write cases", len(export.manifest.cases))
        records = []
        for record in export.manifest.cases:
            records.append(self._write_case(export, record))
            progress.advance()
        return export.manifest.model_copy(update={"cases": tuple(records)})

    def _write_case(self, export: Export, record: CaseRecord) -> CaseRecord:
        case = load_case(export.dataset, record, export.manifest.classes)
        label = None
        for channel, (folder, identity) in enumerate(_series(export, record)):
            slices = write_series(case.volume, identity, folder, channel=channel)
            if channel == 0 and case.label_map is not None and case.label_map.labels.any():
                path = _seg_path(record)
                write_seg(case.label_map, slices, identity, export.out / path, self._settings)
                label = StoredFile(path=path, sha256=sha256_file(export.out / path))
        edit = record.edit_mask and copy_stored(export, record.edit_mask, edit_mask_path(record.case_id))
        return record.model_copy(update={"images": (), "label": label, "edit_mask": edit})

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Read every series and segmentation back and compare voxel by voxel."""
        progress.start("read back", len(written.cases))
        for record in written.cases:
            case = load_case(export.dataset, export.manifest.case(record.case_id), export.manifest.classes)
            for channel, (folder, _) in enumerate(_series(export, record)):
                target = require_same_image(case, channel, sorted(folder.iterdir()))
                if channel == 0 and record.label is not None:
                    path = export.out / record.label.path
                    require_same_labels(case, target, path, export.manifest.classes)
            if record.label is None and case.label_map is not None and case.label_map.labels.any():
                raise LabelError("segmentation was not written", where=case.case_id)
            progress.advance()


def _seg_path(record: CaseRecord) -> str:
    return f"dicom/{record.case_id}/seg.dcm"


def _series(export: Export, record: CaseRecord) -> Iterator[tuple[Path, SeriesIdentity]]:
    """Folder and identity of each channel.

    UIDs follow from the key, patient, case, image files and version: another content never has the UID of this one.
    """
    images = export.manifest.case(record.case_id).images
    modality, note = _modality(record)
    origin = _origin(record)
    content = (__version__, *(stored.sha256 for stored in images))
    for number, name in enumerate(record.channels, start=1):
        yield (
            export.out / "dicom" / record.case_id / series_folder(record, number),
            SeriesIdentity(
                uids=Uids(export.uid_key, (record.patient_id, record.case_id, *content)),
                patient_id=record.patient_id,
                patient_name=f"{record.patient_id}^",
                modality=modality,
                description=name,
                series_number=number,
                is_synthetic=origin is not Origin.REAL,
                is_own=origin is Origin.AUGMENTED or says_how(export.dataset),
                study=record.case_id,
                derivation=_DERIVATIONS[origin] + note,
            ),
        )


def _origin(record: CaseRecord) -> Origin:
    """What headers state: a case that its own header called synthetic stays so while nobody said otherwise."""
    return Origin.SYNTHETIC if Code.SYNTHETIC_DATA in record.findings else record.origin


def _modality(record: CaseRecord) -> tuple[str, str]:
    """The modality that headers state, and what to say of it: where none is known, HU are CT and the rest counts as MR.

    So what lies somewhere stays an image series that every reader takes; an image without a place stays unknown.
    """
    if _MODALITY.fullmatch(record.modality) and record.modality != "OT":
        return record.modality, ""
    if record.spacing != "known":
        return "OT", ""
    guess = "CT" if record.unit is Unit.HU else "MR"
    return guess, f"; its modality is not known, {guess} is a guess"


def series_folder(record: CaseRecord, number: int) -> str:
    """The folder of a channel, counted from 1: its name where all of a case can be folders, else its number."""
    plain = [re.sub(r"[^A-Za-z0-9+\-_]", "-", name) for name in record.channels]
    apart = len({name.lower() for name in plain}) == len(plain)
    return plain[number - 1] if apart and all(plain) else f"channel_{number}"
