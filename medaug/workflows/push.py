"""``medaug push``: send the DICOM files of a verified release to an archive.

What leaves is deliberate: a release whose certificate holds under the key that is given, each file once more compared
with it as it is sent; any other folder only where a person says so.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, GateRefusedError
from medaug.core.runs import Progress
from medaug.core.storage import sha256_text, storage_error
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.io.headers import looks_like_dicom
from medaug.io.journal import Entry, Journal, open_journal
from medaug.io.pacs import Archive, read_instance
from medaug.workflows.archive import ArchiveOptions, open_archive

STEP = "push"
_REFUSED = "refused"


@final
class PushOptions(Frozen):
    """Options of `medaug push`."""

    folder: Path
    archive: ArchiveOptions
    public_key: Path | None = Field(default=None, description="the only key that is trusted")
    allow_unverified: bool = False
    state: Path | None = Field(default=None, description="default: beside the folder")
    strict: bool = Field(default=False, description="a single refused instance is an error")


@final
class PushSummary(Summary):
    """What the archive took."""

    verified: bool
    n_files: int
    n_accepted: int = Field(description="by this call")
    n_warned: int = Field(
        description="of these, taken with reservations: the archive may have changed elements"
    )
    n_present: int = Field(description="accepted from an earlier call")
    refused: dict[str, int] = Field(description="reason to number of instances")
    state: Path = Field(description="which file had which outcome; private")

    def lines(self) -> tuple[str, ...]:
        """The result in short lines."""
        kind = "of a verified release" if self.verified else "without verification"
        head = f"{self.n_accepted} of {counted(self.n_files, 'instance')} accepted, {kind}"
        present = (f"{self.n_present} accepted before",) if self.n_present else ()
        warned = (f"{self.n_warned} with reservations of the archive",) if self.n_warned else ()
        refused = tuple(f"{number} refused: {reason}" for reason, number in self.refused.items())
        return (head, *present, *warned, *refused, *((f"see {self.state.name}",) if refused else ()))


@final
@dataclass(slots=True)
class _Tally:
    n_accepted: int = 0
    n_warned: int = 0
    n_present: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def push(options: PushOptions, progress: Progress) -> PushSummary:
    """Send every DICOM file of the folder that the archive has not taken from an earlier call.

    Raises:
        ConfigError: If options are wrong: neither a key nor ``allow_unverified``, say.
        GateRefusedError: If the release does not verify, or changes while it is sent.
        DataError: If the folder holds no DICOM file, none was accepted, or, with ``strict``, one was refused.
        NetworkError: If the archive cannot be reached or does not let us in; the same call goes on.
    """
    if (options.public_key is None) != options.allow_unverified:
        raise ConfigError(
            "say what may leave",
            expected="--public-key for a release, or --allow-unverified for any other folder",
        )
    if not options.folder.is_dir():
        raise DataError("is no folder", where="FOLDER", hint="name a release or a folder of DICOM files")
    expected = _released(options)
    files = [path for path in _files(options.folder) if looks_like_dicom(path)]
    if not files:
        raise DataError("folder holds no DICOM file", hint="release with `--format dicom`")
    state = options.state or options.folder.resolve().with_name(
        f"{options.folder.resolve().name}.push.private.jsonl"
    )
    if state.resolve().is_relative_to(options.folder.resolve()):
        raise ConfigError("lies in the folder that is sent", where="--state", hint="name a file elsewhere")
    with open_archive(options.archive) as archive, open_journal(state, STEP, {}) as journal:
        sender = _Sender(archive, journal, sha256_text(options.archive.address), options.folder, expected)
        progress.start("sending instances", len(files))
        for path in files:
            sender.send(path)
            progress.advance()
    tally = sender.tally
    _require_success(options, len(files), tally)
    return PushSummary(
        verified=expected is not None,
        n_files=len(files),
        n_accepted=tally.n_accepted,
        n_warned=tally.n_warned,
        n_present=tally.n_present,
        refused=dict(sorted(tally.refused.items())),
        state=state,
    )


def _released(options: PushOptions) -> dict[Path, str] | None:
    """File to SHA-256 as they were signed; None where nothing vouches for the folder."""
    if options.public_key is None:
        return None
    from medaug.privacy.keys import load_public_key
    from medaug.privacy.provenance import verify_release

    certificate = verify_release(options.folder, load_public_key(options.public_key))
    return {options.folder / file.path: file.sha256 for file in certificate.files}


def _files(folder: Path) -> list[Path]:
    """Plain files, in a fixed order; hidden ones and links stay."""
    try:
        return sorted(
            path
            for path in folder.rglob("*")
            if path.is_file()
            and not path.is_symlink()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
    except OSError as error:
        raise storage_error(error, folder) from error


@final
@dataclass(slots=True)
class _Sender:
    """Sends one file after the other and keeps count."""

    archive: Archive
    journal: Journal
    address: str
    folder: Path
    expected: dict[Path, str] | None
    tally: _Tally = field(default_factory=_Tally)

    def send(self, path: Path) -> None:
        """Send one file, if the archive has not taken it before; a refusal is counted."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise storage_error(error) from error
        sha256 = hashlib.sha256(content).hexdigest()
        if self.expected is not None and self.expected.get(path) != sha256:
            raise GateRefusedError("release changed while it was sent", hint="verify it again")
        key = f"{self.address}:{sha256}"
        before = self.journal.get(key)
        if before is not None and before.state != _REFUSED:
            self.tally.n_present += 1
            return
        state = self._outcome(content)
        self.journal.add(Entry(key=key, state=state, file=path.relative_to(self.folder).as_posix()))

    def _outcome(self, content: bytes) -> str:
        try:
            stored = self.archive.store(read_instance(content))
        except DataError as error:
            self.tally.refused[error.what] += 1
            return _REFUSED
        self.tally.n_accepted += 1
        self.tally.n_warned += stored == "warned"
        return stored


def _require_success(options: PushOptions, n_files: int, tally: _Tally) -> None:
    n_refused = sum(tally.refused.values())
    if n_refused and (options.strict or not tally.n_accepted + tally.n_present):
        reason = tally.refused.most_common(1)[0][0]
        raise DataError(
            f"{n_refused} of {counted(n_files, 'instance')} refused, most often: {reason}",
            hint="the same command tries them again",
        )
