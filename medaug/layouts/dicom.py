"""DICOM: CT or MR image series with a DICOM SEG beside each; RAS+ becomes LPS+ here and nowhere else."""

from __future__ import annotations

from typing import Literal, final

import numpy as np

from medaug.core.case import Case, CaseRecord, Manifest, Origin, StoredFile
from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.runs import Progress
from medaug.core.storage import sha256_file
from medaug.core.volume import Unit
from medaug.io.annotations import combine, target_of
from medaug.io.dataset import edit_mask_path, load_case
from medaug.io.dicom import SeriesVolume, read_series
from medaug.io.segmentation import read_seg
from medaug.layouts._dicom.identity import Modality, SeriesIdentity, Uids
from medaug.layouts._dicom.prediction import write_prediction
from medaug.layouts._dicom.segmentation import write_seg
from medaug.layouts._dicom.series import STORED_STEPS, write_series
from medaug.layouts.base import Export, Layout, LayoutConfig, copy_stored

__all__ = ["Config", "DicomLayout", "SeriesIdentity", "Uids", "write_prediction", "write_seg", "write_series"]


@final
class Config(LayoutConfig):
    """Nothing to set."""

    kind: Literal["dicom"] = "dicom"

    def build(self) -> Layout:
        """The layout."""
        return DicomLayout()


@final
class DicomLayout:
    """``dicom/CASE/CHANNEL/0001.dcm`` and on, ``dicom/CASE/seg.dcm``, ``edits/CASE.nii.gz``.

    Voxels are whole numbers in DICOM: Hounsfield units are rounded to whole ones, other units to a 65535th of
    the case's range where they are not whole already.
    """

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
        folder, label = f"dicom/{record.case_id}", None
        for channel, name in enumerate(record.channels):
            identity = _identity(export, record, name)
            slices = write_series(case.volume, identity, export.out / folder / name, channel=channel)
            if channel == 0 and case.label_map is not None and case.label_map.labels.any():
                path = f"{folder}/seg.dcm"
                write_seg(case.label_map, slices, identity, export.out / path)
                label = StoredFile(path=path, sha256=sha256_file(export.out / path))
        edit = record.edit_mask and copy_stored(export, record.edit_mask, edit_mask_path(record.case_id))
        return record.model_copy(update={"images": (), "label": label, "edit_mask": edit})

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Read every series and segmentation back and compare voxel by voxel."""
        progress.start("read back", len(written.cases))
        for record in written.cases:
            case = load_case(export.dataset, export.manifest.case(record.case_id), export.manifest.classes)
            for channel, name in enumerate(record.channels):
                series = read_series(
                    sorted((export.out / "dicom" / record.case_id / name).iterdir()), where=record.case_id
                )
                _require_same_image(case, channel, series)
                if channel == 0:
                    _require_same_labels(export, record, case, series)
            progress.advance()


def _identity(export: Export, record: CaseRecord, channel: str) -> SeriesIdentity:
    modality: Modality = "CT" if record.modality == "CT" else "MR"
    return SeriesIdentity(
        uids=Uids(export.uid_key, (record.patient_id, record.case_id)),
        patient_id=record.patient_id,
        patient_name=f"{record.patient_id}^",
        modality=modality,
        description=channel,
        series_number=record.channels.index(channel) + 1,
        is_synthetic=record.origin is not Origin.REAL,
    )


def _require_same_image(case: Case, channel: int, series: SeriesVolume) -> None:
    """Half a stored step may be lost, and a hundredth of a millimetre in the text of the header."""
    wanted, found = case.volume, series.volume
    if not wanted.grid.agrees_with(found.grid, tolerance_mm=0.01):
        raise GeometryError("series lies elsewhere than its image", where=case.case_id)
    image = wanted.image[channel]
    allowed = 0.5 if wanted.unit is Unit.HU else 0.5 * float(np.ptp(image)) / STORED_STEPS
    lost = float(np.abs(image - found.image[0]).max())
    if lost > 1.01 * allowed + 1e-6 * float(np.abs(image).max()):
        raise UnreadableError(
            f"series loses up to {lost:g}", where=case.case_id, expected=f"at most {allowed:g}"
        )


def _require_same_labels(export: Export, record: CaseRecord, case: Case, series: SeriesVolume) -> None:
    if record.label is None:
        if case.label_map is not None and case.label_map.labels.any():
            raise LabelError("segmentation was not written", where=case.case_id)
        return
    seg = read_seg(export.out / record.label.path, target_of(series), where=case.case_id)
    labels = combine(seg.segments, export.manifest.classes, where=case.case_id).labels
    if case.label_map is None or not np.array_equal(labels, case.label_map.labels):
        raise LabelError("segmentation differs from the label map", where=case.case_id)
