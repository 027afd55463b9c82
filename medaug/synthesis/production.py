"""Drawing a plan into files: hosts are read ahead and cases written behind, while lesions are drawn in between.

Reading and writing have threads of their own, since most of their time is compression, which runs beside the drawing. What is
waiting is bounded by number and bytes, so memory does not depend on how many lesions a plan has. Lesions are drawn in batches that
depend on the plan alone; so a set is the same however many threads there are and wherever it was interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import final

from medaug.core.case import CaseRecord, Manifest, Origin
from medaug.core.config import Document
from medaug.core.errors import DataError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.plan import PlannedLesion, Recipe
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.io.dataset import CaseFacts, edit_mask_path, load_case, write_case
from medaug.lesions.place import HostTissue
from medaug.synthesis.order import HostView, Order, Prepared, Rendered
from medaug.synthesis.planning import deal_hosts, hosts_for
from medaug.synthesis.render import Renderer

NOTES = "written"
_OTHER_HOSTS = 8  # hosts tried when the planned one has no room
_BATCH_LESIONS = 16
_BATCH_BYTES = 256 << 20
_AHEAD = 2  # hosts read before they are needed
_WRITERS = 2
_WAITING_BYTES = 256 << 20


@final
@dataclass(frozen=True, slots=True, eq=False)
class HostPool:
    """What lesions are drawn on.

    Attributes:
        dataset: Its folder.
        manifest: Its manifest.
        fold: Only its training patients are hosts.
        hosts: Their cases that may take a lesion.
    """

    dataset: Path
    manifest: Manifest
    fold: Fold
    hosts: tuple[CaseRecord, ...]


@final
class Written(Document):
    """What became of one planned lesion; kept until the manifest is written, so that a run can resume."""

    planned: PlannedLesion
    record: CaseRecord | None
    recipe: Recipe | None
    findings: tuple[Finding, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A planned lesion with its place in a host."""

    planned: PlannedLesion
    host: CaseRecord
    prepared: Prepared
    findings: tuple[Finding, ...]


def produce(
    pool: HostPool, renderer: Renderer, planned: Sequence[PlannedLesion], out: Path
) -> Generator[Written]:
    """Draw and write what is not written yet; each lesion that is done is given back, in no particular order.

    Raises:
        UnreadableError: If the bank is damaged.
        StorageError: If a file cannot be written.
    """
    records = {record.case_id: record for record in pool.manifest.cases}
    batches = [
        (batch, missing)
        for batch in _batches(planned, records)
        if (missing := [lesion for lesion in batch if read_note(out, lesion) is None])
    ]
    hosts = [records[lesion.host_case_id] for batch, _ in batches for lesion in batch]
    with _Reader(pool, renderer, hosts) as reader, _Writer(pool, renderer, out) as writer:
        draw = _Placing(pool, renderer, reader, records)
        for batch, missing in batches:
            wanted = {lesion.case_id for lesion in missing}
            found = [draw.prepare(lesion) for lesion in batch]
            ready = [one for one in found if isinstance(one, _Ready)]
            for lost in (one for one in found if isinstance(one, Written) and one.planned.case_id in wanted):
                yield writer.refuse(lost)
            rngs = [SeedTree(one.planned.seed).child("draw").rng() for one in ready]
            drawn = zip(ready, renderer.draw([one.prepared for one in ready], rngs), strict=True)
            for one, answer in (pair for pair in drawn if pair[0].planned.case_id in wanted):
                yield from writer.add(one, renderer.insert(one.prepared, answer))
        yield from writer.finish()


def read_note(out: Path, lesion: PlannedLesion) -> Written | None:
    """What was written of a lesion in an earlier call; None if it was another one then."""
    path = _note(out, lesion.case_id)
    if not path.is_file():
        return None
    note = Written.read(path)
    return note if note.planned == lesion else None


def drop_leftovers(out: Path, planned: Sequence[PlannedLesion]) -> None:
    """Remove cases that an earlier plan of this folder had and this one has not, or has otherwise."""
    wanted = {lesion.case_id: lesion for lesion in planned}
    for path in (out / NOTES).glob("*.json"):
        note = Written.read(path)
        if note.planned == wanted.get(path.stem):
            continue
        for file in () if note.record is None else note.record.files:
            (out / file.path).unlink(missing_ok=True)
        path.unlink()


def _note(out: Path, case_id: str) -> Path:
    return out / NOTES / f"{case_id}.json"


def _batches(
    planned: Sequence[PlannedLesion], records: dict[str, CaseRecord]
) -> Iterator[list[PlannedLesion]]:
    """Lesions host by host, so many at a time as the generator is asked for in one call."""
    batch: list[PlannedLesion] = []
    size = 0
    for lesion in sorted(planned, key=lambda one: (one.host_case_id, one.case_id)):
        host = records[lesion.host_case_id]
        size += 4 * len(host.channels) * host.shape[0] * host.shape[1] * host.shape[2]
        batch.append(lesion)
        if len(batch) >= _BATCH_LESIONS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@final
class _Reader:
    """Hosts with their views, the next few read ahead; the last one is kept, since lesions are drawn host by host."""

    def __init__(self, pool: HostPool, renderer: Renderer, hosts: Sequence[CaseRecord]) -> None:
        self._pool, self._renderer = pool, renderer
        self._coming = iter({host.case_id: host for host in hosts}.values())
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="hosts")
        self._ahead: dict[str, Future[HostView]] = {}
        self._last: tuple[str, HostView] | None = None
        self._tissues: dict[str, HostTissue] = {}

    def __enter__(self) -> _Reader:
        for _ in range(_AHEAD):
            self._request_next()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def view(self, host: CaseRecord) -> HostView:
        """A host, read now where that was not done ahead.

        Raises:
            DataError: If it cannot be read.
        """
        if self._last is not None and self._last[0] == host.case_id:
            return self._last[1]
        self._last, self._tissues = None, {}
        coming = self._ahead.pop(host.case_id, None)
        if coming is None:
            view = self._read(host)
        else:
            self._request_next()
            view = coming.result()
        self._last = (host.case_id, view)
        return view

    def tissue(self, host: CaseRecord, class_name: str) -> HostTissue:
        """Of the host and class; kept as long as the host is."""
        view = self.view(host)
        if class_name not in self._tissues:
            self._tissues[class_name] = self._renderer.tissue(view, class_name)
        return self._tissues[class_name]

    def _request_next(self) -> None:
        host = next(self._coming, None)
        if host is not None:
            self._ahead[host.case_id] = self._threads.submit(self._read, host)

    def _read(self, host: CaseRecord) -> HostView:
        case = load_case(self._pool.dataset, host, self._pool.manifest.classes)
        return self._renderer.view(case)


@final
class _Placing:
    """Places lesions in hosts."""

    def __init__(
        self, pool: HostPool, renderer: Renderer, reader: _Reader, records: dict[str, CaseRecord]
    ) -> None:
        self._pool, self._renderer, self._reader, self._records = pool, renderer, reader, records

    def prepare(self, planned: PlannedLesion) -> _Ready | Written:
        """Place a lesion in the planned host, or in another of the fold where that one has no room."""
        first = self._records[planned.host_case_id]
        order = order_of(planned)
        reason, tried = "", 0
        refused: list[Finding] = []
        for host in chain((first,), self._others(planned)):
            tried += 1
            try:
                view = self._reader.view(host)
            except DataError as error:
                refused.append(_unreadable(host, error))
                reason = reason or "it cannot be read"
                continue
            rng = SeedTree(planned.seed).child("place", host.case_id).rng()
            try:
                tissue = None if order.use == "swap" else self._reader.tissue(host, order.class_name)
                prepared = self._renderer.prepare(view, order, rng, tissue)
            except UnreadableError:  # of the bank: no other host helps
                raise
            except DataError as error:
                reason = reason or error.what
                continue
            moved = () if host is first else (_moved(planned, reason),)
            return _Ready(planned, host, prepared, (*refused, *moved))
        hosts = "the planned host" if planned.site_mm is not None else f"{tried} hosts"
        message = f"no place for a {planned.class_name} lesion in {hosts}: {reason}"
        no_place = finding(Code.NO_PLACE, "refused", message, planned.case_id)
        return Written(planned=planned, record=None, recipe=None, findings=(*refused, no_place))

    def _others(self, planned: PlannedLesion) -> Iterator[CaseRecord]:
        """Hosts for a lesion whose planned host has no room; dealt only when asked for."""
        if planned.site_mm is None:
            hosts = hosts_for(planned.use, planned.class_name, self._pool.hosts)
            yield from deal_hosts(hosts, _OTHER_HOSTS, SeedTree(planned.seed).child("other hosts"))


@final
class _Writer:
    """Writes cases in threads; no more wait for it than memory allows."""

    def __init__(self, pool: HostPool, renderer: Renderer, out: Path) -> None:
        self._pool, self._renderer, self._out = pool, renderer, out
        self._threads = ThreadPoolExecutor(_WRITERS, thread_name_prefix="cases")
        self._waiting: deque[tuple[int, Future[Written]]] = deque()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def add(self, ready: _Ready, rendered: Rendered) -> Iterator[Written]:
        """Have a case written; what is finished meanwhile is given back."""
        size = rendered.case.volume.image.nbytes
        self._waiting.append((size, self._threads.submit(self._write, ready, rendered)))
        while self._waiting and (self._waiting[0][1].done() or self._is_full()):
            yield self._waiting.popleft()[1].result()

    def finish(self) -> Iterator[Written]:
        """Wait for the rest."""
        while self._waiting:
            yield self._waiting.popleft()[1].result()

    def refuse(self, written: Written) -> Written:
        """Note a lesion that found no place."""
        written.write(_note(self._out, written.planned.case_id))
        return written

    def _is_full(self) -> bool:
        many = len(self._waiting) > 2 * _WRITERS
        return many or sum(size for size, _ in self._waiting) > _WAITING_BYTES

    def _write(self, ready: _Ready, rendered: Rendered) -> Written:
        """The case's files, then the note that says so."""
        planned, host = ready.planned, ready.host
        case = replace(rendered.case, case_id=planned.case_id, origin=Origin.SYNTHETIC)
        facts = CaseFacts(
            modality=host.modality,
            licence=host.licence,
            terms=host.terms,
            source_sha256=host.source_sha256,
            findings=tuple(one.code for one in ready.findings),
        )
        record = write_case(self._out, case, facts, rendered.edit_mask)
        recipe = self._recipe(planned, host, rendered)
        written = Written(planned=planned, record=record, recipe=recipe, findings=ready.findings)
        written.write(_note(self._out, planned.case_id))
        return written

    def _recipe(self, planned: PlannedLesion, host: CaseRecord, rendered: Rendered) -> Recipe:
        renderer, fold = self._renderer, self._pool.fold
        return Recipe(
            case_id=planned.case_id,
            host_case_id=host.case_id,
            host_patient_id=host.patient_id,
            donor_patient_ids=rendered.donor_patient_ids,
            generator=renderer.generator.kind,
            generator_sha256=renderer.generator.sha256,
            bank_sha256=renderer.bank.sha256,
            fold=fold.index,
            training_scope_sha256=fold.scope_sha256,
            class_name=rendered.class_name,
            use=planned.use,
            site_mm=rendered.site_mm,
            diameter_mm=rendered.diameter_mm,
            wanted_mm=planned.diameter_mm,
            contrast=planned.contrast,
            sharpness=planned.sharpness,
            group=planned.group,
            room_mm=planned.room_mm,
            blending=rendered.blending,
            match_noise=renderer.finish.match_noise,
            tissue=renderer.finish.tissue,
            shapes="host" if planned.use == "swap" else renderer.shapes.choice(rendered.class_name).kind,
            seed=planned.seed,
            edit_mask=edit_mask_path(planned.case_id),
        )


def order_of(planned: PlannedLesion) -> Order:
    """What a line of the plan asks of the renderer."""
    return Order(
        planned.class_name,
        planned.diameter_mm,
        planned.use,
        planned.contrast,
        planned.sharpness,
        planned.site_mm,
        planned.room_mm,
    )


def _unreadable(host: CaseRecord, error: DataError) -> Finding:
    """A host of the dataset is damaged; the lesion goes to another one."""
    bare = DataError(error.what, expected=error.expected, hint=error.hint)
    return finding(Code.HOST_UNREADABLE, "refused", f"host left out: {bare.line()}", host.case_id)


def _moved(planned: PlannedLesion, reason: str) -> Finding:
    message = f"planned host had no place ({reason}); another training case was used, see recipes.jsonl"
    return finding(Code.HOST_CHANGED, "fixed", message, planned.case_id)
