"""``medaug bank``: the lesions of a fold's training patients, cut out with their context."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import final

import numpy as np
from pydantic import Field

from medaug.core.case import CaseRecord, read_manifest
from medaug.core.config import Frozen
from medaug.core.lesion import BankIndex, LesionEntry
from medaug.core.runs import Progress, finished, open_run
from medaug.core.splits import read_splits
from medaug.core.storage import require_free_space
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.lesions.bank import Bank, bank_records, build_bank
from medaug.lesions.sheet import write_sheet

SHEET = "contact_sheet.png"
_CROP_VOXELS = 128 * 128 * 32
_SIZE_EDGES = (3.0, 6.0, 10.0, 20.0, 30.0, 50.0)


@final
class BankOptions(Frozen):
    """What ``medaug bank`` is asked."""

    dataset: Path
    out: Path
    fold: int = Field(default=0, ge=0)
    describe: bool = Field(default=False, description="counts by size, and a private contact sheet")


@final
class ClassLesions(Frozen):
    """The lesions of one class."""

    class_name: str
    lesions: int
    patients: int
    diameter_mm: tuple[float, float, float] | None = Field(description="smallest, median, largest")
    by_size: tuple[int, ...] = Field(
        description="below 3, 3 to 6, 6 to 10, 10 to 20, 20 to 30, 30 to 50, 50 and above"
    )


@final
class BankSummary(Summary):
    """What a bank holds."""

    out: str
    fold: int
    training_patients: int
    nominal_spacing: bool
    classes: tuple[ClassLesions, ...]
    notes: tuple[str, ...]
    sheet: str | None = Field(default=None, description="picture of the lesions; it shows patients")

    def lines(self) -> tuple[str, ...]:
        """One line a class, then what to beware of."""
        unit = "voxels" if self.nominal_spacing else "mm"
        rows = [
            f"{c.class_name}: {counted(c.lesions, 'lesion')} of {counted(c.patients, 'patient')}"
            + (
                f", {c.diameter_mm[0]:.1f} to {c.diameter_mm[2]:.1f} {unit}, median {c.diameter_mm[1]:.1f}"
                if c.diameter_mm
                else ""
            )
            for c in self.classes
        ]
        head = (
            f"bank of fold {self.fold}: {counted(self.training_patients, 'training patient')}, in {self.out}"
        )
        return (head, *rows, *self._sizes(unit), *self.notes)

    def _sizes(self, unit: str) -> tuple[str, ...]:
        """A table of counts by class and size, where it was asked for, and where the picture is."""
        if self.sheet is None:
            return ()
        edges = [f"{edge:g}" for edge in _SIZE_EDGES]
        names = [f"<{edges[0]}", *(f"{a}-{b}" for a, b in pairwise(edges)), f">={edges[-1]}"]
        width = max(len(unit) + 10, *(len(c.class_name) for c in self.classes))
        table = [f"{f'diameter, {unit}':{width}}" + "".join(f"{name:>7}" for name in names)]
        table += [f"{c.class_name:{width}}" + "".join(f"{n:>7}" for n in c.by_size) for c in self.classes]
        return (*table, f"contact sheet (it shows patients): {self.sheet}")


@final
class _Settings(Frozen):
    """What makes a bank this bank."""

    fold: int


def bank(options: BankOptions, progress: Progress) -> BankSummary:
    """Build the lesion bank of a fold, or say what the finished one holds.

    Raises:
        DataError: If the dataset has no folds, or its training patients no lesion.
        ConfigError: If there is no such fold, or ``out`` holds something else.
        StorageError: If the disk cannot hold it.
    """
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    settings = _Settings(fold=options.fold)
    inputs = {"dataset": manifest.content_sha256, "training_scope": fold.scope_sha256}
    if finished(options.out, "bank", settings, inputs):
        return _report(Bank.open(options.out), options)
    require_free_space(options.out, _needed_bytes(bank_records(manifest, fold)))
    with open_run(options.out, "bank", settings, inputs) as run:
        index = build_bank(options.dataset, manifest, fold, options.out, progress)
        run.log("bank", lesions=len(index.entries), patients=len({e.patient_id for e in index.entries}))
    return _report(Bank(index, options.out), options)


def _report(bank: Bank, options: BankOptions) -> BankSummary:
    """What the bank holds, with a picture of it where one is asked for."""
    summary = summarise(bank.index, options.out)
    if not options.describe:
        return summary
    write_sheet(bank, options.out / SHEET)
    return summary.model_copy(update={"sheet": str(options.out / SHEET)})


def _needed_bytes(records: Sequence[CaseRecord]) -> int:
    """Crops of up to 128 x 128 x 32 voxels, four bytes a channel and two masks, within their image."""
    needed = 0
    for record in records:
        voxels = min(record.shape[0] * record.shape[1] * record.shape[2], _CROP_VOXELS)
        needed += sum(lesion.count for lesion in record.lesions) * voxels * (4 * len(record.channels) + 2)
    return needed


def summarise(index: BankIndex, out: Path) -> BankSummary:
    """Counts by class and size, and what the bank cannot do."""
    rows = tuple(
        _describe(name, [e for e in index.entries if e.class_name == name]) for name in index.classes
    )
    notes = [
        f"class {row.class_name} has no lesion here: it cannot be synthesised"
        for row in rows
        if row.lesions == 0
    ]
    notes += [
        f"class {row.class_name} has one lesion only: all its copies will look alike"
        for row in rows
        if row.lesions == 1
    ]
    return BankSummary(
        out=str(out),
        fold=index.fold,
        training_patients=len(index.training_patients),
        nominal_spacing=any(entry.spacing == "nominal" for entry in index.entries),
        classes=rows,
        notes=tuple(notes),
    )


def _describe(class_name: str, entries: Sequence[LesionEntry]) -> ClassLesions:
    sizes = [entry.diameter_mm for entry in entries]
    spread = (round(min(sizes), 2), round(median(sizes), 2), round(max(sizes), 2)) if sizes else None
    return ClassLesions(
        class_name=class_name,
        lesions=len(entries),
        patients=len({entry.patient_id for entry in entries}),
        diameter_mm=spread,
        by_size=tuple(
            np.bincount(
                np.searchsorted(_SIZE_EDGES, sizes, side="right"), minlength=len(_SIZE_EDGES) + 1
            ).tolist()
        ),
    )
