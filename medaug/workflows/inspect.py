"""``medaug inspect``: what a dataset holds, and a contact sheet to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
from pydantic import Field

from medaug.core.case import FINDINGS, CaseRecord, FindingsFile, Manifest, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import DataError
from medaug.core.results import Severity, Summary
from medaug.core.runs import Progress
from medaug.core.storage import clear_leftovers, require_free_space
from medaug.core.wording import counted
from medaug.ingest.sheet import SheetRow, sheet_row, write_sheet
from medaug.io.dataset import load_case
from medaug.workflows.ingest import ClassTotal, count_classes

SHEET = "contact_sheet.png"


@final
class InspectOptions(Frozen):
    """Options of `medaug inspect`."""

    dataset: Path
    sheet: Path | None = Field(
        default=None, description="PNG to write; default: contact_sheet.png in the dataset"
    )
    max_cases: int = Field(default=40, ge=1, description="rows of the contact sheet")


@final
class FindingTotal(Frozen):
    """How often a finding occurs."""

    code: str
    severity: Severity
    count: int
    example: str


@final
class InspectSummary(Summary):
    """A dataset in numbers."""

    dataset: Path
    name: str
    unit: str
    channels: tuple[str, ...]
    cases: int
    labelled: int
    lesion_free: int
    patients: int
    classes: tuple[ClassTotal, ...]
    findings: tuple[FindingTotal, ...]
    damaged: tuple[str, ...] = Field(
        default=(), description="drawn cases whose files are missing or changed, with the reason"
    )
    sheet: Path
    sheet_cases: int

    def lines(self) -> tuple[str, ...]:
        """Counts, findings by code, and where the sheet is."""
        held = f"{counted(self.cases, 'case')} of {counted(self.patients, 'patient')}"
        head = (
            f"{self.name}: {held}, {', '.join(self.channels)} in {self.unit}",
            f"  {self.labelled} labelled, {self.lesion_free} known to be lesion-free",
        )
        rows = tuple(c.line() for c in self.classes)
        found = tuple(f"  {f.severity} {f.code} x {f.count}: {f.example}" for f in self.findings)
        damaged = tuple(f"damaged: {line}" for line in self.damaged)
        return (
            *head,
            *rows,
            *found,
            *damaged,
            f"contact sheet of {counted(self.sheet_cases, 'case')}: {self.sheet}",
        )


def inspect(options: InspectOptions, progress: Progress) -> InspectSummary:
    """Count what a dataset holds and draw its contact sheet; every drawn file is checked against its hash.

    A case whose files are missing or changed is named and the others are drawn.

    Raises:
        DataError: If the folder is no dataset, or no case can be drawn.
        StorageError: If the sheet cannot be written.
    """
    manifest = read_manifest(options.dataset)
    findings = FindingsFile.read(options.dataset / FINDINGS).findings
    sheet = options.sheet or options.dataset / SHEET
    require_free_space(sheet.parent, 16 << 20)
    chosen = _spread(manifest, options.max_cases)
    rows, damaged = _rows(options.dataset, manifest, chosen, progress)
    title = f"{manifest.name}: {len(rows)} of {len(manifest.cases)} cases"
    clear_leftovers(sheet)
    write_sheet(sheet, rows, manifest.classes, title)
    counts = Counter((f.severity, f.code) for f in findings)
    examples = {(f.severity, f.code): f.message for f in reversed(findings)}
    return InspectSummary(
        dataset=options.dataset,
        name=manifest.name,
        unit=manifest.unit,
        channels=manifest.cases[0].channels,
        cases=len(manifest.cases),
        labelled=sum(record.label is not None for record in manifest.cases),
        lesion_free=sum(record.lesion_free for record in manifest.cases),
        patients=len(manifest.patient_ids),
        classes=count_classes(manifest),
        findings=tuple(
            FindingTotal(code=code, severity=severity, count=count, example=examples[severity, code])
            for (severity, code), count in sorted(
                counts.items(), key=lambda item: (item[0][0] != "refused", item[0])
            )
        ),
        damaged=damaged,
        sheet=sheet,
        sheet_cases=len(rows),
    )


def _rows(
    dataset: Path, manifest: Manifest, chosen: Sequence[CaseRecord], progress: Progress
) -> tuple[list[SheetRow], tuple[str, ...]]:
    """The rows of the cases that can be drawn, and why the others cannot."""
    progress.start("drawing cases", len(chosen))
    rows, damaged = [], []
    for record in chosen:
        try:
            rows.append(sheet_row(load_case(dataset, record, manifest.classes), manifest.classes))
        except DataError as error:
            damaged.append(error.line())
        progress.advance()
    if not rows:
        raise DataError(f"no case can be drawn, the first: {damaged[0]}")
    return rows, tuple(damaged)


def _spread(manifest: Manifest, count: int) -> tuple[CaseRecord, ...]:
    """Cases evenly spread over the manifest, all of them where they fit."""
    total = len(manifest.cases)
    picks = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    return tuple(manifest.cases[int(n)] for n in picks)
