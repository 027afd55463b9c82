"""nnU-Net v2 raw: the form of the dataset folder itself, copied byte for byte."""

from __future__ import annotations

from typing import Literal, final

from medaug.core.case import CaseRecord, Manifest
from medaug.core.runs import Progress
from medaug.core.storage import write_bytes_atomic
from medaug.io.dataset import DATASET_JSON
from medaug.layouts.base import Export, Layout, LayoutConfig, check_copies, copy_stored


@final
class Config(LayoutConfig):
    """Nothing to set."""

    kind: Literal["nnunet"] = "nnunet"

    def build(self) -> Layout:
        """The layout."""
        return NnunetLayout()


@final
class NnunetLayout:
    """``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``, ``edits/CASE.nii.gz`` and ``dataset.json``."""

    def write(self, export: Export, progress: Progress) -> Manifest:
        """Copy every case; paths and hashes stay as they are."""
        progress.start("write cases", len(export.manifest.cases))
        for record in export.manifest.cases:
            self._copy(export, record)
            progress.advance()
        write_bytes_atomic(export.out / DATASET_JSON, (export.dataset / DATASET_JSON).read_bytes())
        return export.manifest

    def _copy(self, export: Export, record: CaseRecord) -> None:
        for stored in (*record.images, record.label, record.edit_mask):
            if stored is not None:
                copy_stored(export, stored, stored.path)

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Hash every copy again."""
        progress.start("read back", len(written.cases))
        for record in written.cases:
            check_copies(export, record)
            progress.advance()
