"""What medaug asks of an image archive (PACS), whichever protocol it speaks: find, fetch, store.

:mod:`medaug.io.dicomweb` and :mod:`medaug.io.dimse` implement it. What an archive says names patients: answers and
instances show nothing of themselves when printed, and no error of this room quotes a value of them.
"""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, TypeVar, final

import pydicom
from pydicom.dataset import FileDataset

from medaug.core.errors import ConfigError, DataError, UnreachableError, UnreadableError
from medaug.io._dicom.border import PYDICOM_ERRORS, quiet_pydicom

# One instance is held in memory; the longest value that DICOM can state is just under 4 GiB (PS3.5 section 7.1).
MAX_INSTANCE_BYTES = 4 << 30
# Nobody has more answers to one question; an archive that never ends does.
MAX_ANSWERS = 1_000_000
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST_PAUSE_S = 30.0

T = TypeVar("T")
Stored = Literal["accepted", "warned"]


class Level(StrEnum):
    """Levels of the study root information model (PS3.4 section C.6.2)."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@final
@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted: whom to trust, and who we are."""

    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be read before anything is sent."""
        for option, file in (("--ca-file", self.ca_file), ("--client-cert", self.client_cert)):
            if file is not None and not file.is_file():
                raise ConfigError(f"{file.name} is no file", where=option, expected="a PEM file")
        if self.client_key is not None and (self.client_cert is None or not self.client_key.is_file()):
            raise ConfigError(
                "needs a PEM file, and --client-cert beside it", where="--client-key", hint="name both"
            )


@final
@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an archive, apart from its address."""

    tls: Tls | None = None
    token: str = field(default="", repr=False)
    calling_ae: str = "MEDAUG"
    timeout_s: float = 30.0
    retries: int = 3


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """One match of a question: DICOM keywords with their text, as far as the archive gave them (private)."""

    values: Mapping[str, str] = field(repr=False)

    def text(self, keyword: str) -> str:
        """The value without padding; empty where the archive gave none."""
        return self.values.get(keyword, "").strip(" \0")

    def uid(self, keyword: str) -> str:
        """The value where it is a UID (PS3.5 section 9.1), else nothing."""
        value = self.text(keyword)
        return value if len(value) <= 64 and _UID.fullmatch(value) else ""


@final
@dataclass(frozen=True, slots=True)
class Instance:
    """One instance in an archive, by its UIDs (private); the class is empty where the archive does not tell."""

    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    sop_instance_uid: str = field(repr=False)
    sop_class_uid: str = field(default="", repr=False)


class Archive(Protocol):
    """An open connection to an archive."""

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Answer]:
        """What matches at a level.

        Args:
            level: What is looked for.
            keys: Keyword to value, empty where the attribute is only asked for; below the study level they hold
                the UIDs of all levels above.

        Raises:
            UnreachableError: If the archive does not answer, however often it is asked.
            NetworkError: If it refuses the question, or answers nonsense.
        """
        ...

    def fetch(self, instance: Instance) -> bytes:
        """The instance as a DICOM file (PS3.10), in the transfer syntax that it is stored in where that is possible.

        Raises:
            DataError: If the archive refuses this instance.
            UnreachableError, NetworkError: As for :meth:`find`.
        """
        ...

    def store(self, dataset: FileDataset) -> Stored:
        """Send one instance in its own transfer syntax; ``warned`` where the archive took it with reservations.

        Raises:
            DataError: If the archive refuses this instance.
            UnreachableError, NetworkError: As for :meth:`find`.
        """
        ...


def persist(action: Callable[[], T], retries: int, pause: Callable[[float], None] = time.sleep) -> T:
    """Do it again while the archive cannot be reached, after 1, 2, 4 ... seconds, at most ``retries`` times more.

    Raises:
        UnreachableError: The last one, where all were in vain.
    """
    for attempt in range(retries):
        try:
            return action()
        except UnreachableError:
            pause(min(2.0**attempt, _LONGEST_PAUSE_S))
    return action()


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Switch the logging of some packages off: theirs quotes addresses with query values in them."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def check_instance(content: bytes, instance: Instance) -> None:
    """Make sure that what an archive sent is what it was asked for.

    Raises:
        UnreadableError: If it is no DICOM file.
        DataError: If it is another instance, or one of another series or study.
    """
    tags = ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
    try:
        with quiet_pydicom():
            found = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=tags)
            uids = tuple(str(found.get(tag) or "") for tag in tags)
    except PYDICOM_ERRORS as error:
        raise UnreadableError("archive sent something that is no DICOM file") from error
    if uids != (instance.sop_instance_uid, instance.series_uid, instance.study_uid):
        raise DataError("archive sent another instance than it was asked for")


def read_instance(content: bytes) -> FileDataset:
    """A file that is to be sent.

    Raises:
        UnreadableError: If it is damaged, or does not name all that is needed to send it.
    """
    try:
        with quiet_pydicom():
            dataset = pydicom.dcmread(io.BytesIO(content))
            named = (dataset.get("SOPClassUID"), dataset.get("SOPInstanceUID"))
            is_complete = all(named) and bool(dataset.file_meta.get("TransferSyntaxUID"))
    except PYDICOM_ERRORS as error:
        raise UnreadableError("file is cut short or damaged") from error
    if not is_complete:
        raise UnreadableError("file names no class, no instance or no transfer syntax")
    return dataset
