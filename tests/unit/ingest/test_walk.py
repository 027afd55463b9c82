"""Folders of every kind looked through without opening anything."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from medaug.core.errors import StorageError
from medaug.core.storage import sha256_if_readable
from medaug.ingest.walk import walk
from tests.unit.ingest.material import deep_folder


def test_files_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b/z", "b/a/1", "a.txt", "c", "b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    ticks: list[int] = []
    tree = walk(tmp_path, tick=lambda: ticks.append(1))
    assert tree.files == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert (len(ticks), tree.strays) == (5, [])


def test_hidden_and_system_files_and_named_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("a", ".h", ".d/b", "__MACOSX/c", "out/d", "e/out/f"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shown = walk(tmp_path, without={tmp_path / "out"})
    assert [str(path.relative_to(tmp_path)) for path in shown.files] == ["a", "e/out/f"]
    assert len(walk(tmp_path, hidden=True).files) == 6


def test_loops_pipes_and_sockets_neither_hang_nor_vanish_in_silence(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "endless").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "Meier")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket may be no longer than 107 bytes
        listener.bind("socket")
        os.chdir(here)
        tree = walk(tmp_path)
    assert [path.name for path in tree.files] == ["link", "real"]
    assert [(s.code, s.severity, s.message.split()[0]) for s in tree.strays] == [
        ("not-an-image", "flagged", "4"),
        ("not-an-image", "flagged", "2"),
    ]
    assert not any("Meier" in stray.message for stray in tree.strays)
    assert {sha256_if_readable(path) for stray in tree.strays for path in stray.files} == {"unreadable"}


def test_a_tree_deeper_than_any_stack_is_looked_through(tmp_path: Path) -> None:
    with deep_folder(tmp_path, 1500):
        tree = walk(tmp_path)
    assert [path.name for path in tree.files] == ["file"]


def test_what_may_not_be_read_is_refused_by_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").touch()
    (tmp_path / "shut").touch()
    (tmp_path / "cellar").mkdir()
    scandir, access = os.scandir, os.access

    def guarded(path):
        if str(path).endswith("cellar"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    monkeypatch.setattr(os, "access", lambda path, mode: "shut" not in str(path) and access(path, mode))
    tree = walk(tmp_path)
    assert [path.name for path in tree.files] == ["open"]
    assert [(s.code, s.severity, len(s.files)) for s in tree.strays] == [("unreadable", "refused", 2)]
    with pytest.raises(StorageError, match="Permission denied"):
        walk(tmp_path / "cellar")
