"""Read every case in order and write it out; an interrupted run goes on where it stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, final

from pydantic import ValidationError

from medaug.core.case import CaseRecord
from medaug.core.runs import Progress
from medaug.ingest.convert import Converted, convert
from medaug.ingest.discover import Identified
from medaug.ingest.settle import ReadCase
from medaug.ingest.sources import Policy
from medaug.io.dataset import write_case

RESUME = ".resume.jsonl"
# Writing waits for the disk (every file is synced); a few writers keep reading busy in the meantime.
_WRITERS = 4
_WAITING_BYTES = 64 << 20


@final
@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """The cases with their ids, what holds for all of them, and the SHA-256 of source files that were hashed already."""

    cases: tuple[Identified, ...]
    class_names: tuple[str, ...]
    policy: Policy
    digests: Mapping[Path, str] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class _Writing:
    """A case that is being written."""

    position: int
    found: Identified
    read: Converted
    record: Future[CaseRecord]

    @property
    def waiting_bytes(self) -> int:
        """How much memory it holds."""
        return self.read.case.volume.image.nbytes if self.read.case is not None else 0


def read_cases(dataset: Path, plan: ReadingPlan, progress: Progress) -> list[ReadCase]:
    """Every case of the plan: from the resume file where an interrupted run already read it, else from its source.

    Cases are read one after the other and written by a few threads; at most 64 MiB, or one case, wait to be written.

    Args:
        dataset: The dataset folder.
        plan: The cases.
        progress: Told of every case.

    Returns:
        One entry a case, in the order of the plan.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    done = _resumed(dataset, plan)
    with_labels = {found.source.source for found in plan.cases if found.source.label is not None}
    progress.start("ingesting cases", len(plan.cases))
    progress.advance(len(done))
    waiting: deque[_Writing] = deque()
    with (dataset / RESUME).open("a", encoding="utf-8") as log, ThreadPoolExecutor(_WRITERS) as pool:
        for position, found in enumerate(plan.cases):
            if position in done:
                continue
            expected = found.source.source in with_labels
            read = convert(
                found, plan.class_names, plan.policy, labels_expected=expected, digests=plan.digests
            )
            if read.case is None:
                done[position] = _logged(log, position, _entry(found, None, read))
                progress.advance()
                continue
            record = pool.submit(write_case, dataset, read.case, read.facts, read.edit_mask)
            waiting.append(_Writing(position, found, read, record))
            while sum(item.waiting_bytes for item in waiting) > _WAITING_BYTES or len(waiting) > 2 * _WRITERS:
                done |= _landed(waiting.popleft(), log, progress)
        while waiting:
            done |= _landed(waiting.popleft(), log, progress)
    return [done[position] for position in range(len(plan.cases))]


def _landed(item: _Writing, log: TextIO, progress: Progress) -> dict[int, ReadCase]:
    """Wait for a case to be on disk, and only then say so in the resume file."""
    entry = _logged(log, item.position, _entry(item.found, item.record.result(), item.read))
    progress.advance()
    return {item.position: entry}


def _logged(log: TextIO, position: int, entry: ReadCase) -> ReadCase:
    log.write(f"{position}\t{entry.model_dump_json()}\n")
    log.flush()
    return entry


def _entry(found: Identified, record: CaseRecord | None, read: Converted) -> ReadCase:
    return ReadCase(
        case_id=found.case_id,
        source=found.source.source,
        record=record,
        findings=read.findings,
        pixels_sha256=read.pixels_sha256,
        looks_like_hu=read.looks_like_hu,
        is_guessed=read.is_guessed,
    )


def _resumed(dataset: Path, plan: ReadingPlan) -> dict[int, ReadCase]:
    """What an interrupted run finished: its line is whole and its files are there."""
    done: dict[int, ReadCase] = {}
    if not (dataset / RESUME).is_file():
        return done
    for line in (dataset / RESUME).read_text(encoding="utf-8").splitlines():
        position, _, text = line.partition("\t")
        try:
            entry = ReadCase.model_validate_json(text)
        except ValidationError:
            # the line that was being written when the run was stopped
            continue
        whole = entry.record is None or all((dataset / path).is_file() for path in record_paths(entry.record))
        if whole and entry.case_id == plan.cases[int(position)].case_id:
            done[int(position)] = entry
    return done


def record_paths(record: CaseRecord) -> tuple[str, ...]:
    """The files of a case, relative to the dataset folder."""
    stored = (*record.images, record.label, record.edit_mask)
    return tuple(file.path for file in stored if file is not None)
