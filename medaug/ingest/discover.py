"""From the folders on the command line to a list of cases; nothing is decoded here but headers and tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from medaug.core.case import ID_PATTERN
from medaug.core.errors import ConfigError, DataError, StorageError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.wording import counted
from medaug.ingest.bids import is_bids, read_bids
from medaug.ingest.described import dicom_below, is_described, read_described, with_manifest
from medaug.ingest.folders import pair_files
from medaug.ingest.frames import each_frame
from medaug.ingest.made import with_makers_word
from medaug.ingest.series import pair_series
from medaug.ingest.sources import Choices, Discovery, SourceCase, Stray
from medaug.ingest.table import TABLE, read_table
from medaug.ingest.unpack import Opened, out_within
from medaug.ingest.walk import Tree, walk
from medaug.io.dataset import DATASET_JSON
from medaug.io.formats import kind_of, unsupported_format
from medaug.io.headers import looks_like_dicom
from medaug.io.images import companion
from medaug.io.media import Medium, is_dicomdir, read_medium

_ID_LENGTH = 64
# what `medaug deidentify` leaves beside the files
_OWN = frozenset({"deidentification.json"})
_DEFAULT = Choices()


@final
@dataclass(frozen=True, slots=True)
class How:
    """What the command line wants of sources.

    Attributes:
        keep_ids: Show the names of other files than DICOM as case ids.
        choices: How files are read; ``cases`` makes every frame of a fourth axis a case of its own.
        workers: Processes that parse DICOM headers.
    """

    keep_ids: bool = False
    choices: Choices = _DEFAULT
    workers: int = 1


_AS_IT_IS = How()


def discover(
    sources: Sequence[Path],
    labels: Path | None,
    tick: Callable[[], None] = lambda: None,
    *,
    how: How = _AS_IT_IS,
    opened: Opened | None = None,
) -> Discovery:
    """Find the cases of all sources.

    A folder with a ``cases.csv`` at its top is that table and nothing else; a table given by ``labels`` stands for all
    sources, whose folders are also searched for its paths. Without a table, files of other formats are paired by name and all
    the rest is looked at as DICOM. Folders directly below a source that have their own table or ``dataset.json`` are read
    as sources are.

    Args:
        sources: Folders or files.
        labels: A table in the form of ``cases.csv``, or None.
        tick: Called once a file that is looked at.
        how: What the command line wants of them.
        opened: How their archives were unpacked; the dataset to be, which it names, is never looked into.

    Raises:
        ConfigError: If a source is missing.
        DataError: If the sources hold nothing, or a table or ``dataset.json`` cannot be used.
        StorageError: If a folder may not be read.
    """
    for number, source in enumerate(sources, start=1):
        if not source.exists():
            raise ConfigError(
                f"source {number} does not exist", where="SRC", expected="a folder or file of scans"
            )
    known = Discovery((), () if opened is None else tuple(opened.strays))
    if labels is not None:
        folders = [source for source in sources if source.is_dir()]
        return _finished(known.joined(read_table(labels, 0, folders)), how, opened)
    found = known
    look = _Look(tick, opened, how)
    for number, source in enumerate(sources):
        found = found.joined(_one(source, number, look))
    if not found.cases and not found.strays:
        raise DataError("sources hold no file", where="SRC", expected="NIfTI or DICOM files, or a cases.csv")
    return _finished(found, how, opened)


def _finished(found: Discovery, how: How, opened: Opened | None) -> Discovery:
    """What concerns all cases, wherever they were found."""
    out = None if opened is None else opened.working.parent
    cases = with_makers_word(found.cases, out)
    return replace(found, cases=each_frame(cases) if how.choices.frames == "cases" else cases)


@final
@dataclass(frozen=True, slots=True)
class _Look:
    """How sources are looked through."""

    tick: Callable[[], None]
    opened: Opened | None
    how: How

    def skipped_in(self, source: Path) -> frozenset[Path]:
        """The dataset to be, where it lies in this source."""
        return out_within(source, None if self.opened is None else self.opened.working.parent)

    def through(self, source: Path, skip: frozenset[Path]) -> Tree:
        """All files of a source that describes itself."""
        return walk(source, without=skip, tick=self.tick)

    def table(self, path: Path, number: int) -> Discovery:
        """A table; one out of an archive names nothing outside it."""
        inside = path.parent if self.opened is not None and self.opened.is_unpacked(path) else None
        return read_table(path, number, inside=inside)


def _one(source: Path, number: int, look: _Look) -> Discovery:
    if not source.is_dir():
        return _file(source, number, look)
    skip = look.skipped_in(source)
    if is_described(source):
        tree = look.through(source, skip)
        return Discovery((), tuple(tree.strays)).joined(read_described(source, tree.files, number))
    series = dicom_below(source)
    if series is not None:
        tree = look.through(source, skip | {series})
        found = with_manifest(source, _one(series, number, look), tree.files)
        return Discovery((), tuple(tree.strays)).joined(found)
    if (source / TABLE).is_file():
        return look.table(source / TABLE, number)
    if is_bids(source):
        tree = look.through(source, skip)
        found = read_bids(source, tree.files, number, keep_ids=look.how.keep_ids)
        return Discovery((), tuple(tree.strays)).joined(found)
    own = () if (source / DATASET_JSON).is_file() else _own_sources(source, skip)
    found = Discovery(())
    for folder in own:
        found = found.joined(_one(folder, number, look))
    tree = walk(source, without={*own, *skip})
    media, files = _check_media(tree.files)
    odd = Discovery((), tuple(tree.strays)).joined(media)
    return found.joined(odd).joined(_pair(source, files, number, look))


def _file(source: Path, number: int, look: _Look) -> Discovery:
    """A source that is one file; a DICOMDIR stands for the files of its folder that it names."""
    if not source.is_file():
        raise DataError(
            "a source is no file and no folder", where="SRC", expected="a folder or file of scans"
        )
    if source.suffix.lower() == ".csv":
        return read_table(source, number)
    if not is_dicomdir(source):
        return _pair(source.parent, [source], number, look)
    medium = read_medium(source, walk(source.parent, without=look.skipped_in(source.parent)).files)
    found = _pair(source.parent, list(medium.files), number, look)
    return Discovery((), _medium_strays(source, medium)).joined(found)


def _check_media(files: Sequence[Path]) -> tuple[Discovery, list[Path]]:
    """What is odd about the DICOMDIR files among others, which are read whether a DICOMDIR names them or not."""
    media = [path for path in files if is_dicomdir(path)]
    if not media:
        return Discovery(()), list(files)
    below: dict[Path, list[Path]] = {path.parent: [] for path in media}
    for file in files:
        for folder in file.parents:
            if folder in below:
                below[folder].append(file)
    strays: list[Stray] = []
    for path in media:
        try:
            strays += _medium_strays(path, read_medium(path, below[path.parent]))
        except UnreadableError as error:
            message = f"{error.what}; the files beside it were read without it"
            strays.append(Stray(Code.DICOMDIR_REFERENCE, "flagged", message, (path,)))
    named = set(media)
    return Discovery((), tuple(strays)), [path for path in files if path not in named]


def _medium_strays(path: Path, medium: Medium) -> tuple[Stray, ...]:
    """``dicomdir-reference``: what a DICOMDIR names and its folder does not hold."""
    if not medium.missing and not medium.outside:
        return ()
    said = []
    if medium.missing:
        said.append(
            f"{counted(medium.missing, 'file')} that {'is' if medium.missing == 1 else 'are'} not there"
        )
    if medium.outside:
        said.append(f"{counted(medium.outside, 'file')} outside its folder")
    message = f"DICOMDIR names {' and '.join(said)}; copy the whole medium again"
    return (Stray(Code.DICOMDIR_REFERENCE, "flagged", message, (path,)),)


def _own_sources(folder: Path, skip: Container[Path]) -> list[Path]:
    """Folders directly below that have a table or a description of their own."""
    try:
        inside = sorted(
            path for path in folder.iterdir() if path not in skip and not path.name.startswith(".")
        )
        return [p for p in inside if _says_what_it_is(p)]
    except OSError as error:
        raise StorageError(f"a source folder cannot be read: {error.strerror}", where="SRC") from error


def _says_what_it_is(folder: Path) -> bool:
    return (
        is_described(folder)
        or dicom_below(folder) is not None
        or is_bids(folder)
        or any((folder / n).is_file() for n in (TABLE, DATASET_JSON))
    )


def _pair(folder: Path, files: list[Path], number: int, look: _Look) -> Discovery:
    readable = [path for path in files if kind_of(path) is not None]
    own = [path for path in files if path.name in _OWN]
    for _ in (*readable, *own):
        look.tick()
    taken = {folder / DATASET_JSON, *own, *readable, *(companion(path) for path in readable)}
    unsupported, odd = _unsupported([path for path in files if path not in taken])
    taken |= unsupported
    rest = [path for path in files if path not in taken]
    series = pair_series(rest, number, look.tick, look.how.choices, look.how.workers)
    pairs = pair_files(folder, readable, number, keep_ids=look.how.keep_ids, beside_images=bool(series.cases))
    return pairs.joined(odd).joined(series)


def _unsupported(files: Sequence[Path]) -> tuple[set[Path], Discovery]:
    """Files of formats that are known and not read, one stray a format; what begins as DICOM is DICOM."""
    formats: dict[str, list[Path]] = {}
    for path in files:
        name = unsupported_format(path)
        if name and not looks_like_dicom(path):
            formats.setdefault(name, []).append(path)
    strays = tuple(
        Stray(
            Code.UNSUPPORTED_FORMAT,
            "refused",
            f"{counted(len(paths), 'file')} of {name}, which is not read; convert to NIfTI",
            tuple(paths),
        )
        for name, paths in sorted(formats.items())
    )
    return {path for stray in strays for path in stray.files}, Discovery((), strays)


@final
@dataclass(frozen=True, slots=True)
class Identified:
    """A case with the ids that may be shown, and what was odd about them."""

    source: SourceCase
    case_id: str
    patient_id: str
    findings: tuple[Finding, ...] = ()


def identify(cases: Sequence[SourceCase]) -> tuple[Identified, ...]:
    """Give every case and patient an id that may be shown.

    Ids written in a table are kept as the user's pseudonyms (characters outside letters, digits, ``_`` and ``-`` are
    replaced, with a finding). All others become ``case_0001`` and ``patient_0001``, in the order of the sources. A patient
    that stands in several sources, or in a table and a folder, keeps one id.
    """
    patients = _patient_ids(cases)
    taken = {_clean(case.case_key) for case in cases if case.ids_are_pseudonyms}
    numbers = iter(range(1, len(cases) + len(taken) + 2))
    seen: set[str] = set()
    found = []
    for case in cases:
        patient_id = patients[case.patient_key]
        if not case.ids_are_pseudonyms:
            case_id = next(name for name in (f"case_{n:04d}" for n in numbers) if name not in taken)
            found.append(Identified(case, case_id, patient_id))
            continue
        case_id = _clean(case.case_key)
        findings = _id_findings(case, case_id, twice=case_id in seen)
        seen.add(case_id)
        refused = any(finding.severity == "refused" for finding in findings)
        found.append(
            Identified(replace(case, problem="") if refused else case, case_id, patient_id, findings)
        )
    return tuple(found)


def _id_findings(case: SourceCase, case_id: str, *, twice: bool) -> tuple[Finding, ...]:
    if twice:
        message = "this case id stands before, in this table or another source; the first one was kept"
        return (finding(Code.DUPLICATE_CASE_ID, "refused", message, case_id),)
    if case_id != case.case_key:
        message = "the table's id had other characters than letters, digits, _ and -"
        return (finding(Code.ID_CHANGED, "fixed", message, case_id),)
    return ()


def _patient_ids(cases: Sequence[SourceCase]) -> dict[str, str]:
    """Private patient key to the id that may be shown."""
    ids: dict[str, str] = {}
    taken: set[str] = set()
    for case in cases:
        if case.ids_are_pseudonyms and case.patient_key not in ids:
            ids[case.patient_key] = _free(_clean(case.patient_key), taken)
            taken.add(ids[case.patient_key])
    names = (f"patient_{number:04d}" for number in itertools.count(1))
    for case in cases:
        if case.patient_key not in ids:
            ids[case.patient_key] = next(name for name in names if name not in taken)
    return ids


def _free(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it unlike all others."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name[: _ID_LENGTH - 6]}_{number}"
    return candidate


def _clean(text: str) -> str:
    if re.fullmatch(ID_PATTERN, text):
        return text
    cleaned = re.sub(r"[^A-Za-z0-9_\-]", "_", text)[:_ID_LENGTH].lstrip("_-")
    return cleaned or "id"
