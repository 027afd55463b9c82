"""``pull``: what is missing, no more; private names; and a refusal that stops nobody else."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from medaug.core.errors import ConfigError, DataError, UnreachableError
from medaug.core.runs import NoProgress
from medaug.io.pacs import Answer, Level
from medaug.workflows import pull as workflow
from medaug.workflows.archive import ArchiveOptions
from medaug.workflows.pull import JOURNAL, PullOptions, PullSummary, pull
from tests.unit.workflows.shelf import REFUSED, Shelf


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    monkeypatch.setattr(workflow, "open_archive", shelf.opened)
    return shelf


def run(out: Path, query: str = "PatientID=PAT*", **more: object) -> PullSummary:
    archive = ArchiveOptions(dimse="A@pacs:104")
    options = {"archive": archive, "query": (query,), "out": out}
    return pull(PullOptions.model_validate(options | more), NoProgress())


def names(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.dcm"))


def test_numbers_last_when_the_archive_grows(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shelf.put("1.2.7", 2)
    run(out)
    before = {name: (out / name).read_bytes() for name in names(out)}
    assert list(before) == ["0001/00001.dcm", "0001/00002.dcm"]
    late = shelf.series.pop("1.2.7")
    shelf.put("1.2.5", 1)
    shelf.series["1.2.7"] = late
    shelf.put("1.2.7", 4)
    summary = run(out)
    assert (summary.n_present, summary.n_fetched) == (2, 3)
    assert names(out) == [
        "0001/00001.dcm",
        "0001/00002.dcm",
        "0001/00003.dcm",
        "0001/00004.dcm",
        "0002/00001.dcm",
    ]
    assert {name: (out / name).read_bytes() for name in before} == before
    assert sorted((out / name).read_bytes() for name in names(out)) == sorted(
        functools.reduce(operator.iadd, shelf.series.values(), [])
    )


def test_everything_is_for_its_owner_alone(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("1.2.7", 1)
    run(tmp_path / "out")
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert modes == {JOURNAL: 0o600, "00001.dcm": 0o600}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_refused_instance_is_counted_and_tried_again(shelf: Shelf, tmp_path: Path) -> None:
    first, second, third = shelf.put("1.2.7", 3)
    other = shelf.put("1.2.8", 1)
    shelf.trouble = {first: REFUSED, second: shelf.series["1.2.8"][0], third: b"garbage"}
    summary = run(tmp_path / "out")
    assert summary.n_fetched == len(other)
    assert sorted(summary.refused.values()) == [1, 1, 1]
    assert any("another instance" in reason for reason in summary.refused)
    assert names(tmp_path / "out") == ["0002/00001.dcm"]
    shown = "\n".join(summary.lines()) + summary.model_dump_json()
    assert not any(uid in shown for uid in (first, second, third, "1.2.7", "PAT"))
    with pytest.raises(DataError, match="3 of 4 instances"):
        run(tmp_path / "out", strict=True)
    shelf.trouble.clear()
    assert run(tmp_path / "out", strict=True).n_fetched == 3


def test_nothing_at_all_is_an_error(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing that matches"):
        run(tmp_path / "out")
    (uid,) = shelf.put("1.2.7", 1)
    with pytest.raises(DataError, match=r"nothing that matches \(1 answer") as failure:
        run(tmp_path / "out", "PatientID=Smith")
    assert "Smith" not in failure.value.line()
    assert run(tmp_path / "out", "PatientID=Smith", dry_run=True).n_ignored == 1
    assert not (tmp_path / "out").exists()
    shelf.trouble = {uid: REFUSED}
    with pytest.raises(DataError, match="1 of 1 instance refused"):
        run(tmp_path / "out")


def test_a_cut_connection_keeps_what_is_there(shelf: Shelf, tmp_path: Path) -> None:
    uids = shelf.put("1.2.7", 4)
    shelf.trouble = {uids[2]: UnreachableError("archive does not answer")}
    with pytest.raises(UnreachableError):
        run(tmp_path / "out")
    assert len(names(tmp_path / "out")) == 2
    (tmp_path / "out" / "0001" / ".12345678.partial.00003.dcm").write_bytes(b"half")
    shelf.trouble.clear()
    shelf.fetched = 0
    summary = run(tmp_path / "out")
    assert (summary.n_present, summary.n_fetched, shelf.fetched) == (2, 2, 2)
    assert not list((tmp_path / "out").rglob(".*.partial.*"))


def test_a_dry_run_writes_nothing(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("1.2.7", 3)
    summary = run(tmp_path / "out", dry_run=True)
    assert summary.lines() == ("found 1 study, 1 series, 3 instances",)
    assert (list(tmp_path.iterdir()), shelf.fetched) == ([], 0)


def test_another_pull_into_the_same_folder_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("1.2.7", 1)
    run(tmp_path / "out")
    with pytest.raises(ConfigError, match="another query"):
        run(tmp_path / "out", "PatientID=PAT-4711")
    with pytest.raises(ConfigError, match="another level"):
        run(tmp_path / "out", level="study")
    assert run(tmp_path / "out", limit=1).n_present == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    for name in ("full", "file"):
        with pytest.raises(ConfigError):
            run(tmp_path / name)


class Repeating(Shelf):
    """Says everything twice."""

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Answer]:
        """Each answer and the same again."""
        for answer in super().find(level, keys):
            yield from (answer, answer)


def test_what_an_archive_says_twice_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Repeating()
    monkeypatch.setattr(workflow, "open_archive", shelf.opened)
    shelf.put("1.2.7", 2)
    assert run(tmp_path / "out").n_fetched == 2


def test_options_do_not_show_the_query() -> None:
    options = PullOptions(archive=ArchiveOptions(), query=("PatientID=Smith",), out=Path("out"))
    assert "Smith" not in repr(options)
