"""Archives among the sources: unpacked into a private working folder that looks like the source, and is gone afterwards.

A source that holds archives is looked at through a mirror of itself: links to its files, and a folder of plain files for
each zip archive. So whatever pairs files by folder and name sees an archive as a folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.core.runs import WORKING
from medaug.core.storage import storage_error
from medaug.ingest.sources import Stray
from medaug.ingest.walk import walk
from medaug.io.archives import Budget, archive_format, refuse_depth, refuse_format, unpack

_DEEPEST = 2


@final
@dataclass(slots=True)
class Opened:
    """The sources as they are looked through.

    Attributes:
        working: The working folder; it is made for archives only.
        sources: One a SRC of the command line: itself, or its mirror.
        strays: Archives that were refused, and what else was left out on the way.
        count: Files that wait to be looked at.
    """

    working: Path
    sources: list[Path] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    count: int = 0
    _origins: dict[Path, str] = field(default_factory=dict)

    def origin(self, path: Path) -> str:
        """Where a file came from, for the private list: its path, or ``ARCHIVE.zip!member``."""
        if path in self._origins:
            return self._origins[path]
        folder = self._archive_folder(path)
        if folder is None:
            return str(path.resolve())
        return f"{self._origins[folder]}!{path.relative_to(folder).as_posix()}"

    def is_unpacked(self, path: Path) -> bool:
        """Whether a file came out of an archive, so that nothing it names may lie elsewhere."""
        return self._archive_folder(path) is not None

    def name(self, path: Path, origin: str) -> None:
        """Remember where a folder of unpacked files, or a file, came from."""
        self._origins[path] = origin

    def _archive_folder(self, path: Path) -> Path | None:
        if path.is_symlink():
            return None
        return next((folder for folder in path.parents if folder in self._origins), None)


@contextmanager
def opened(sources: Sequence[Path], out: Path, tick: Callable[[], None] = lambda: None) -> Iterator[Opened]:
    """Unpack the archives of all sources; the working folder is removed when the block ends, however it ends.

    Args:
        sources: Folders and files.
        out: The dataset to be, in which the working folder lies (mode 700).
        tick: Called once a file.

    Raises:
        StorageError: If the disk is full, or a folder cannot be read or written.
    """
    found = Opened(out.absolute() / WORKING)
    is_new = not out.exists()
    _remove(found.working)
    try:
        shelf = _Shelf(found, tick)
        for number, source in enumerate(sources):
            found.sources.append(shelf.open(source, number, out))
        yield found
    except OSError as error:
        raise storage_error(error) from error
    finally:
        _remove(found.working)
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _make_folders(folder: Path, below: Path) -> None:
    """As mkdir with parents does, but of any depth."""
    missing = []
    while folder != below and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for place in reversed(missing):
        place.mkdir(mode=0o700)


def _remove(folder: Path) -> None:
    """As rmtree does, but of any depth; a link goes, what it leads to stays."""
    try:
        if folder.is_symlink():
            folder.unlink()
        folders = [folder] if folder.exists() else []
        for place in folders:
            inside = list(os.scandir(place))
            folders += [place / entry.name for entry in inside if entry.is_dir(follow_symlinks=False)]
            for entry in (entry for entry in inside if not entry.is_dir(follow_symlinks=False)):
                (place / entry.name).unlink()
        for place in reversed(folders):
            place.rmdir()
    except OSError as error:
        raise storage_error(error) from error


@final
class _Shelf:
    """Makes the mirrors of sources, under one budget."""

    def __init__(self, found: Opened, tick: Callable[[], None]) -> None:
        self._found, self._tick = found, tick
        self._budget: Budget | None = None

    def open(self, source: Path, number: int, out: Path) -> Path:
        """The source, or its mirror where it holds archives."""
        mirror = self._found.working / str(number)
        if source.is_dir():
            return self._folder(source, mirror, out)
        self._found.count += 1
        if not source.is_file() or archive_format(source) is None:
            return source
        self._make(mirror)
        self._unpack(source, mirror, str(source.resolve()), 1)
        return mirror

    def _folder(self, source: Path, mirror: Path, out: Path) -> Path:
        tree = walk(source, without=out_within(source, out), tick=self._tick, hidden=True)
        archives = [
            path
            for path in tree.files
            if not _is_hidden(path.relative_to(source)) and archive_format(path) is not None
        ]
        self._found.count += len(tree.files) - len(archives)
        if not archives:
            return source
        self._make(mirror)
        self._found.strays += tree.strays
        for path in sorted({*tree.files} - {*archives}):
            link = mirror / path.relative_to(source)
            _make_folders(link.parent, mirror)
            link.symlink_to(path.absolute())
        for path in archives:
            self._unpack(path, _free_folder(mirror / path.relative_to(source)), str(path.resolve()), 1)
        return mirror

    def _make(self, mirror: Path) -> None:
        self._found.working.mkdir(mode=0o700, parents=True, exist_ok=True)
        mirror.mkdir(mode=0o700)
        if self._budget is None:
            # the other half is for the dataset that is made of what is unpacked
            self._budget = Budget(shutil.disk_usage(mirror).free // 2)

    def _unpack(self, archive: Path, into: Path, origin: str, depth: int) -> None:
        """An archive and those inside it; one that is refused leaves nothing but a note."""
        kind = archive_format(archive)
        try:
            if kind != "zip":
                raise refuse_format(kind or "tar")
            if depth > _DEEPEST:
                raise refuse_depth(_DEEPEST)
            files = unpack(archive, into, self._budget or Budget(0))
        except DataError as error:
            _remove(into)
            self._found.name(archive, origin)
            self._found.strays.append(
                Stray(error.code or Code.ARCHIVE_UNSAFE, "refused", error.line(), (archive,))
            )
            return
        self._found.name(into, origin)
        for path in files:
            self._found.count += 1
            self._tick()
            if archive_format(path) is not None:
                # hidden, so that it is looked at as an archive only, and its folder may take its name
                hidden = path.rename(path.with_name(f".{path.name}"[:255]))
                inner = f"{origin}!{path.relative_to(into).as_posix()}"
                self._unpack(hidden, _free_folder(path), inner, depth + 1)


def out_within(source: Path, out: Path | None) -> frozenset[Path]:
    """The dataset to be, as a path below a source, where it lies in it."""
    if out is None or not out.resolve().is_relative_to(source.resolve()):
        return frozenset()
    return frozenset({source / out.resolve().relative_to(source.resolve())})


def _free_folder(archive: Path) -> Path:
    """The folder that stands for an archive: its name without ending, unless something else is called so."""
    plain = archive.with_suffix("")
    return archive if plain.exists() else plain


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
