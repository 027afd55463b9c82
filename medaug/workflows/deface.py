"""``medaug deface``: a dataset folder without the faces of its heads; what cannot be told is left out."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.case import (
    RECIPES,
    TRANSLATIONS,
    CaseRecord,
    Manifest,
    StoredFile,
    read_findings,
    read_manifest,
)
from medaug.core.config import Document, Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.plan import write_lines
from medaug.core.runs import Progress, RunDir, finished, open_run
from medaug.core.storage import atomic_path, require_free_space, sha256_file
from medaug.core.summary import Summary
from medaug.core.synthetic import read_origins
from medaug.core.wording import counted
from medaug.io.dataset import finish_dataset, load_case, rewrite_images
from medaug.privacy.deface import DefaceReport, Part, deface
from medaug.privacy.defaced import DEFACED, DefacedCase, DefacedFile
from medaug.privacy.faces import spared_voxels
from medaug.privacy.views import draw_views

_SHOWN = 10


@final
class DefaceOptions(Frozen):
    """What ``medaug deface`` is asked."""

    dataset: Path
    out: Path = Field(description="new dataset folder")
    part: Part = Field(
        default="auto", description="auto; or head or other, where a person looked at every case"
    )
    views: Path | None = Field(
        default=None, description="folder for a picture of each face before and after; they show patients"
    )


@final
class _Settings(Frozen):
    """What makes a defaced set this one."""

    part: Part


@final
class DefaceSummary(Summary):
    """How many faces went, and why others did not."""

    out: str
    defaced: int
    nothing: int
    quarantined: int
    reasons: dict[str, int] = Field(description="cases by reason, of those that were not defaced")
    face_left: float | None = Field(description="largest share of a face's skin that still has a surface")
    views: str | None

    def lines(self) -> tuple[str, ...]:
        """Counts, then reasons."""
        left = "" if self.face_left is None else f"; at most {self.face_left:.0%} of a face's skin is left"
        looks = () if self.views is None else (f"look at every picture in {self.views}; they show patients",)
        return (
            f"{counted(self.defaced, 'face')} removed{left}; {counted(self.nothing, 'case')} with none; all in {self.out}",
            f"{counted(self.quarantined, 'case')} left out",
            *(f"{reason}: {count}" for reason, count in sorted(self.reasons.items())),
            *looks,
        )


@final
class _Done(Document):
    """One finished case; kept until the manifest is written, so that a run can resume."""

    record: CaseRecord | None = Field(description="null where the case was left out")
    report: DefaceReport


def deface_dataset(options: DefaceOptions, progress: Progress) -> DefaceSummary:
    """Write a dataset without faces: images anew where a face went, all other files as they are.

    Label maps and edit masks are spared. The same call again is skipped, an interrupted one goes on.

    Raises:
        ConfigError: If ``out`` or ``views`` lie in the dataset, or ``out`` holds something else.
        DataError: If a file cannot be read, or no case is left.
        StorageError: If a file cannot be written.
    """
    for name, place in (("--out", options.out), ("--views", options.views)):
        if place is not None and place.resolve().is_relative_to(options.dataset.resolve()):
            raise ConfigError("lies in the dataset", where=name, expected="a new folder beside it")
    if options.views is not None and options.views.resolve().is_relative_to(options.out.resolve()):
        raise ConfigError(
            "pictures of patients would lie in the set", where="--views", hint="name another folder"
        )
    manifest = read_manifest(options.dataset)
    settings, inputs = _Settings(part=options.part), {"dataset": manifest.content_sha256}
    if not finished(options.out, "deface", settings, inputs):
        require_free_space(options.out, _bytes(options.dataset, manifest))
        with open_run(options.out, "deface", settings, inputs) as run:
            _write(options, manifest, run, progress)
    return _summary(options, DefacedFile.read(options.out / DEFACED))


def _bytes(dataset: Path, manifest: Manifest) -> int:
    paths = [dataset / file.path for record in manifest.cases for file in (*record.images, *_masks(record))]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _masks(record: CaseRecord) -> tuple[StoredFile, ...]:
    return tuple(file for file in (record.label, record.edit_mask) if file is not None)


def _write(options: DefaceOptions, manifest: Manifest, run: RunDir, progress: Progress) -> None:
    """Case by case, then the files that describe all of them; the manifest comes last."""
    working = run.path / "working"
    progress.start("deface", len(manifest.cases))
    done: list[_Done] = []
    for record in manifest.cases:
        kept = working / f"{record.case_id}.json"
        if not kept.is_file():
            _one(options, record, manifest.classes).write(kept)
        done.append(_Done.read(kept))
        progress.advance(note=done[-1].report.outcome)
    lines = [
        DefacedCase(case_id=record.case_id, images=_hashes(one.record), report=one.report)
        for record, one in zip(manifest.cases, done, strict=True)
    ]
    records = tuple(one.record for one in done if one.record is not None)
    if not records:
        shutil.rmtree(working)
        run.refuse()
        reasons = ", ".join(sorted({one.report.reason for one in done}))
        raise DataError(f"no case is left: {reasons or 'there is none'}", where="DATASET")
    _finish(options.dataset, run.path, manifest, records)
    DefacedFile(cases=tuple(lines)).write(run.path / DEFACED)
    shutil.rmtree(working)
    run.log("defaced", kept=len(records), left_out=len(done) - len(records))


def _hashes(record: CaseRecord | None) -> tuple[str, ...]:
    return () if record is None else tuple(file.sha256 for file in record.images)


def _one(options: DefaceOptions, record: CaseRecord, classes: tuple[str, ...]) -> _Done:
    """Deface one case and write its files."""
    case = load_case(options.dataset, record, classes)
    spared = spared_voxels(options.dataset, record, case)
    made = deface(case.volume, spared, modality=record.modality, part=options.part)
    report = made.report
    if report.outcome == "quarantined":
        return _Done(record=None, report=report)
    if options.views is not None and report.outcome == "defaced":
        draw_views(options.views / f"{record.case_id}.png", case.volume, made.removed)
    for file in (*_masks(record), *(record.images if report.outcome == "nothing" else ())):
        _copy(options.dataset / file.path, options.out / file.path)
    if report.outcome == "nothing":
        return _Done(record=record, report=report)
    changed = rewrite_images(options.out, record, made.volume)
    load_case(options.out, changed, classes)  # it can be read back
    return _Done(record=changed, report=report)


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and sha256_file(target) == sha256_file(source):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _finish(dataset: Path, out: Path, manifest: Manifest, records: tuple[CaseRecord, ...]) -> None:
    """Findings, recipes and manifest of the cases that stay; hashes of sources stay, too."""
    ids = {record.case_id for record in records}
    findings = read_findings(dataset)
    recipes, translations = read_origins(dataset)
    for name, rows in ((RECIPES, recipes), (TRANSLATIONS, translations)):
        if rows:
            write_lines(out / name, tuple(row for row in rows if row.case_id in ids))
    stay = tuple(one for one in findings if one.case_id is None or one.case_id in ids)
    finish_dataset(out, manifest.model_copy(update={"cases": records}), stay)


def _summary(options: DefaceOptions, found: DefacedFile) -> DefaceSummary:
    reports = [case.report for case in found.cases]
    outcomes = Counter(report.outcome for report in reports)
    left = [
        report.face_left for report in reports if report.outcome == "defaced" and report.face_left is not None
    ]
    return DefaceSummary(
        out=str(options.out),
        defaced=outcomes["defaced"],
        nothing=outcomes["nothing"],
        quarantined=outcomes["quarantined"],
        reasons=dict(Counter(report.reason for report in reports if report.outcome != "defaced")),
        face_left=max(left, default=None),
        views=None if options.views is None else str(options.views),
    )
