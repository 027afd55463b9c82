"""``medaug deidentify``: DICOM files without what tells whose they are; what cannot be made safe stays where it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final, Literal, final

from pydantic import Field

from medaug.core.config import Document, Frozen
from medaug.core.errors import ConfigError, DataError, IdentifierError, StorageError, UnreadableError
from medaug.core.results import Summary
from medaug.core.runs import Progress
from medaug.core.storage import require_free_space, storage_error, write_bytes_atomic, write_text_atomic
from medaug.privacy.deidentify import (
    EDITION,
    Deidentified,
    Deidentifier,
    Identifiers,
    Profile,
    load_secret,
    parse_options,
    write_secret,
)

RECORD: Final = "deidentification.json"
DEFAULT_PROFILE: Final = "basic,clean-descriptors,clean-structured-content,modified-dates"
_MOST_BYTES = 2 << 30
_NAME_DIGITS = 12
Outcome = Literal["written", "quarantined", "refused"]


@final
class DeidentifyOptions(Frozen):
    """What ``medaug deidentify`` is asked."""

    source: Path
    out: Path
    key_file: Path
    profile: str = Field(default=DEFAULT_PROFILE, description="basic, and options after commas")
    report: Path | None = Field(default=None, description="one JSON line an input; outside --out")


@final
class DeidentificationRecord(Document):
    """``deidentification.json``: by which rules the files of a folder were cleaned; holds nothing of the key."""

    edition: str = Field(description="of PS3.15 table E.1-1")
    options: tuple[str, ...] = Field(description="besides the Basic Profile")
    key_check: str = Field(
        description="tells whether two folders were written with one key and the same options"
    )


@final
class ReportLine(Frozen):
    """One line of ``--report``: what became of one file; its paths may identify, so it stays at home."""

    input: str = Field(description="path relative to the source")
    output: str | None = Field(description="path relative to the output")
    outcome: Outcome
    reasons: tuple[str, ...]


@final
class DeidentifySummary(Summary):
    """How many files were written, and why the others were not."""

    out: str
    written: int
    quarantined: int
    refused: int
    patients: int
    reasons: dict[str, int] = Field(description="files by reason, of those that were not written")
    new_key: bool

    def lines(self) -> tuple[str, ...]:
        """Counts, then reasons."""
        made = ("made a new key: keep it, it alone gives the same pseudonyms again",) if self.new_key else ()
        return (
            *made,
            f"{self.written} files of {self.patients} patients written to {self.out}",
            f"{self.quarantined} quarantined: they stay where they are; {self.refused} refused",
            *(f"{reason}: {count}" for reason, count in sorted(self.reasons.items())),
        )


def deidentify(options: DeidentifyOptions, progress: Progress) -> DeidentifySummary:
    """Clean every DICOM file below a folder; the same call again goes on where it stopped.

    All headers of a patient are read before the first file is written, so that a name that stands in one is found in the texts
    of all. A file that cannot be made safe is not written; nothing of it is copied anywhere.

    Raises:
        ConfigError: If the folders lie within each other, or the output was written with other rules.
        DataError: If not one file could be written.
        PrivacyError: If others may read the key.
        StorageError: If a file cannot be read or written.
    """
    profile = Profile(parse_options(options.profile))
    _check_places(options)
    is_new = not options.key_file.exists() and not options.key_file.is_symlink()
    secret = write_secret(options.key_file) if is_new else load_secret(options.key_file)
    deidentifier = Deidentifier(secret, profile)
    paths = tuple(_files(options.source))
    require_free_space(options.out, sum(path.lstat().st_size for path in paths))
    _open(options, profile, deidentifier)
    run = _Run(options.source, options.out, deidentifier)
    lines = run.clean(paths, progress)
    if options.report is not None:
        text = "".join(line.model_dump_json() + "\n" for line in lines)
        write_text_atomic(options.report, text, mode=0o600)
    summary = _summary(options, lines, len(run.patients), is_new=is_new)
    if not summary.written:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(summary.reasons.items()))
        raise DataError(f"no file could be written: {reasons or 'there is none'}", where="SRC")
    return summary


@final
@dataclass(frozen=True, slots=True)
class _Looked:
    """What the first look at a file gave: whose it is, or why it is not read further."""

    patient: str
    reason: str = ""


@final
class _Run:
    """One run over a folder: first all headers, then file by file."""

    def __init__(self, source: Path, out: Path, deidentifier: Deidentifier) -> None:
        self._source, self._out, self._deidentifier = source, out, deidentifier
        self._identifiers: dict[str, Identifiers] = {}
        self._taken: set[str] = set()
        self.patients: set[str] = set()

    def clean(self, paths: tuple[Path, ...], progress: Progress) -> list[ReportLine]:
        """What became of each file, in the order of the paths."""
        progress.start("read headers", len(paths))
        looked = []
        for path in paths:
            looked.append(self._look(path))
            progress.advance()
        progress.start("clean files", len(paths))
        lines = []
        for path, found in zip(paths, looked, strict=True):
            lines.append(self._line(path, found))
            progress.advance()
        return lines

    def _look(self, path: Path) -> _Looked:
        try:
            content = _content(path)
            found = self._deidentifier.look(content)
        except UnreadableError as error:
            return _Looked("", error.code or "damaged-file")
        known = self._identifiers.get(found.patient, Identifiers())
        self._identifiers[found.patient] = known.joined(found.identifiers)
        return _Looked(found.patient)

    def _line(self, path: Path, looked: _Looked) -> ReportLine:
        name = path.relative_to(self._source).as_posix() if path != self._source else path.name
        if looked.reason:
            return ReportLine(input=name, output=None, outcome="refused", reasons=(looked.reason,))
        try:
            cleaned = self._deidentifier.clean(_content(path), self._identifiers[looked.patient])
            written = self._write(cleaned)
        except IdentifierError as error:
            return ReportLine(input=name, output=None, outcome="quarantined", reasons=(error.code,))
        except UnreadableError as error:
            return ReportLine(
                input=name, output=None, outcome="refused", reasons=(error.code or "damaged-file",)
            )
        self.patients.add(cleaned.patient_id)
        reasons = ("own-output",) if cleaned.outcome == "own" else ()
        return ReportLine(input=name, output=written, outcome="written", reasons=reasons)

    def _write(self, cleaned: Deidentified) -> str:
        """Write a file under names made of pseudonyms, unless it stands there already.

        Files of one instance UID and another content are numbered, in the order of their paths.

        Raises:
            StorageError: If it cannot be written, or a link leads out of the output.
        """
        for number in count(1):
            name = _name(cleaned, number)
            is_same = self._holds(self._out / name, cleaned.content)
            if is_same or name not in self._taken:
                break
        self._taken.add(name)
        if not is_same:
            # read again and compared when the call is repeated: a sync for each of many files would cost more than the rest
            write_bytes_atomic(self._out / name, cleaned.content, sync=False)
        return name

    def _holds(self, path: Path, content: bytes) -> bool:
        """Whether a file of the output is there with this content."""
        if path.is_symlink() or not path.parent.resolve().is_relative_to(self._out.resolve()):
            raise StorageError("a link leads out of the output", where="--out", hint="name another folder")
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _name(cleaned: Deidentified, number: int) -> str:
    """``PATIENT/STUDY/SERIES/INSTANCE.dcm``, all made of what stands in the cleaned header."""
    again = f"-{number}" if number > 1 else ""
    study, series = (_digits(uid)[:_NAME_DIGITS] or "none" for uid in (cleaned.study_uid, cleaned.series_uid))
    return f"{cleaned.patient_id}/{study}/{series}/{_digits(cleaned.instance_uid)}{again}.dcm"


def _digits(uid: str) -> str:
    return uid.removeprefix("2.25.")


def _content(path: Path) -> bytes:
    """A file's bytes; what is no plain file, or too large to be held, is refused."""
    if path.is_symlink() or not path.is_file():
        raise UnreadableError("no plain file", code="no-plain-file")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UnreadableError("file is too large", expected="at most 2 GiB", code="too-large")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError("file cannot be read", code="unreadable-file") from error


def _files(source: Path) -> Iterator[Path]:
    """All that is no folder below a source, links to folders included and not followed, in the order of names."""
    if not source.is_dir():
        if not source.exists():
            raise ConfigError("no such folder or file", where="SRC")
        yield source
        return
    for folder, folders, names in os.walk(source, onerror=_stop):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in sorted([*names, *links]))


def _stop(error: OSError) -> None:
    raise storage_error(error) from error


def _check_places(options: DeidentifyOptions) -> None:
    """Nothing that tells who is who may come to lie in the output, nor the output in the source."""
    source, out = options.source.resolve(), options.out.resolve()
    if options.out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError("output is no plain folder", where="--out", hint="name a new folder")
    if out.is_relative_to(source) or source.is_relative_to(out):
        raise ConfigError(
            "output and source lie within each other", where="--out", hint="name another folder"
        )
    for name, path in (("--report", options.report), ("--key-file", options.key_file)):
        if path is not None and path.resolve().is_relative_to(out):
            raise ConfigError("file would lie in the output", where=name, hint="name a place outside it")
    if options.key_file.resolve().is_relative_to(source):
        raise ConfigError("key lies in the source", where="--key-file", hint="keep it apart from the data")


def _open(options: DeidentifyOptions, profile: Profile, deidentifier: Deidentifier) -> None:
    """Write the record of a new output, or check that an old one was written by the same rules and sweep it."""
    record = DeidentificationRecord(
        edition=EDITION,
        options=tuple(sorted(option.value for option in profile.options)),
        key_check=deidentifier.key_check,
    )
    path = options.out / RECORD
    if path.is_file():
        if DeidentificationRecord.read(path) != record:
            raise ConfigError(
                "output was written with another key or profile", where="--out", hint="name a new folder"
            )
        for left in options.out.rglob(".*.partial.*"):
            left.unlink(missing_ok=True)
        return
    if options.out.is_dir() and any(options.out.iterdir()):
        raise ConfigError("output folder is not empty", where="--out", hint="name a new folder")
    record.write(path)


def _summary(
    options: DeidentifyOptions, lines: list[ReportLine], patients: int, *, is_new: bool
) -> DeidentifySummary:
    outcomes = Counter(line.outcome for line in lines)
    reasons = Counter(reason for line in lines if line.outcome != "written" for reason in line.reasons)
    return DeidentifySummary(
        out=str(options.out),
        written=outcomes["written"],
        quarantined=outcomes["quarantined"],
        refused=outcomes["refused"],
        patients=patients,
        reasons=dict(reasons),
        new_key=is_new,
    )
