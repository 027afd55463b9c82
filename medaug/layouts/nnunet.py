"""nnU-Net v2 raw: the form of the dataset folder itself, copied byte for byte."""

from __future__ import annotations

from typing import Literal, final

from medaug.core.case import CaseRecord, Manifest
from medaug.core.runs import Progress
from medaug.io.dataset import write_description
from medaug.layouts.base import Export, Layout, LayoutConfig, check_cases, store_images, store_masks


@final
class Config(LayoutConfig):
    """Nothing to set."""

    kind: Literal["nnunet"] = "nnunet"

    def build(self) -> Layout:
        """The layout."""
        return NnunetLayout()


@final
class NnunetLayout:
    """``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``, ``edits/CASE.nii.gz`` and ``dataset.json``.

    Unlabelled cases lie in ``imagesTs``.
    """

    def write(self, export: Export, progress: Progress) -> Manifest:
        """Copy every case, and describe the set."""
        progress.start("write cases", len(export.manifest.cases))
        records = []
        for record in export.manifest.cases:
            records.append(_store(export, record))
            progress.advance()
        written = export.manifest.model_copy(update={"cases": tuple(records)})
        write_description(export.out, written)
        return written

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Read every file again."""
        check_cases(export, written, progress)


def _store(export: Export, record: CaseRecord) -> CaseRecord:
    folder = "imagesTs" if record.label is None else "imagesTr"
    paths = [f"{folder}/{record.case_id}_{n:04d}.nii.gz" for n in range(len(record.channels))]
    masks = store_masks(export, record, f"labelsTr/{record.case_id}.nii.gz")
    return record.model_copy(update={"images": store_images(export, record, paths), **masks})
