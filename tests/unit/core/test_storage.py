"""Nothing half-written, and a full disk said in words."""

import errno
from pathlib import Path

import pytest

from medaug.core.errors import StorageError
from medaug.core.storage import (
    atomic_path,
    clear_leftovers,
    require_free_space,
    sha256_file,
    sha256_if_readable,
    storage_error,
    write_text_atomic,
)


def fail_half_way(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text_atomic(target, "old")
    with pytest.raises(RuntimeError):
        fail_half_way(target)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_mode_is_set_before_the_content_is_there(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "k", mode=0o600) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="disk is full"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())
    assert storage_error(OSError(errno.EACCES, "Permission denied"), tmp_path / "a").exit_code == 7


def test_leftovers_of_one_file_are_cleared_and_no_others(tmp_path: Path) -> None:
    for name in (".0a.partial.a[1].json", ".0a.partial.b.json", "a[1].json"):
        (tmp_path / name).write_text("x")
    clear_leftovers(tmp_path / "a[1].json")
    clear_leftovers(tmp_path / "nowhere" / "a.json")
    assert {path.name for path in tmp_path.iterdir()} == {".0a.partial.b.json", "a[1].json"}


def test_free_space_is_checked_where_the_folder_will_live(tmp_path: Path) -> None:
    require_free_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(StorageError, match="MiB free"):
        require_free_space(tmp_path / "not" / "yet", 1 << 60)


def test_a_place_that_may_not_be_written_is_said_before_a_step_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medaug.core.storage.os.access", lambda place, _: place != tmp_path)
    with pytest.raises(
        StorageError, match="cannot read or write not/yet: Permission denied; check the folder"
    ):
        require_free_space(Path("not/yet"), 1)


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a").startswith("ba7816bf")
    with pytest.raises(StorageError):
        sha256_file(tmp_path / "missing")


def test_what_cannot_be_read_has_no_hash_yet(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    assert sha256_if_readable(tmp_path / "a") == sha256_file(tmp_path / "a")
    assert sha256_if_readable(tmp_path) == "unreadable"
