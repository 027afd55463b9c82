"""nnU-Net v2 raw: the form of the dataset folder itself, copied byte for byte; with folds where they are given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, final

from pydantic import Field

from medaug.core.case import CaseRecord, Manifest
from medaug.core.errors import DataError
from medaug.core.runs import Progress
from medaug.core.splits import Splits, guard_evaluation, guard_training
from medaug.core.storage import write_text_atomic
from medaug.io.dataset import write_description
from medaug.layouts.base import Export, Layout, LayoutConfig, check_cases, store_images, store_masks

FOLDS = "splits_final.json"


@final
class Config(LayoutConfig):
    """Where test patients go."""

    kind: Literal["nnunet"] = "nnunet"
    test_apart: bool = Field(
        default=False,
        description="labelled cases of test patients lie in imagesTs and labelsTs: nnU-Net plans by all of imagesTr",
    )

    def build(self) -> Layout:
        """The layout."""
        return NnunetLayout(test_apart=self.test_apart)


@final
class NnunetLayout:
    """``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``, ``edits/CASE.nii.gz`` and ``dataset.json``.

    Unlabelled cases lie in ``imagesTs``.
    """

    def __init__(self, *, test_apart: bool) -> None:
        self._test_apart = test_apart

    def write(self, export: Export, progress: Progress) -> Manifest:
        """Copy every case, and describe the set."""
        progress.start("write cases", len(export.manifest.cases))
        records = []
        for record in export.manifest.cases:
            records.append(self._store(export, record))
            progress.advance()
        written = export.manifest.model_copy(update={"cases": tuple(records)})
        describe(export.out, written)
        return written

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Read every file again."""
        check_cases(export, written, progress)

    def _store(self, export: Export, record: CaseRecord) -> CaseRecord:
        apart = record.label is None or (self._test_apart and record.split == "test")
        part = "Ts" if apart else "Tr"
        paths = [f"images{part}/{record.case_id}_{n:04d}.nii.gz" for n in range(len(record.channels))]
        masks = store_masks(export, record, f"labels{part}/{record.case_id}.nii.gz")
        return record.model_copy(update={"images": store_images(export, record, paths), **masks})


def describe(out: Path, written: Manifest) -> None:
    """``dataset.json``, which counts the cases of ``labelsTr``.

    Raises:
        StorageError: If it cannot be written.
    """
    cases = tuple(r for r in written.cases if r.label is None or r.label.path.startswith("labelsTr/"))
    write_description(out, written.model_copy(update={"cases": cases}))


def write_folds(
    out: Path, splits: Splits, real: Sequence[CaseRecord], synthetic: Mapping[int, Sequence[str]]
) -> None:
    """``splits_final.json``, which nnU-Net's planner takes over: labelled cases by patient, synthetic ones in training alone.

    Args:
        out: The folder.
        splits: The folds, by patient.
        real: The cases of the dataset.
        synthetic: For each fold by its index, the ids of the synthetic cases that it may learn from.

    Raises:
        DataError: If a side of a fold has no labelled case.
        SplitLeakageError: If a case that is not real would be validated on.
        StorageError: If it cannot be written.
    """
    folds = []
    labelled = [record for record in real if record.label is not None]
    for fold in splits.folds:
        trained, kept = set(fold.train), set(fold.held_out)
        train = [record for record in labelled if record.patient_id in trained]
        held_out = [record for record in labelled if record.patient_id in kept]
        guard_training(train, fold)
        guard_evaluation(held_out, fold)
        if not train or not held_out:
            side = "held-out" if train else "training"
            raise DataError(
                f"no {side} patient of fold {fold.index} has a label", hint="annotate, or split anew"
            )
        ids = [record.case_id for record in train]
        folds.append({"train": [*ids, *synthetic[fold.index]], "val": [r.case_id for r in held_out]})
    write_text_atomic(out / FOLDS, json.dumps(folds, indent=1) + "\n")
