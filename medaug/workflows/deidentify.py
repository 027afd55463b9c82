"""``medaug deidentify``: DICOM and NIfTI files without what tells whose they are; what cannot be made safe stays where it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, final

from pydantic import Field

from medaug.core.certificate import ReportLine
from medaug.core.config import Document, Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.plan import write_lines
from medaug.core.runs import Progress
from medaug.core.storage import (
    clear_leftovers,
    require_free_space,
    storage_error,
    write_bytes_atomic,
)
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.core.workers import Crew, crew
from medaug.privacy.deidentify import (
    EDITION,
    Finding,
    Profile,
    load_secret,
    new_secret,
    parse_options,
    write_secret,
)
from medaug.workflows._deidentify.images import FACE, ImageTask, clean_images, leave_out, plan_images
from medaug.workflows._deidentify.plan import DIRECTORY, Circles, NameBook
from medaug.workflows._deidentify.work import (
    PIXELS,
    REGION,
    Done,
    Rules,
    Task,
    clean,
    deidentifier,
    list_files,
    look,
)

RECORD: Final = "deidentification.json"
DEFAULT_PROFILE: Final = "basic,clean-descriptors,clean-structured-content,modified-dates"
_WORTH_WORKERS = 200
_REMEDIES: Final = {
    "burned-in-text-possible": "; with clean-pixel-data in --profile, text in DICOM pixels is looked for and blanked"
}
Item = TypeVar("Item")
Result = TypeVar("Result")


@final
class DeidentifyOptions(Frozen):
    """What ``medaug deidentify`` is asked."""

    source: Path
    out: Path
    key_file: Path
    profile: str = Field(default=DEFAULT_PROFILE, description="options after commas; basic always applies")
    report: Path | None = Field(default=None, description="one JSON line an input; outside --out")
    workers: int = Field(default=1, ge=0, description="processes; 0: one a core; the output is the same")


@final
class DeidentificationRecord(Document):
    """``deidentification.json``: by which rules the files of a folder were cleaned; holds nothing of the key."""

    edition: str = Field(description="of PS3.15 table E.1-1")
    options: tuple[str, ...] = Field(description="besides the Basic Profile")
    key_check: str = Field(
        description="tells whether two folders were written with one key and the same options"
    )


@final
class DeidentifySummary(Summary):
    """How many files were written, and why the others were not."""

    out: str
    written: int
    quarantined: int
    refused: int
    patients: int = Field(description="of DICOM files that were written")
    faces_not_looked_at: int = Field(
        description="NIfTI images that were written; a head among them has its face"
    )
    pixels_cleaned: int = Field(description="written files in whose pixels places were blanked")
    writing_in_regions: int = Field(
        description="written files with what looks like writing in ultrasound regions, which stays"
    )
    reasons: dict[str, int] = Field(description="files by reason, of those that were not written")
    new_key: bool

    def lines(self) -> tuple[str, ...]:
        """Counts, then reasons."""
        made = ("made a new key: keep it, it alone gives the same pseudonyms again",) if self.new_key else ()
        whose = f" of {counted(self.patients, 'patient')}" if self.patients else ""
        faces = (
            f"{FACE}: {counted(self.faces_not_looked_at, 'NIfTI image')}; a head among them has its face, see `medaug deface`",
        )
        blanked = (f"{PIXELS}: {counted(self.pixels_cleaned, 'file')}; look at them before they go out",)
        spared = (
            f"{REGION}: {counted(self.writing_in_regions, 'file')}; what looks like writing stays there, look",
        )
        return (
            *made,
            f"{counted(self.written, 'file')}{whose} written to {self.out}",
            *(faces if self.faces_not_looked_at else ()),
            *(blanked if self.pixels_cleaned else ()),
            *(spared if self.writing_in_regions else ()),
            f"{self.quarantined} quarantined: they stay where they are; {self.refused} refused",
            *(
                f"{reason}: {count}{_REMEDIES.get(reason, '')}"
                for reason, count in sorted(self.reasons.items())
            ),
        )


def deidentify(options: DeidentifyOptions, progress: Progress) -> DeidentifySummary:
    """Clean every DICOM and NIfTI file below a folder; the same call again goes on where it stopped.

    All headers of a patient are read before the first file is written, so that a name that stands in one is found in the texts
    of all. A file that cannot be made safe is not written; nothing of it is copied anywhere. Neither key nor folder is made before
    there is something to write.

    Raises:
        ConfigError: If the folders lie within each other, or the output was written with other rules.
        DataError: If not one file could be written.
        PrivacyError: If others may read the key.
        StorageError: If a file cannot be read or written.
    """
    profile = Profile(parse_options(options.profile))
    _check_places(options)
    is_new = not options.key_file.exists() and not options.key_file.is_symlink()
    clear_leftovers(options.key_file)
    secret = new_secret() if is_new else load_secret(options.key_file)
    rules = Rules(secret, profile.options, options.out)
    paths = tuple(_files(options.source))
    require_free_space(options.out, sum(map(_size, paths)))
    record = _record(rules)
    goes_on = _goes_on(options.out, record)

    def begin() -> None:
        if is_new:
            write_secret(options.key_file, secret)
        if not goes_on:
            record.write(options.out / RECORD)

    with crew(options.workers or os.cpu_count() or 1, _WORTH_WORKERS) as processes:
        run = _Run(options.source, rules, processes, progress)
        lines = run.clean(paths, begin)
    if options.report is not None:
        clear_leftovers(options.report)
        write_lines(options.report, lines, mode=0o600)
    summary = _summary(options, lines, run.patients, is_new=is_new)
    if not summary.written:
        if not goes_on:
            _take_away(options.out)
        reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(summary.reasons.items()))
        raise DataError(f"no file could be written: {reasons or 'there is none'}", where="SRC")
    return summary


@final
class _Run:
    """One run over a folder: first all headers, then file by file, then the directory of a file-set."""

    def __init__(self, source: Path, rules: Rules, processes: Crew, progress: Progress) -> None:
        self._source, self._rules, self._processes, self._progress = source, rules, processes, progress
        self.patients = 0

    def clean(self, paths: Sequence[Path], begin: Callable[[], None]) -> list[ReportLine]:
        """What became of each file, in the order of the paths; before the first that may be written, a call to begin."""
        planned = plan_images(self._rules, self._source, paths)
        others = [path for path in paths if path not in planned]
        self._progress.start("read headers", len(others))
        looked = self._share(partial(look, self._rules), others)
        tasks = _planned(others, looked)
        if tasks or any(isinstance(one, ImageTask) for one in planned.values()):
            begin()
        cleaned = self._dicom(others, looked, tasks) | self._images(planned)
        return [self._line(path, *cleaned[path]) for path in paths]

    def _images(self, planned: dict[Path, ImageTask | Done]) -> dict[Path, tuple[str, Done]]:
        """First images, then what stands beside those that were written."""
        cleaned = {path: ("", one) for path, one in planned.items() if isinstance(one, Done)}
        tasks = [one for one in planned.values() if isinstance(one, ImageTask)]
        if tasks:
            self._progress.start("clean images", len(tasks))
        self._clean_images([one for one in tasks if one.is_image], cleaned)
        series = {one.series for one in tasks if one.is_image and cleaned[one.path][1].outcome == "written"}
        beside = [one for one in tasks if not one.is_image]
        self._clean_images([one for one in beside if one.series in series], cleaned)
        alone = (one for one in beside if one.series not in series)
        return cleaned | {one.path: (one.name, leave_out(self._rules, one)) for one in alone}

    def _clean_images(self, tasks: Sequence[ImageTask], cleaned: dict[Path, tuple[str, Done]]) -> None:
        done = self._share(partial(clean_images, self._rules), tasks)
        cleaned.update((task.path, (task.name, one)) for task, one in zip(tasks, done, strict=True))

    def _dicom(
        self, paths: Sequence[Path], looked: Sequence[Finding | Done], tasks: Sequence[Task]
    ) -> dict[Path, tuple[str, Done]]:
        self._progress.start("clean files", len(tasks))
        done = self._share(partial(clean, self._rules), tasks)
        cleaned = {task.path: (task.name, one) for task, one in zip(tasks, done, strict=True)}
        written = sorted({name for name, one in cleaned.values() if one.outcome == "written"})
        self.patients = len({name.partition("/")[0] for name in written})
        listed = Done("quarantined", ("media-directory",))
        if written and any(_is_directory(found) for found in looked):
            self._write_directory(written)
            listed = Done("written")
        for path, found in zip(paths, looked, strict=True):
            if isinstance(found, Done):
                cleaned[path] = ("", found)
            elif found.is_directory:
                cleaned[path] = (DIRECTORY, listed)
        return cleaned

    def _share(self, work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
        results = []
        for result in self._processes.each(work, items):
            results.append(result)
            self._progress.advance()
        return results

    def _write_directory(self, names: Sequence[str]) -> None:
        self._progress.start("list files", len(names))
        entries = self._share(partial(list_files, self._rules), names)
        content = deidentifier(self._rules).directory([entry for entry in entries if entry is not None])
        write_bytes_atomic(self._rules.out / DIRECTORY, content)

    def _line(self, path: Path, name: str, done: Done) -> ReportLine:
        given = path.relative_to(self._source) if path != self._source else Path(path.name)
        # names of files are bytes, and not always text
        shown = os.fsencode(given.as_posix()).decode("utf-8", "backslashreplace")
        output = name if done.outcome == "written" else None
        return ReportLine(input=shown, output=output, outcome=done.outcome, reasons=done.reasons)


def _planned(paths: Sequence[Path], looked: Sequence[Finding | Done]) -> list[Task]:
    """Every choice that depends on more than one file, made before the first is cleaned: no process has to ask another."""
    found = [
        (path, one)
        for path, one in zip(paths, looked, strict=True)
        if isinstance(one, Finding) and not one.is_directory
    ]
    circles = Circles()
    for _, one in found:
        circles.add(one)
    book = NameBook(is_file_set=any(_is_directory(one) for one in looked))
    return [Task(path, book.name(one.names, path), circles.of(one)) for path, one in found]


def _is_directory(found: Finding | Done) -> bool:
    return isinstance(found, Finding) and found.is_directory


def _files(source: Path) -> Iterator[Path]:
    """All that is no folder below a source, links to folders included and not followed, in the order of names."""
    if not source.is_dir():
        if not source.exists():
            raise ConfigError("no such folder or file", where="SRC")
        yield source
        return
    for folder, folders, names in os.walk(source, onerror=_stop):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in sorted([*names, *links]))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        # gone since it was listed: it is refused when it is read
        return 0


def _stop(error: OSError) -> None:
    raise storage_error(error) from error


def _check_places(options: DeidentifyOptions) -> None:
    """Nothing that tells who is who may come to lie in the output, nor the output in the source."""
    source, out = options.source.resolve(), options.out.resolve()
    if options.out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError("output is no plain folder", where="--out", hint="name a new folder")
    if out.is_relative_to(source) or source.is_relative_to(out):
        raise ConfigError(
            "output and source lie within each other", where="--out", hint="name another folder"
        )
    for name, path in (("--report", options.report), ("--key-file", options.key_file)):
        if path is not None and path.resolve().is_relative_to(out):
            raise ConfigError("file would lie in the output", where=name, hint="name a place outside it")
    if options.key_file.resolve().is_relative_to(source):
        raise ConfigError("key lies in the source", where="--key-file", hint="keep it apart from the data")


def _record(rules: Rules) -> DeidentificationRecord:
    return DeidentificationRecord(
        edition=EDITION,
        options=tuple(sorted(option.value for option in rules.options)),
        key_check=deidentifier(rules).key_check,
    )


def _goes_on(out: Path, record: DeidentificationRecord) -> bool:
    """Whether an output was begun before; check that it was by the same rules, and sweep what a kill left."""
    path = out / RECORD
    if path.is_file():
        if DeidentificationRecord.read(path) != record:
            raise ConfigError(
                "output was written with another key or profile", where="--out", hint="name a new folder"
            )
        for left in out.rglob(".*.partial.*"):
            left.unlink(missing_ok=True)
        return True
    clear_leftovers(path)
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError("output folder is not empty", where="--out", hint="name a new folder")
    return False


def _take_away(out: Path) -> None:
    """Remove the output of a call that wrote no file."""
    # what cannot be removed, such as a mounted folder, is no reason to say less of why nothing was written
    with suppress(OSError):
        (out / RECORD).unlink(missing_ok=True)
        out.rmdir()


def _summary(
    options: DeidentifyOptions, lines: list[ReportLine], patients: int, *, is_new: bool
) -> DeidentifySummary:
    outcomes = Counter(line.outcome for line in lines)
    reasons = Counter(reason for line in lines if line.outcome != "written" for reason in line.reasons)
    return DeidentifySummary(
        out=str(options.out),
        written=outcomes["written"],
        quarantined=outcomes["quarantined"],
        refused=outcomes["refused"],
        patients=patients,
        faces_not_looked_at=sum(FACE in line.reasons for line in lines),
        pixels_cleaned=sum(_is_said(line, PIXELS) for line in lines),
        writing_in_regions=sum(_is_said(line, REGION) for line in lines),
        reasons=dict(reasons),
        new_key=is_new,
    )


def _is_said(line: ReportLine, reason: str) -> bool:
    """Whether a number above 0 stands behind a reason."""
    return any(one.startswith(f"{reason}:") and one != f"{reason}:0" for one in line.reasons)
