"""The files of a folder, in a fixed order; links to folders are not followed, and nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

from medaug.core.errors import StorageError
from medaug.core.findings import Code
from medaug.core.wording import counted
from medaug.ingest.sources import Stray

_SYSTEM_FOLDERS = frozenset({"__MACOSX"})
_Kind = Literal["folder", "file", "link", "special", "unreadable"]


@final
@dataclass(slots=True)
class Tree:
    """What a folder holds.

    Attributes:
        files: Regular files and links to them, sorted by their paths.
        strays: What was left out, and why.
    """

    files: list[Path] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)


def walk(
    folder: Path,
    *,
    without: Container[Path] = (),
    tick: Callable[[], None] = lambda: None,
    hidden: bool = False,
) -> Tree:
    """Look through a folder of any depth. Pipes, sockets and devices are never opened: reading one may wait for ever.

    Args:
        folder: The folder.
        without: Folders below it that are left out without a word.
        tick: Called once a file.
        hidden: Look at hidden files and folders, too.

    Raises:
        StorageError: If the folder itself cannot be read.
    """
    tree = Tree()
    odd: dict[_Kind, list[Path]] = {}
    stack: list[tuple[Path, _Kind]] = [(folder, "folder")]
    while stack:
        path, kind = stack.pop()
        if kind == "file":
            tree.files.append(path)
            tick()
        elif kind != "folder":
            odd.setdefault(kind, []).append(path)
        elif path not in without:
            inside = _inside(path, hidden=hidden, is_top=path == folder)
            # the last one in is the first one out
            stack += reversed(inside)
    tree.strays += [_stray(kind, paths) for kind, paths in sorted(odd.items())]
    return tree


def _inside(folder: Path, *, hidden: bool, is_top: bool) -> list[tuple[Path, _Kind]]:
    """What a folder holds, or itself as unreadable."""
    try:
        return _entries(folder, hidden=hidden)
    except OSError as error:
        if is_top:
            what = f"a source folder cannot be read: {error.strerror}"
            raise StorageError(what, where="SRC") from error
        return [(folder, "unreadable")]


def _entries(folder: Path, *, hidden: bool) -> list[tuple[Path, _Kind]]:
    with os.scandir(folder) as entries:
        kept = [e for e in entries if hidden or not (e.name.startswith(".") or e.name in _SYSTEM_FOLDERS)]
    return [(folder / entry.name, _kind(entry)) for entry in sorted(kept, key=lambda e: e.name)]


def _kind(entry: os.DirEntry[str]) -> _Kind:
    try:
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        if entry.is_file():
            return "file" if os.access(entry, os.R_OK) else "unreadable"
    except OSError:
        # a link to itself
        return "link"
    return "link" if entry.is_symlink() else "special"


def _stray(kind: _Kind, paths: list[Path]) -> Stray:
    if kind == "unreadable":
        message = (
            f"{counted(len(paths), 'entry', 'entries')} of the source may not be read; check the permissions"
        )
        return Stray(Code.UNREADABLE, "refused", message, tuple(paths))
    if kind == "link":
        message = f"{counted(len(paths), 'link')} to a folder, or to nothing, left out; name the folder itself as SRC"
    else:
        message = f"{counted(len(paths), 'pipe, socket or device', 'pipes, sockets or devices')} left out"
    return Stray(Code.NOT_AN_IMAGE, "flagged", message, tuple(paths))
