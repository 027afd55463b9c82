"""``medaug pull``: fetch series from an archive into a folder that `medaug ingest` takes.

File names are running numbers. Which of them is what stands in a hidden file of mode 600 alone, by which an
interrupted pull goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

from pydantic import Field

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.runs import Progress
from medaug.core.storage import require_free_space, storage_error, write_bytes_atomic
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.io.journal import Entry, Journal, open_journal
from medaug.io.pacs import Archive, Instance, check_instance
from medaug.io.query import FoundSeries, Search, parse_query
from medaug.workflows.archive import ArchiveOptions, open_archive

JOURNAL = ".pull.private.jsonl"
STEP = "pull"
_TYPICAL_BYTES = 1 << 19
_COMPLETE = "complete"


@final
class PullOptions(Frozen):
    """Options of `medaug pull`."""

    archive: ArchiveOptions
    query: tuple[str, ...] = Field(repr=False, description="KEY=VALUE, which identify patients")
    out: Path
    level: Literal["study", "series"] = "series"
    limit: int | None = Field(default=None, ge=1, description="at most so many studies or series")
    dry_run: bool = False
    strict: bool = Field(default=False, description="a single refused instance is an error")


@final
class PullSummary(Summary):
    """What was found, and what of it is here."""

    out: Path
    n_studies: int
    n_series: int
    n_instances: int
    n_fetched: int = Field(description="by this call")
    n_present: int = Field(description="by an earlier call")
    refused: dict[str, int] = Field(description="reason to number of instances")
    n_ignored: int = Field(description="answers of the archive that did not show what was asked for")
    dry_run: bool

    def lines(self) -> tuple[str, ...]:
        """The result in short lines."""
        done = f"{self.n_fetched} fetched, {self.n_present} there before, in {self.out}"
        if self.dry_run:
            done = _found(self.n_studies, self.n_series, self.n_instances)
        refused = tuple(f"{number} refused: {reason}" for reason, number in self.refused.items())
        ignored = (_ignored(self.n_ignored),) if self.n_ignored else ()
        return (done, *refused, *ignored)


@final
@dataclass(slots=True)
class _Tally:
    n_fetched: int = 0
    n_present: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def pull(options: PullOptions, progress: Progress) -> PullSummary:
    """Find what matches, say how much that is, and fetch what is not here yet.

    Raises:
        ConfigError: If options are wrong, or ``out`` holds another pull.
        DataError: If nothing matches, no instance could be fetched, or, with ``strict``, one could not.
        NetworkError: If the archive cannot be reached or does not let us in; what was fetched stays.
        StorageError: If the disk is full.
    """
    query = parse_query(options.query)
    if not options.dry_run:
        _require_own_folder(options.out)
    with open_archive(options.archive) as archive:
        search = Search(archive, query)
        found = _find(search, options, progress)
        n_instances = sum(len(series.instances) for series in found)
        n_studies = len({series.study_uid for series in found})
        tally = _Tally()
        if found and not options.dry_run:
            progress.say(_found(n_studies, len(found), n_instances))
            tally = _fetch_all(archive, found, options, progress)
    if not options.dry_run:
        _require_success(options, n_instances, search.ignored, tally)
    return PullSummary(
        out=options.out,
        n_studies=n_studies,
        n_series=len(found),
        n_instances=n_instances,
        n_fetched=tally.n_fetched,
        n_present=tally.n_present,
        refused=dict(sorted(tally.refused.items())),
        n_ignored=search.ignored,
        dry_run=options.dry_run,
    )


def _found(n_studies: int, n_series: int, n_instances: int) -> str:
    parts = (
        counted(n_studies, "study", "studies"),
        counted(n_series, "series", "series"),
        counted(n_instances, "instance"),
    )
    return f"found {', '.join(parts)}"


def _ignored(number: int) -> str:
    answers = counted(number, "answer")
    return f"{answers} of the archive left out: they do not show what was asked for"


def _find(search: Search, options: PullOptions, progress: Progress) -> list[FoundSeries]:
    progress.start("finding series", None)
    found, taken = [], set[str]()
    for series in search.series(options.level, options.limit):
        fresh = tuple(one for one in series.instances if one.sop_instance_uid not in taken)
        search.ignored += len(series.instances) - len(fresh)
        taken.update(one.sop_instance_uid for one in fresh)
        found.append(FoundSeries(series.study_uid, series.uid, fresh))
        progress.advance()
    return found


def _require_own_folder(out: Path) -> None:
    """A new folder, or that of a pull; what a killed one left half-written goes."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file", where="--out", expected="a new folder")
    try:
        if out.is_dir() and any(out.iterdir()) and not (out / JOURNAL).is_file():
            raise ConfigError(f"{out} exists and is no pull", where="--out", hint="name a new folder")
    except OSError as error:
        raise storage_error(error, out) from error


def _fetch_all(
    archive: Archive, found: list[FoundSeries], options: PullOptions, progress: Progress
) -> _Tally:
    """Fetch what is missing; a refused instance is counted and the others go on."""
    asked = {
        "query": json.dumps(parse_query(options.query).keys),
        "level": options.level,
        "archive": options.archive.address,
    }
    try:
        options.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, options.out) from error
    tally = _Tally()
    with open_journal(options.out / JOURNAL, STEP, asked) as journal:
        for left in options.out.rglob(".*.partial.*"):
            left.unlink()
        missing = [
            (file, one) for file, one in _numbered(found, journal) if not _is_here(journal, one, options.out)
        ]
        tally.n_present = sum(len(series.instances) for series in found) - len(missing)
        require_free_space(options.out, len(missing) * _TYPICAL_BYTES)
        progress.start("fetching instances", len(missing))
        for file, instance in missing:
            try:
                content = archive.fetch(instance)
                check_instance(content, instance)
            except DataError as error:
                tally.refused[error.what] += 1
            else:
                write_bytes_atomic(options.out / file, content, mode=0o600)
                journal.add(Entry(key=instance.sop_instance_uid, state=_COMPLETE, file=file))
                tally.n_fetched += 1
            progress.advance()
    return tally


def _numbered(found: list[FoundSeries], journal: Journal) -> Iterator[tuple[str, Instance]]:
    """Every instance with its file: the number of its series, which lasts, and that within the series."""
    for series in found:
        entry = journal.get(series.uid)
        if entry is None:
            entry = Entry(key=series.uid, state="series", file=f"{journal.count('series') + 1:04d}")
            journal.add(entry)
        taken = {one.sop_instance_uid: journal.get(one.sop_instance_uid) for one in series.instances}
        used = {known.file for known in taken.values() if known is not None}
        free = (name for n in range(1, 1 << 31) if (name := f"{entry.file}/{n:05d}.dcm") not in used)
        for one in series.instances:
            known = taken[one.sop_instance_uid]
            yield (known.file if known is not None else next(free)), one


def _is_here(journal: Journal, instance: Instance, out: Path) -> bool:
    entry = journal.get(instance.sop_instance_uid)
    return entry is not None and (out / entry.file).is_file()


def _require_success(options: PullOptions, n_instances: int, n_ignored: int, tally: _Tally) -> None:
    if not n_instances:
        more = f" ({_ignored(n_ignored)})" if n_ignored else ""
        raise DataError(f"archive holds nothing that matches{more}", where="--query", hint="try --dry-run")
    n_refused = sum(tally.refused.values())
    if n_refused and (options.strict or not tally.n_fetched + tally.n_present):
        reason = tally.refused.most_common(1)[0][0]
        raise DataError(
            f"{n_refused} of {counted(n_instances, 'instance')} refused, most often: {reason}",
            hint="the same command tries them again",
        )
