"""Finished parts of an assessment, kept in its folder until all are there, so that an interrupted one goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, final

from medaug.core.config import Document

D = TypeVar("D", bound=Document)
_FOLDER = "pieces"


@final
class Pieces:
    """The parts that are done.

    Args:
        run: The run folder; what it is asked does not change, so a part that lies there is this call's.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / _FOLDER

    def has(self, name: str) -> bool:
        """Whether a part was finished before."""
        return (self._folder / f"{name}.json").is_file()

    def get(self, name: str, model: type[D], measure: Callable[[], D]) -> D:
        """A part as it was found before, or measured now and kept."""
        path = self._folder / f"{name}.json"
        if path.is_file():
            return model.read(path)
        found = measure()
        found.write(path)
        return found

    def clear(self) -> None:
        """All is written where it belongs."""
        shutil.rmtree(self._folder, ignore_errors=True)
