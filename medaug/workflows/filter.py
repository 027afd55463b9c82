"""``medaug filter``: a synthetic set less the cases that a rule or a person leaves out."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import final

import numpy as np
from pydantic import Field

from medaug.core.assessment import QUALITY, REJECTED, Rejection, RejectionsFile, read_rejections
from medaug.core.case import RECIPES, TRANSLATIONS, CaseRecord, StoredFile, read_findings
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, UnreadableError
from medaug.core.keep import read_list
from medaug.core.plan import PLAN, PlannedLesion, read_lines, write_lines
from medaug.core.runs import RUN_FILE, Progress, RunDir, RunRecord, finished, open_run
from medaug.core.storage import atomic_path, require_free_space, sha256_file, sha256_text
from medaug.core.summary import Summary
from medaug.core.synthetic import SyntheticSet, open_synthetic
from medaug.core.wording import counted
from medaug.io.dataset import edit_mask_path, finish_dataset, load_case, load_edit_mask
from medaug.quality.samples import LesionSample, cut_lesions
from medaug.quality.sheets import MOST_PAIRS, Pair, Panel, lesion_panel, write_pairs

_LINEAGE = ("dataset", "training_scope", "bank", "generator", "translator")
_NULL = "null pastes"
_NONE_STAYS = Panel(np.zeros((2, 2)), None, "none stays")
PICTURE = "rejected.png"
_SHOWN = 10


@final
class FilterOptions(Frozen):
    """What ``medaug filter`` is asked."""

    synthetic: Path
    out: Path | None = Field(default=None, description="new folder; a dry run needs none")
    keep: str | None = Field(default=None, description="rule over the scores of a lesion")
    assessment: Path | None = Field(default=None, description="folder of `medaug assess` for this very set")
    reject: Path | None = Field(default=None, description="list of case ids, each with a reason")
    dry_run: bool = False


@final
class ClassKept(Frozen):
    """Cases of one class: those that stay, of how many."""

    class_name: str
    kept: int
    of: int


@final
class FilterSummary(Summary):
    """What stays and what went."""

    synthetic: str
    out: str | None
    kept: int
    classes: tuple[ClassKept, ...]
    rejected: tuple[Rejection, ...] = Field(description="left out now")
    before: int = Field(description="left out of the set before")
    dry_run: bool

    def lines(self) -> tuple[str, ...]:
        """Counts, one line a class, then who left out what."""
        total = self.kept + len(self.rejected)
        done = "would be kept" if self.dry_run else f"kept, in {self.out}"
        rows = [f"{row.class_name}: {row.kept} of {row.of}" for row in self.classes]
        gone = [f"{one.case_id}: {one.reason or 'no reason given'}" for one in self.rejected[:_SHOWN]]
        more = len(self.rejected) - _SHOWN
        gone += [f"and {more} more"] if more > 0 else []
        seen = f"see {REJECTED}; assess it before you release it: an assessment is of one very set"
        after = () if self.dry_run else (seen,)
        lines = (f"{self.kept} of {counted(total, 'case')} {done}", *rows, self._who(), *gone)
        return (*lines, *after)

    def _who(self) -> str:
        person = sum(one.rule is None for one in self.rejected)
        said = f"left out: {len(self.rejected) - person} by the rule, {person} by a person"
        return said + (f"; {self.before} before" if self.before else "")


@final
class _Settings(Frozen):
    """What makes a filtered set this one."""

    keep: str | None


@final
@dataclass(frozen=True, slots=True)
class _Job:
    """A call with everything it reads."""

    options: FilterOptions
    whole: SyntheticSet
    kept: SyntheticSet
    rejected: tuple[Rejection, ...]
    before: tuple[Rejection, ...]

    @property
    def settings(self) -> _Settings:
        return _Settings(keep=None if self.options.keep is None else self.options.keep.strip())

    @property
    def inputs(self) -> dict[str, str]:
        """Hashes of the set, of what was said of it, and of what it was made from."""
        said = "\n".join(one.model_dump_json() for one in (*self.before, *self.rejected))
        inputs = {"synthetic": self.whole.manifest.content_sha256, "rejected": sha256_text(said)}
        if self.options.assessment is not None:
            inputs["quality"] = sha256_file(self.options.assessment / QUALITY)
        return _lineage(self.whole.folder) | inputs


def filter_set(options: FilterOptions, progress: Progress) -> FilterSummary:
    """Write a synthetic set anew without the cases that break a rule or stand in a person's list.

    Files are linked, or copied where that cannot be, and checked by their hash. ``rejected.json`` says what was left out
    and why, now and before. The same call again is skipped, an interrupted one goes on. ``rejected.png``
    shows what was left out now, beside what stays; it shows patients and goes into no release.

    Raises:
        ConfigError: If nothing is asked, the rule is none, or ``out`` holds something else.
        DataError: If the set is not synthetic or no dataset folder, a file of it changed, the assessment is of another set,
            the list names an unknown case, or nothing is left.
        StorageError: If the disk cannot hold the set.
    """
    _check(options)
    job = _open(options)
    if options.dry_run or options.out is None:
        return _summary(job)
    if finished(options.out, "filter", job.settings, job.inputs):
        return _summary(job)
    require_free_space(options.out, _needed_bytes(job, options.out))
    with open_run(options.out, "filter", job.settings, job.inputs) as run:
        _write(job, run, progress)
    return _summary(job)


def _check(options: FilterOptions) -> None:
    """Options that do not go together."""
    if options.keep is None and options.reject is None:
        raise ConfigError("it is not said what to leave out", expected="--keep, --reject or both")
    if options.keep is not None and options.assessment is None:
        hint = "name the folder of `medaug assess` with --assessment"
        raise ConfigError("rests on the scores of an assessment", where="--keep", hint=hint)
    if options.keep is None and options.assessment is not None:
        raise ConfigError("goes with --keep alone", where="--assessment", hint="leave it out")
    if options.out is None and not options.dry_run:
        raise ConfigError("is missing", where="--out", expected="a new folder, or --dry-run")
    if options.out is not None and options.out.resolve().is_relative_to(options.synthetic.resolve()):
        raise ConfigError("lies in the set", where="--out", expected="a new folder beside it")


def _open(options: FilterOptions) -> _Job:
    whole = open_synthetic(options.synthetic, where="SYN")
    for record in whole.manifest.cases:
        _check_form(record, str(options.synthetic))
    known = [record.case_id for record in whole.manifest.cases]
    before = tuple(one for one in read_rejections(options.synthetic) if one.case_id not in known)
    gone = () if options.reject is None else read_list(options.reject, known, [b.case_id for b in before])
    by_person = {one.case_id for one in gone}
    if options.keep is not None and options.assessment is not None:
        broken = whole.broken(options.keep, options.assessment, where="--keep")
        gone += tuple(one for one in broken if one.case_id not in by_person)
    place = {case_id: number for number, case_id in enumerate(known)}
    rejected = tuple(sorted(gone, key=lambda one: place[one.case_id]))
    return _Job(options, whole, whole.without(one.case_id for one in gone), rejected, before)


def _check_form(record: CaseRecord, name: str) -> None:
    """Refuse a set that lies on the disk in another tool's form: what describes it could not be written anew."""
    folder = "imagesTs" if record.label is None else "imagesTr"
    wanted = {f"{folder}/{record.case_id}_{n:04d}.nii.gz" for n in range(len(record.channels))}
    wanted |= set() if record.label is None else {f"labelsTr/{record.case_id}.nii.gz"}
    wanted |= set() if record.edit_mask is None else {edit_mask_path(record.case_id)}
    if {file.path for file in record.files} != wanted:
        what = f"{name} has the form of another tool"
        raise DataError(what, where=record.case_id, hint="ingest it, and filter what that makes")


def _lineage(synthetic: Path) -> dict[str, str]:
    """What the run record of the set says it was made from; nothing for a set of another tool."""
    if not (synthetic / RUN_FILE).is_file():
        return {}
    inputs = RunRecord.read(synthetic / RUN_FILE).inputs
    return {name: inputs[name] for name in _LINEAGE if name in inputs}


def _needed_bytes(job: _Job, out: Path) -> int:
    """Nothing but texts where files can be linked."""
    place = out.absolute().parent
    while not place.exists():
        place = place.parent
    if place.stat().st_dev == job.whole.folder.stat().st_dev:
        return 0
    records = job.kept.manifest.cases
    paths = [job.whole.folder / file.path for record in records for file in record.files]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _write(job: _Job, run: RunDir, progress: Progress) -> None:
    """The files of every case, then those that describe all of them; the manifest comes last."""
    kept, source = job.kept, job.whole.folder
    progress.start("cases", len(kept.manifest.cases))
    for record in kept.manifest.cases:
        for file in record.files:
            _place(source / file.path, run.path / file.path, file, record.case_id)
        progress.advance()
    gone = {one.case_id for one in job.rejected}
    RejectionsFile(rejections=(*job.before, *job.rejected)).write(run.path / REJECTED)
    pairs = _pairs(job)
    if pairs:
        write_pairs(run.path / PICTURE, pairs)
    if (source / PLAN).is_file():
        plan = read_lines(source / PLAN, PlannedLesion)
        write_lines(run.path / PLAN, tuple(line for line in plan if line.case_id not in gone))
    for name, rows in ((RECIPES, kept.recipes), (TRANSLATIONS, kept.translations)):
        if (source / name).is_file():
            write_lines(run.path / name, tuple(rows))
    findings = read_findings(source)
    finish_dataset(run.path, kept.manifest, tuple(f for f in findings if f.case_id not in gone))
    run.log("filtered", kept=len(kept.manifest.cases), rejected=len(gone))


def _pairs(job: _Job) -> list[Pair]:
    """Lesions that were left out, each beside one of its class that stays."""
    stay = {
        name: cycle([record for record in job.kept.manifest.cases if name in record.classes])
        for name in {name for record in job.kept.manifest.cases for name in record.classes}
    }
    pairs: list[Pair] = []
    for one in job.rejected[:MOST_PAIRS]:
        gone = _lesion(job, job.whole.manifest.case(one.case_id), "")
        if gone is None:
            continue
        other = next(stay.get(gone.class_name, iter(())), None)
        kept = None if other is None else _lesion(job, other, gone.class_name)
        beside = _NONE_STAYS if kept is None else lesion_panel(kept, f"{kept.case_id}\nkept")
        pairs.append((lesion_panel(gone, f"{one.case_id}\n{one.reason}", is_flagged=True), beside))
    return pairs


def _lesion(job: _Job, record: CaseRecord, class_name: str) -> LesionSample | None:
    """The first lesion of a case, of that class; None where it has none, or the case cannot be read."""
    folder, classes = job.whole.folder, job.whole.manifest.classes
    try:
        case = load_case(folder, record, classes)
        edit_mask = None if record.edit_mask is None else load_edit_mask(folder, record)
        lesions = [] if case.label_map is None else cut_lesions(case, edit_mask)
    except DataError:
        return None  # it may have been left out for that
    return next((lesion for lesion in lesions if class_name in ("", lesion.class_name)), None)


def _place(source: Path, target: Path, file: StoredFile, case_id: str) -> None:
    """Link a file, or copy it where it lies on another disk, unless it is there already.

    Raises:
        UnreadableError: If it is missing or not the file that the manifest describes.
    """
    if target.is_file() and sha256_file(target) == file.sha256:
        return
    hint = "restore it, or make the set again"
    if not source.is_file():
        raise UnreadableError(f"{file.path} is missing", where=case_id, hint=hint)
    with atomic_path(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        if sha256_file(temporary) != file.sha256:
            what = f"{file.path} is not the file the manifest describes"
            raise UnreadableError(what, where=case_id, hint=hint)


def _summary(job: _Job) -> FilterSummary:
    of, kept = _counts(job.whole), _counts(job.kept)
    order = [name for name in (*job.whole.manifest.classes, _NULL) if name in of]
    return FilterSummary(
        synthetic=str(job.whole.folder),
        out=None if job.options.dry_run else str(job.options.out),
        kept=len(job.kept.manifest.cases),
        classes=tuple(ClassKept(class_name=name, kept=kept[name], of=of[name]) for name in order),
        rejected=job.rejected,
        before=len(job.before),
        dry_run=job.options.dry_run,
    )


def _counts(synthetic: SyntheticSet) -> Counter[str]:
    """Cases by the class that was made; where nothing says, by the classes they hold."""
    made = {row.case_id: row.class_name for row in synthetic.translations}
    made |= {row.case_id: _NULL if row.use == "null" else row.class_name for row in synthetic.recipes}
    counts = Counter[str]()
    for record in synthetic.manifest.cases:
        name = made.get(record.case_id)
        counts.update(record.classes if name is None else (name,))
    return counts
