"""Folders that say of themselves that what they hold was made: no file of theirs is taken for a scan without a word.

Only folders that are read by their ``manifest.json`` (:mod:`medaug.ingest.described`) keep the origin of each case. A folder
below one, a conversion without its manifest, or files that a table picks out of one, do not: there the case is flagged.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, final

from medaug.core.case import MANIFEST, RECIPES, TRANSLATIONS, CaseRecord, Manifest, Origin
from medaug.core.config import read_json
from medaug.core.errors import MedaugError
from medaug.core.findings import Code
from medaug.ingest.sources import SourceCase
from medaug.io.dataset import DATASET_JSON

# of releases, whose room is beside this one
CERTIFICATE, DATASHEET = "certificate.dsse.json", "DATASHEET.md"
SHEET_WORDS: Final = "Synthetic lesions; released with medaug"
_MOST_BYTES: Final = 1 << 26


def with_makers_word(cases: Sequence[SourceCase], out: Path | None) -> tuple[SourceCase, ...]:
    """The cases, each with the name of the file above its images that says of them that they were made.

    Args:
        cases: Of all sources; what states its origin stays as it is.
        out: The dataset to be, which says nothing of its sources.
    """
    look = _Look(frozenset() if out is None else frozenset({out, out.resolve()}))
    return tuple(replace(case, said_synthetic=case.said_synthetic or look.at(case)) for case in cases)


def is_made(record: CaseRecord) -> bool:
    """Whether a manifest says of a case that it is no scan, or that its header said so and nobody else."""
    return record.origin is not Origin.REAL or Code.SYNTHETIC_DATA in record.findings


@final
@dataclass(frozen=True, slots=True)
class _Word:
    """What a folder says.

    Attributes:
        name: Of the file that speaks of made cases; empty where none does.
        scans: Files that the manifest calls scans, relative to the folder.
    """

    name: str = ""
    scans: frozenset[str] = frozenset()


@final
@dataclass(slots=True)
class _Look:
    """Folders that were looked at, each once."""

    outs: frozenset[Path]
    _words: dict[Path, _Word] = field(default_factory=dict)

    def at(self, case: SourceCase) -> str:
        """The file that says of a case that it was made; empty where none does."""
        if case.stated.origin is not None:
            return ""
        firsts = [image.files[0] for image in case.images if image.files]
        # a link leads out of one folder and into another: both are asked
        places = {place for path in firsts for place in (path.absolute(), path.resolve())}
        return next(filter(None, (self._above(place) for place in sorted(places))), "")

    def _above(self, path: Path) -> str:
        for folder in path.parents:
            if folder in self.outs:
                return ""
            if folder not in self._words:
                self._words[folder] = _word(folder)
            word = self._words[folder]
            if path.relative_to(folder).as_posix() in word.scans:
                return ""
            if word.name:
                return word.name
        return ""


def _word(folder: Path) -> _Word:
    try:
        names = [name for name in _WITNESSES if (folder / name).is_file()]
    except OSError:
        return _Word()
    speaks = next((name for name in names if _says(folder / name)), "")
    return _Word(
        speaks, frozenset(_scans(folder / MANIFEST)) if speaks and MANIFEST in names else frozenset()
    )


def _says(path: Path) -> bool:
    """Whether a file speaks of made cases; what is no file of medaug says nothing."""
    try:
        return path.stat().st_size <= _MOST_BYTES and _WITNESSES[path.name](path)
    except (MedaugError, OSError, ValueError):
        return False


def _scans(manifest: Path) -> Iterator[str]:
    try:
        records = Manifest.read(manifest).cases
    except MedaugError:
        return
    yield from (stored.path for record in records if not is_made(record) for stored in record.images)


def _manifest_says(path: Path) -> bool:
    return any(map(is_made, Manifest.read(path).cases))


def _description_says(path: Path) -> bool:
    raw = read_json(path)
    told = raw.get("origin") if isinstance(raw, dict) else None
    # the word of another tool for where its scans come from is another list
    named = frozenset(told.split(", ")) if isinstance(told, str) else frozenset()
    return named <= frozenset(Origin) and not named <= {Origin.REAL}


def _certificate_says(path: Path) -> bool:
    raw = read_json(path)
    payload = raw.get("payload") if isinstance(raw, dict) else None
    if not isinstance(payload, str):
        return False
    statement = json.loads(base64.b64decode(payload))
    predicate = statement.get("predicate") if isinstance(statement, dict) else None
    return isinstance(predicate, dict) and predicate.get("content") == "synthetic"


def _sheet_says(path: Path) -> bool:
    return SHEET_WORDS in path.read_text(encoding="utf-8")


def _is_there(_path: Path) -> bool:
    return True


_WITNESSES: Final[dict[str, Callable[[Path], bool]]] = {
    MANIFEST: _manifest_says,
    RECIPES: _is_there,
    TRANSLATIONS: _is_there,
    DATASET_JSON: _description_says,
    CERTIFICATE: _certificate_says,
    DATASHEET: _sheet_says,
}
