"""Plain NIfTI with a ``cases.csv``: the form that a person would make by hand."""

from __future__ import annotations

import csv
import io
import re
from typing import Literal, final

from medaug.core.case import CaseRecord, Manifest
from medaug.core.runs import Progress
from medaug.core.storage import write_text_atomic
from medaug.layouts.base import Export, Layout, LayoutConfig, check_cases, store_images, store_masks

CASES = "cases.csv"
_STATED = ("lesion_free", "modality", "spacing", "split", "licence", "terms")


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
            records.append(_store(export, record))
            progress.advance()
        written = export.manifest.model_copy(update={"cases": tuple(records)})
        write_text_atomic(export.out / CASES, list_cases(written))
        return written

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Read every file again."""
        check_cases(export, written, progress)


def _store(export: Export, record: CaseRecord) -> CaseRecord:
    ends = [""] if len(record.channels) == 1 else [f"_{_plain(name)}" for name in record.channels]
    if len(set(ends)) < len(ends):
        ends = [f"_{number:04d}" for number in range(len(ends))]
    paths = [f"images/{record.case_id}{end}.nii.gz" for end in ends]
    masks = store_masks(export, record, f"labels/{record.case_id}.nii.gz")
    return record.model_copy(update={"images": store_images(export, record, paths), **masks})


def _plain(channel: str) -> str:
    """A channel's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.+\-]", "-", channel).lstrip(".")


def list_cases(manifest: Manifest) -> str:
    """The text of ``cases.csv`` for cases whose files lie where their records say."""
    channels = manifest.cases[0].channels if manifest.cases else ()
    columns = ["image"] if len(channels) == 1 else [f"image_{channel}" for channel in channels]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    ids = ";".join(str(number) for number in range(1, len(manifest.classes) + 1))
    rows.writerow(["case_id", "patient_id", *columns, "label", "lesion_classes", "label_ids", *_STATED])
    for record in manifest.cases:
        images = [stored.path for stored in record.images]
        label = "" if record.label is None else record.label.path
        classes = ";".join(manifest.classes)
        rows.writerow([record.case_id, record.patient_id, *images, label, classes, ids, *_stated(record)])
    return text.getvalue()


def _stated(record: CaseRecord) -> tuple[str, ...]:
    """The cells of the columns in ``_STATED``."""
    free = "yes" if record.lesion_free else ""
    facts = (record.modality, record.spacing, record.split, record.licence, record.terms)
    return (free, *(fact or "" for fact in facts))
