"""Production reads each host once, writes beside the drawing, and makes the same set however it is interrupted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from medaug.core.case import CaseRecord, Manifest
from medaug.core.errors import StorageError
from medaug.core.plan import PlannedLesion
from medaug.core.seeding import SeedTree
from medaug.core.storage import sha256_file
from medaug.generators.copy_paste import Config
from medaug.io.dataset import CaseFacts, load_case, write_case
from medaug.lesions.bank import bank_of_cases
from medaug.synthesis import production
from medaug.synthesis.balance import ClassCount
from medaug.synthesis.planning import make_plan
from medaug.synthesis.production import HostPool, Written, drop_leftovers, produce, read_note
from medaug.synthesis.render import Renderer
from tests.small_cases import CLASSES, chest, fold_of

CASES = [chest(n, (CLASSES[n % 2],)) for n in range(4)]
FOLD = fold_of(CASES)
RENDERER = Renderer(bank_of_cases(CASES, FOLD), Config().build())


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> HostPool:
    folder = tmp_path_factory.mktemp("set")
    records = tuple(write_case(folder, case, CaseFacts(modality="CT")) for case in CASES)
    return HostPool(folder, Manifest(name="small", classes=CLASSES, cases=records), FOLD, records)


def plan(pool: HostPool, count: int = 10) -> tuple[PlannedLesion, ...]:
    return make_plan((ClassCount("solid", count),), pool.hosts, SeedTree(1))


def made(pool: HostPool, planned: tuple[PlannedLesion, ...], out: Path) -> dict[str, Written]:
    return {written.planned.case_id: written for written in produce(pool, RENDERER, planned, out)}


def images(out: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in out.rglob("*.nii.gz")}


def test_each_host_is_read_once_and_ahead(
    pool: HostPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, str]] = []

    def counted(dataset: Path, record: CaseRecord, classes: tuple[str, ...]) -> object:
        read.append((record.case_id, threading.current_thread().name))
        return load_case(dataset, record, classes)

    monkeypatch.setattr(production, "load_case", counted)
    assert len(made(pool, plan(pool), tmp_path)) == 10
    assert sorted(case_id for case_id, _ in read) == [case.case_id for case in CASES]
    assert all(name.startswith("hosts") for _, name in read)


@pytest.mark.parametrize(("writers", "lesions"), [(1, 1), (4, 3)])
def test_the_set_does_not_depend_on_threads_and_batches(
    pool: HostPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writers: int, lesions: int
) -> None:
    usual = made(pool, plan(pool, 5), tmp_path / "usual")
    monkeypatch.setattr(production, "_WRITERS", writers)
    monkeypatch.setattr(production, "_BATCH_LESIONS", lesions)
    assert made(pool, plan(pool, 5), tmp_path / "other") == usual
    assert images(tmp_path / "other") == images(tmp_path / "usual")


def test_what_waits_is_bounded(pool: HostPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, most = [0], [0]
    door = threading.Lock()
    insert = Renderer.insert

    def entering(self: Renderer, *given: object) -> object:
        with door:
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
        return insert(self, *given)  # type: ignore[arg-type]

    def leaving(*given: object) -> CaseRecord:
        record = write_case(*given)  # type: ignore[arg-type]
        with door:
            waiting[0] -= 1
        return record

    monkeypatch.setattr(Renderer, "insert", entering)
    monkeypatch.setattr(production, "write_case", leaving)
    assert len(made(pool, plan(pool, 30), tmp_path)) == 30
    assert most[0] <= 2 * production._WRITERS + 2


def test_a_failed_write_stops_the_production(
    pool: HostPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> CaseRecord:
        raise StorageError("disk is full")

    monkeypatch.setattr(production, "write_case", full)
    with pytest.raises(StorageError, match="disk is full"):
        made(pool, plan(pool), tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_only_what_is_missing_or_changed_is_drawn_again(pool: HostPool, tmp_path: Path) -> None:
    planned = plan(pool, 4)
    first = made(pool, planned, tmp_path)
    assert made(pool, planned, tmp_path) == {}
    edited = (planned[0].model_copy(update={"seed": 7}), *planned[1:3])
    assert read_note(tmp_path, edited[0]) is None
    drop_leftovers(tmp_path, edited)
    assert not list(tmp_path.rglob(f"{planned[0].case_id}*"))  # it may find no place now
    assert set(made(pool, edited, tmp_path)) == {planned[0].case_id}
    assert read_note(tmp_path, planned[1]) == first[planned[1].case_id]
    assert not list(tmp_path.rglob(f"{planned[3].case_id}*"))
