"""``push``: only what was meant to leave leaves, once, and each refusal is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from pydicom.dataset import FileDataset

from medaug.core.errors import ConfigError, DataError, GateRefusedError, UnreachableError
from medaug.core.runs import NoProgress
from medaug.io.pacs import Stored
from medaug.privacy.keys import PRIVATE_KEY, PUBLIC_KEY, write_key_pair
from medaug.workflows import push as workflow
from medaug.workflows.archive import ArchiveOptions
from medaug.workflows.push import PushOptions, PushSummary, push
from medaug.workflows.release import ReleaseOptions, release
from tests.unit.privacy.synthetic_set import make_set
from tests.unit.workflows.shelf import REFUSED, Shelf


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    monkeypatch.setattr(workflow, "open_archive", shelf.opened)
    return shelf


@pytest.fixture
def folder(shelf: Shelf, tmp_path: Path) -> Path:
    """Three files of a series and one that is no DICOM."""
    folder = tmp_path / "scans"
    folder.mkdir()
    shelf.put("1.2.7", 3)
    for number, content in enumerate(shelf.series["1.2.7"]):
        (folder / f"Smith_{number}.dcm").write_bytes(content)
    (folder / "notes.txt").write_text("x")
    return folder


def run(folder: Path, address: str = "A@pacs:104", **more: object) -> PushSummary:
    options = {"folder": folder, "archive": ArchiveOptions(dimse=address), "allow_unverified": True}
    return push(PushOptions.model_validate(options | more), NoProgress())


def test_each_file_is_sent_once_to_each_archive(shelf: Shelf, folder: Path) -> None:
    assert run(folder).n_accepted == 3
    again = run(folder)
    assert (again.n_accepted, again.n_present, len(shelf.stored)) == (0, 3, 3)
    assert run(folder, "B@pacs:104").n_accepted == 3
    state = folder.with_name("scans.push.private.jsonl")
    assert state.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == [
        "Smith_0.dcm",
        "Smith_1.dcm",
        "Smith_2.dcm",
        "notes.txt",
    ]


def test_refusals_are_counted_without_names(shelf: Shelf, folder: Path) -> None:
    uids = shelf.put("1.2.7", 3)
    shelf.trouble = {uids[0]: REFUSED, uids[1]: b"warn"}
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    summary = run(folder)
    assert (summary.n_files, summary.n_accepted, summary.n_warned) == (4, 2, 1)
    assert sum(summary.refused.values()) == 2
    assert "Smith" not in "\n".join(summary.lines()) + summary.model_dump_json()
    with pytest.raises(DataError, match="2 of 4 instances") as failure:
        run(folder, strict=True)
    assert "Smith" not in failure.value.line()
    shelf.trouble.clear()
    again = run(folder)
    assert (again.n_accepted, again.n_present) == (1, 2)


def test_nothing_accepted_is_an_error(shelf: Shelf, folder: Path) -> None:
    shelf.trouble = dict.fromkeys(shelf.put("1.2.7", 3), REFUSED)
    with pytest.raises(DataError, match="3 of 3"):
        run(folder)
    shelf.trouble = dict.fromkeys(shelf.trouble, UnreachableError("archive does not answer"))
    with pytest.raises(UnreachableError):
        run(folder)


def test_real_scans_leave_only_where_a_person_says_so(folder: Path, shelf: Shelf, tmp_path: Path) -> None:
    write_key_pair(tmp_path / "keys", "correct horse")
    key = tmp_path / "keys" / PUBLIC_KEY
    with pytest.raises(ConfigError, match="what may leave"):
        run(folder, allow_unverified=False)
    with pytest.raises(ConfigError, match="what may leave"):
        run(folder, public_key=key)
    with pytest.raises(GateRefusedError):
        run(folder, allow_unverified=False, public_key=key)
    assert shelf.stored == []


def test_a_release_that_changes_while_it_is_sent_is_held_back(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material, keys, out = make_set(tmp_path), tmp_path / "keys", tmp_path / "release"
    write_key_pair(keys, "correct horse")
    asked = {
        "synthetic": material.dataset,
        "assessment": material.assessment,
        "key": keys / PRIVATE_KEY,
        "out": out,
    }
    options = asked | {"passphrase": SecretStr("correct horse"), "format": "dicom"}
    release(ReleaseOptions.model_validate(options), NoProgress())
    files = sorted(out.rglob("*.dcm"))

    store = Shelf.store

    def tamper(self: Shelf, dataset: FileDataset) -> Stored:
        files[-1].write_bytes(files[-1].read_bytes() + b"x")
        return store(self, dataset)

    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "store", tamper)
        with pytest.raises(GateRefusedError, match="changed"):
            run(out, allow_unverified=False, public_key=keys / PUBLIC_KEY)
    assert 0 < len(shelf.stored) < len(files)


@pytest.mark.parametrize("name", ["nothing", "file", "empty"])
def test_what_holds_nothing_to_send_is_refused(tmp_path: Path, shelf: Shelf, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(DataError):
        run(tmp_path / name)


def test_state_inside_the_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the folder"):
        run(folder, state=folder / "state")


def test_links_and_hidden_files_stay(shelf: Shelf, folder: Path, tmp_path: Path) -> None:
    (folder / "Smith_0.dcm").rename(tmp_path / "elsewhere.dcm")
    (folder / "link.dcm").symlink_to(tmp_path / "elsewhere.dcm")
    (folder / "Smith_1.dcm").rename(folder / ".hidden.dcm")
    assert run(folder).n_files == 1
