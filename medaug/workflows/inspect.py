"""``medaug inspect``: what a dataset holds, a battery of checks, and a contact sheet to leaf through."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.case import CaseRecord, Manifest, read_findings, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import DataError
from medaug.core.findings import Finding, Inspection, Severity
from medaug.core.runs import Progress
from medaug.core.storage import clear_leftovers, require_free_space, storage_error
from medaug.core.summary import Summary
from medaug.core.volume import Volume
from medaug.core.wording import counted
from medaug.ingest.battery import Examined, examine, examine_set
from medaug.ingest.checks import check_readable
from medaug.ingest.sheet import ROWS, SheetTitle, sheet_row, write_index, write_page
from medaug.io.dataset import load_case
from medaug.workflows.ingest import ClassTotal, count_classes

SHEET, INSPECTION = "contact_sheet.png", "inspection.json"
_FOLDER = "inspection"
_WORST = 5
_PAGE_BYTES = 2 << 20


@final
class InspectOptions(Frozen):
    """Options of `medaug inspect`."""

    dataset: Path
    sheet: Path | None = Field(
        default=None,
        description="pages are named after it: x.png gives x_01.png, x_02.png, ... and x.html; "
        "default: inspection/contact_sheet.png in the dataset",
    )
    max_cases: int | None = Field(
        default=None, ge=1, description="rows of the contact sheet; null: all cases"
    )
    folds: int = Field(default=5, ge=2, description="folds that every class must have patients for")
    strict: bool = False


@final
class FindingTotal(Frozen):
    """How often a finding occurs."""

    code: str
    severity: Severity
    count: int
    example: str

    def line(self) -> str:
        """The finding in words."""
        return f"  {self.severity} {self.code} x {self.count}: {self.example}"


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
    findings: tuple[FindingTotal, ...] = Field(description="of ingest")
    checked: tuple[FindingTotal, ...] = Field(description="of the checks of this step")
    worst: tuple[str, ...] = Field(default=(), description="the first few that are refused, with their case")
    notes: tuple[str, ...] = Field(default=(), description="what could not be told")
    damaged: tuple[str, ...] = Field(
        default=(), description="cases whose files are missing or changed, with the reason"
    )
    inspection: Path
    sheet: Path = Field(description="HTML page that leafs through the pages of the contact sheet")
    pages: int = 0
    sheet_cases: int = 0

    def lines(self) -> tuple[str, ...]:
        """Counts, findings by code, and where the sheet is."""
        held = f"{counted(self.cases, 'case')} of {counted(self.patients, 'patient')}"
        return (
            f"{self.name}: {held}, {', '.join(self.channels)} in {self.unit}",
            f"  {self.labelled} labelled, {self.lesion_free} known to be lesion-free",
            *(one.line() for one in self.classes),
            *(("found at ingest:",) if self.findings else ()),
            *(one.line() for one in self.findings),
            "found now:" if self.checked else "found now: nothing",
            *(one.line() for one in self.checked),
            *(f"worst: {line}" for line in self.worst),
            *self.notes,
            *(f"damaged: {line}" for line in self.damaged),
            f"all findings: {self.inspection.name}",
            f"contact sheet of {counted(self.sheet_cases, 'case')} on {counted(self.pages, 'page')}: {self.sheet}",
        )


@final
@dataclass(frozen=True, slots=True)
class _Looked:
    """What the checks of the single cases left.

    Attributes:
        examined: The cases that could be read, in manifest order.
        unreadable: A finding for each of the others.
        damaged: The same in words.
    """

    examined: tuple[Examined, ...]
    unreadable: tuple[Finding, ...]
    damaged: tuple[str, ...]


def inspect(options: InspectOptions, progress: Progress) -> InspectSummary:
    """Count what a dataset holds, run the checks and draw its contact sheet; every file is held against its hash.

    A case whose files are missing or changed is named and the others go on.

    Raises:
        DataError: If the folder is no dataset, no case can be read, or, with ``strict``, a finding is ``refused``.
        StorageError: If a file cannot be written.
    """
    manifest = read_manifest(options.dataset)
    at_ingest = read_findings(options.dataset)
    rows = min(len(manifest.cases), options.max_cases or len(manifest.cases))
    require_free_space(options.dataset, (16 << 20) + rows * _PAGE_BYTES // ROWS)
    looked = _look(options.dataset, manifest, progress)
    report = _report(options, manifest, looked, progress)
    clear_leftovers(options.dataset / INSPECTION)
    report.write(options.dataset / INSPECTION)
    if not looked.examined:
        raise DataError(f"no case can be read, the first: {looked.damaged[0]}")
    chosen = _worst_first([one.record for one in looked.examined], report.findings)[:rows]
    pages = _pages(options, len(chosen))
    summary = _summary(options, manifest, at_ingest, report).model_copy(
        update={"damaged": looked.damaged, "pages": len(pages), "sheet_cases": len(chosen)}
    )
    _draw(options.dataset, manifest, chosen, report.findings, pages, progress)
    index = summary.sheet
    clear_leftovers(index)
    write_index(index, manifest.name, [page.name for page in pages], summary.lines()[:-2])
    severe = [one for one in report.findings if one.severity == "refused"]
    if options.strict and severe:
        what = f"{counted(len(severe), 'severe finding')} under --strict, the first: {_told(severe[0])}"
        raise DataError(what, hint=f"see {INSPECTION} in the dataset")
    return summary


def _look(dataset: Path, manifest: Manifest, progress: Progress) -> _Looked:
    """Run the checks of every case that can be read, one in memory at a time."""
    progress.start("checking cases", len(manifest.cases))
    examined, unreadable, damaged = [], [], []
    for record in manifest.cases:
        try:
            examined.append(examine(load_case(dataset, record, manifest.classes), record))
        except DataError as error:
            unreadable.append(check_readable(error, record.case_id))
            damaged.append(error.line())
        progress.advance()
    return _Looked(tuple(examined), tuple(unreadable), tuple(damaged))


def _report(options: InspectOptions, manifest: Manifest, looked: _Looked, progress: Progress) -> Inspection:
    """All findings: of the set, of cases that cannot be read, then of the others."""
    examined = looked.examined
    progress.start("comparing cases", len(examined))

    def load(number: int) -> Volume:
        return load_case(options.dataset, examined[number].record, manifest.classes).volume

    verdict = examine_set(manifest, examined, options.folds, load, progress.advance)
    of_cases = tuple(finding for one in examined for finding in one.findings)
    return Inspection(
        dataset_sha256=manifest.content_sha256,
        cases=len(manifest.cases),
        examined=len(examined),
        folds=options.folds,
        findings=(*verdict.findings, *looked.unreadable, *of_cases),
        notes=verdict.notes,
    )


def _summary(
    options: InspectOptions, manifest: Manifest, at_ingest: Sequence[Finding], report: Inspection
) -> InspectSummary:
    severe = [_told(one) for one in report.findings if one.severity == "refused"]
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
        findings=_totals(at_ingest),
        checked=_totals(report.findings),
        worst=tuple(severe[:_WORST]),
        notes=report.notes,
        inspection=options.dataset / INSPECTION,
        sheet=_base(options).with_suffix(".html"),
    )


def _totals(findings: Sequence[Finding]) -> tuple[FindingTotal, ...]:
    """How often each code occurs, the refused first; the example is the first of its kind."""
    counts = Counter((one.severity, one.code) for one in findings)
    examples = {(one.severity, one.code): one for one in reversed(findings)}
    return tuple(
        FindingTotal(code=code, severity=severity, count=count, example=_told(examples[severity, code]))
        for (severity, code), count in sorted(
            counts.items(), key=lambda item: (item[0][0] != "refused", item[0])
        )
    )


def _told(one: Finding) -> str:
    return f"{one.case_id}: {one.message}" if one.case_id else one.message


def _worst_first(records: Sequence[CaseRecord], findings: Sequence[Finding]) -> tuple[CaseRecord, ...]:
    """Cases with refused findings first, then those with most flagged ones, else in order of the manifest."""
    severe = Counter(one.case_id for one in findings if one.severity == "refused")
    flagged = Counter(one.case_id for one in findings)
    return tuple(sorted(records, key=lambda one: (-severe[one.case_id], -flagged[one.case_id])))


def _base(options: InspectOptions) -> Path:
    """What the pages are named after."""
    return options.sheet or options.dataset / _FOLDER / SHEET


def _pages(options: InspectOptions, rows: int) -> tuple[Path, ...]:
    """The pages of the contact sheet; those that an earlier, longer one left are taken away.

    Raises:
        StorageError: If an old page cannot be taken away.
    """
    base = _base(options)
    pages = tuple(base.with_name(f"{base.stem}_{n:02d}.png") for n in range(1, -(-rows // ROWS) + 1))
    try:
        for old in base.parent.glob(f"{glob.escape(base.stem)}_[0-9]*.png"):
            if old not in pages and old.stem.removeprefix(f"{base.stem}_").isdecimal():
                old.unlink()
    except OSError as error:
        raise storage_error(error, base) from error
    return pages


def _draw(
    dataset: Path,
    manifest: Manifest,
    chosen: Sequence[CaseRecord],
    findings: Sequence[Finding],
    pages: Sequence[Path],
    progress: Progress,
) -> None:
    """Draw the pages, one in memory at a time."""
    progress.start("drawing cases", len(chosen))
    by_case: dict[str, list[Finding]] = {}
    for one in findings:
        by_case.setdefault(one.case_id or "", []).append(one)
    for number, page in enumerate(pages):
        rows = []
        for record in chosen[number * ROWS : (number + 1) * ROWS]:
            case = load_case(dataset, record, manifest.classes)
            rows.append(sheet_row(case, manifest.classes, by_case.get(record.case_id, ())))
            progress.advance()
        clear_leftovers(page)
        write_page(page, rows, SheetTitle(manifest.name, number + 1, len(pages), manifest.classes))
