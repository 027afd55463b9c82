"""``medaug translate``: whole cases made by a translator, as a dataset folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import final

import numpy as np
from pydantic import Field

from medaug.core.case import (
    TRANSLATIONS,
    Case,
    CaseRecord,
    Manifest,
    Origin,
    marked_id,
    read_findings,
    read_manifest,
)
from medaug.core.config import Document, Frozen
from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.findings import Code, Finding, finding
from medaug.core.plan import Translation, read_lines, write_lines
from medaug.core.runs import Progress, RunDir, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, guard_training, read_splits
from medaug.core.storage import require_free_space
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.ingest.checks import check_readable
from medaug.io.dataset import CaseFacts, StoredCases, finish_dataset, write_case
from medaug.synthesis.balance import parse_counts
from medaug.translators.base import Inventor, Translator, load_translator

_WRITTEN = "written"
_OTHER_SOURCES = 8  # label maps tried when the first one has no room for the lesion


@final
class TranslateOptions(Frozen):
    """What ``medaug translate`` is asked."""

    dataset: Path
    translator: Path = Field(description="run folder of `medaug fit` with a translator")
    out: Path
    fold: int = Field(default=0, ge=0)
    seed: int = 0
    count: int | None = Field(
        default=None, ge=1, description="cases to make; null = one for each case of a training patient"
    )
    per_class: tuple[str, ...] = Field(
        default=(), description="CLASS=COUNT each; only where whole cases are made from label maps"
    )


@final
class TranslateSummary(Summary):
    """What was made."""

    out: str
    translator: str
    cases: int
    classes: dict[str, int] = Field(description="cases made for each class that was asked for")
    sources: int = Field(description="training patients' cases that were changed, or lent their label map")
    hostless: bool = Field(description="whether the cases are nobody's scan")
    findings: tuple[Finding, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """How many were made of what, and what was refused."""
        head = f"{counted(self.cases, 'case')} by {self.translator}, in {self.out}"
        rows = [f"{name}: {count}" for name, count in self.classes.items()]
        lent = counted(self.sources, "case")
        whose = (
            f"no host; label maps bent from {lent}" if self.hostless else f"still scans of patients: {lent}"
        )
        odd = [f"{f.severity}: {f.case_id}: {f.message}" for f in self.findings]
        return (head, *rows, whose, *odd[:10], *([f"and {len(odd) - 10} more"] if len(odd) > 10 else []))


@final
class _Settings(Frozen):
    """What makes a set this set."""

    fold: int
    seed: int
    count: int | None
    per_class: tuple[str, ...]


@final
class _Written(Document):
    """What became of one wanted case; kept until the manifest is written, so that a run can resume."""

    record: CaseRecord | None
    translation: Translation | None
    findings: tuple[Finding, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class _Wanted:
    """One case to be made.

    Attributes:
        case_id: Its id.
        sources: What it is made from; the later ones where the first does not do.
        class_name: Of the new lesion; None where a scan is changed.
    """

    case_id: str
    sources: tuple[CaseRecord, ...]
    class_name: str | None


def translate(options: TranslateOptions, progress: Progress) -> TranslateSummary:
    """Make whole cases from the training patients of a fold and write them as a dataset folder.

    Raises:
        ConfigError: If a class is unknown, classes are asked of a translator that only changes scans, or ``out``
            holds something else.
        CheckpointError: If the run folder holds no finished translator, or one of other channels or another unit.
        DataError: If no case could be made.
        SplitLeakageError: If the translator saw a patient outside the fold's training part.
        StorageError: If the disk cannot hold the set.
    """
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    translator = load_translator(options.translator, fold)
    cases = StoredCases.of_fold(options.dataset, manifest, fold)
    guard_training(cases.records, fold)
    _check_fits(translator, manifest)
    job = _Job(options, manifest, cases, translator)
    wanted = job.wanted()
    if finished(options.out, "translate", job.settings, job.inputs):
        return _summary(job, read_findings(options.out))
    require_free_space(options.out, sum(one.sources[0].expected_bytes for one in wanted))
    with open_run(options.out, "translate", job.settings, job.inputs) as run:
        findings = _make_all(job, wanted, run, progress)
    shutil.rmtree(options.out / _WRITTEN, ignore_errors=True)
    return _summary(job, findings)


def _check_fits(translator: Translator, manifest: Manifest) -> None:
    if translator.card.classes != manifest.classes:
        raise CheckpointError(
            f"the translator knows the classes {', '.join(translator.card.classes)}",
            expected=f"{', '.join(manifest.classes)}, as in {manifest.name}",
            hint="train it on this dataset with `medaug fit`",
        )


@final
@dataclass(frozen=True, slots=True)
class _Job:
    """A call with everything it reads."""

    options: TranslateOptions
    manifest: Manifest
    cases: StoredCases
    translator: Translator

    @property
    def settings(self) -> _Settings:
        o = self.options
        return _Settings(fold=o.fold, seed=o.seed, count=o.count, per_class=o.per_class)

    @property
    def inputs(self) -> dict[str, str]:
        return {
            "dataset": self.manifest.content_sha256,
            "training_scope": self.fold.scope_sha256,
            "translator": self.translator.sha256,
        }

    @property
    def fold(self) -> Fold:
        return self.cases.fold

    @property
    def seeds(self) -> SeedTree:
        return SeedTree(self.options.seed).child("translate")

    def wanted(self) -> tuple[_Wanted, ...]:
        """All cases to be made.

        Raises:
            ConfigError: If classes are asked of a translator that only changes scans, or one it does not draw.
        """
        if isinstance(self.translator, Inventor):
            return tuple(self._invented(self.translator))
        if self.options.per_class:
            what = f"{self.translator.kind} changes scans and draws no lesions"
            raise ConfigError(what, where="--per-class", hint="leave it out, or say --count")
        return tuple(self._translated())

    def _invented(self, inventor: Inventor) -> Iterator[_Wanted]:
        """Label maps are dealt so that each is used once before any is used again.

        Unlabelled scans lend none: a lesion that nobody marked would be drawn as tissue.
        """
        names = self._class_names(inventor)
        records = tuple(record for record in self.cases.records if record.label is not None)
        order = self.seeds.child("sources").rng().permutation(len(records))
        for number, name in enumerate(names):
            dealt = [
                records[order[(number + step) % len(records)]]
                for step in range(min(_OTHER_SOURCES, len(records)))
            ]
            yield _Wanted(marked_id(f"made_{name}", f"_{number + 1:04d}"), tuple(dealt), name)

    def _class_names(self, inventor: Inventor) -> list[str]:
        """A class for each wanted case: as asked, else all alike."""
        if self.options.per_class:
            if self.options.count is not None:
                raise ConfigError("says what --per-class says", where="--count", hint="leave one of them out")
            counts = parse_counts(self.options.per_class, inventor.lesions)
            return [one.class_name for one in counts for _ in range(one.count)]
        count = self.options.count or sum(record.label is not None for record in self.cases.records)
        return [inventor.lesions[n % len(inventor.lesions)] for n in range(count)]

    def _translated(self) -> Iterator[_Wanted]:
        records = self.cases.records
        for number in range(self.options.count or len(records)):
            record, copy = records[number % len(records)], number // len(records) + 1
            yield _Wanted(marked_id(record.case_id, f"_{self.translator.kind}_{copy:02d}"), (record,), None)


def _make_all(job: _Job, wanted: Sequence[_Wanted], run: RunDir, progress: Progress) -> tuple[Finding, ...]:
    """Make what is not made yet, one case in memory at a time, then write the manifest."""
    notes = run.path / _WRITTEN
    progress.start("translation", len(wanted))
    for one in wanted:
        path = notes / f"{one.case_id}.json"
        if not path.is_file():
            _make(job, one, run.path).write(path)
        progress.advance()
    written = [_Written.read(notes / f"{one.case_id}.json") for one in wanted]
    findings = tuple(dict.fromkeys(f for one in written for f in one.findings))
    records = tuple(one.record for one in written if one.record is not None)
    if not records:
        raise DataError(f"no case could be made, the first: {findings[0].case_id}: {findings[0].message}")
    made = Manifest(
        name=f"{job.manifest.name}_{job.translator.kind}", classes=job.manifest.classes, cases=records
    )
    write_lines(run.path / TRANSLATIONS, tuple(w.translation for w in written if w.translation is not None))
    finish_dataset(run.path, made, findings)
    run.log("translation", cases=len(records), refused=len(wanted) - len(records))
    return findings


def _make(job: _Job, wanted: _Wanted, out: Path) -> _Written:
    """Make one case, from the first of its sources that does."""
    findings: list[Finding] = []
    for record in islice(wanted.sources, _OTHER_SOURCES):
        seed = job.seeds.child(wanted.case_id, record.case_id)
        try:
            source = job.cases.load(record)
        except DataError as error:
            findings.append(check_readable(error, record.case_id))
            continue
        try:
            case = _made(job.translator, source, wanted.class_name, seed.rng())
        except DataError as error:
            findings.append(finding(Code.NO_PLACE, "refused", error.line(), wanted.case_id))
            continue
        kept = tuple(f for f in findings if f.code != Code.NO_PLACE)
        return _write(job, wanted, record, case, out).model_copy(update={"findings": kept})
    return _Written(record=None, translation=None, findings=tuple(findings[:1]))


def _made(translator: Translator, source: Case, class_name: str | None, rng: np.random.Generator) -> Case:
    if class_name is not None and isinstance(translator, Inventor):
        return translator.invent(source, class_name, rng)
    return translator.translate(source, rng)


def _write(job: _Job, wanted: _Wanted, record: CaseRecord, case: Case, out: Path) -> _Written:
    nobodys = case.origin is Origin.SYNTHETIC
    patient = wanted.case_id if nobodys else record.patient_id
    facts = CaseFacts(
        modality=record.modality,
        split=None if nobodys else record.split,
        lesion_free=record.lesion_free and not nobodys,
        licence=record.licence,
        terms=record.terms,
        source_sha256=() if nobodys else record.source_sha256,
    )
    stored = write_case(out, replace(case, case_id=wanted.case_id, patient_id=patient), facts)
    translation = Translation(
        case_id=wanted.case_id,
        source_case_id=None if nobodys else record.case_id,
        source_sha256=() if nobodys else tuple(file.sha256 for file in record.files),
        donor_patient_ids=(record.patient_id,),
        translator=job.translator.kind,
        translator_sha256=job.translator.sha256,
        fold=job.fold.index,
        training_scope_sha256=job.fold.scope_sha256,
        class_name=wanted.class_name,
        seed=job.options.seed,
    )
    return _Written(record=stored, translation=translation)


def _summary(job: _Job, findings: Sequence[Finding]) -> TranslateSummary:
    rows = read_lines(job.options.out / TRANSLATIONS, Translation)
    names = [row.class_name for row in rows if row.class_name is not None]
    sources = {row.source_case_id or row.donor_patient_ids for row in rows}
    return TranslateSummary(
        out=str(job.options.out),
        translator=job.translator.kind,
        cases=len(rows),
        classes={name: names.count(name) for name in job.manifest.classes if name in names},
        sources=len(sources),
        hostless=all(row.source_case_id is None for row in rows),
        findings=tuple(findings),
    )
