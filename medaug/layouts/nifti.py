"""Plain NIfTI with a ``cases.csv``: the form that a person would make by hand."""

from __future__ import annotations

import csv
import io
from typing import Literal, final

from medaug.core.case import CaseRecord, Manifest
from medaug.core.runs import Progress
from medaug.core.storage import write_text_atomic
from medaug.layouts.base import Export, Layout, LayoutConfig, check_copies, copy_stored

CASES = "cases.csv"


@final
class Config(LayoutConfig):
    """Nothing to set."""

    kind: Literal["nifti"] = "nifti"

    def build(self) -> Layout:
        """The layout."""
        return NiftiLayout()


@final
class NiftiLayout:
    """``images/CASE.nii.gz`` (``CASE_CHANNEL`` where there are several), ``labels``, ``edits`` and ``cases.csv``."""

    def write(self, export: Export, progress: Progress) -> Manifest:
        """Copy every case under its new name, and list them."""
        progress.start("write cases", len(export.manifest.cases))
        records = []
        for record in export.manifest.cases:
            records.append(_copy(export, record))
            progress.advance()
        written = export.manifest.model_copy(update={"cases": tuple(records)})
        write_text_atomic(export.out / CASES, list_cases(written))
        return written

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Hash every copy again."""
        progress.start("read back", len(written.cases))
        for record in written.cases:
            check_copies(export, record)
            progress.advance()


def _copy(export: Export, record: CaseRecord) -> CaseRecord:
    single = len(record.images) == 1
    images = tuple(
        copy_stored(export, stored, f"images/{record.case_id}{'' if single else f'_{channel}'}.nii.gz")
        for stored, channel in zip(record.images, record.channels, strict=True)
    )
    label = (
        None if record.label is None else copy_stored(export, record.label, f"labels/{record.case_id}.nii.gz")
    )
    edit = record.edit_mask and copy_stored(export, record.edit_mask, f"edits/{record.case_id}.nii.gz")
    return record.model_copy(update={"images": images, "label": label, "edit_mask": edit})


def list_cases(manifest: Manifest) -> str:
    """The text of ``cases.csv`` for cases whose files lie where their records say."""
    channels = manifest.cases[0].channels if manifest.cases else ()
    columns = ["image"] if len(channels) == 1 else [f"image_{channel}" for channel in channels]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    ids = ";".join(str(number) for number in range(1, len(manifest.classes) + 1))
    rows.writerow(
        ["case_id", "patient_id", *columns, "label", "lesion_classes", "label_ids", "lesion_free", "licence"]
    )
    for record in manifest.cases:
        images = [stored.path for stored in record.images]
        label = "" if record.label is None else record.label.path
        free = "yes" if record.lesion_free else ""
        classes = ";".join(manifest.classes)
        rows.writerow(
            [record.case_id, record.patient_id, *images, label, classes, ids, free, record.licence or ""]
        )
    return text.getvalue()
