"""What every layout file offers.

A file ``medaug/layouts/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name and whose
``build()`` gives a :class:`Layout`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from medaug.core.case import CaseRecord, Manifest, StoredFile
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, StorageError, UnreadableError
from medaug.core.plugins import parse_config
from medaug.core.runs import Progress
from medaug.core.storage import sha256_file, write_bytes_atomic


@final
@dataclass(frozen=True, slots=True)
class Export:
    """A dataset folder on its way out.

    Attributes:
        dataset: The dataset folder, as :mod:`medaug.io.dataset` writes it.
        manifest: Its manifest.
        out: The folder to write into; exists and is empty at first.
        uid_key: Secret from which DICOM identifiers are derived, so that they tell nothing and stay the same.
    """

    dataset: Path
    manifest: Manifest
    out: Path
    uid_key: bytes


class Layout(Protocol):
    """Writes a dataset folder in another form, and proves afterwards that nothing was lost."""

    def write(self, export: Export, progress: Progress) -> Manifest:
        """Write images, labels and edit masks of every case; returns the manifest with the new paths and hashes.

        Raises:
            DataError: If a case cannot be read, or the form cannot hold it.
            StorageError: If a file cannot be written.
        """
        ...

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Read back what was written and compare it with the dataset.

        Raises:
            DataError: If a voxel, a label or a place differs by more than the form's stated precision.
        """
        ...


class LayoutConfig(Frozen, ABC):
    """Settings of a layout."""

    kind: str

    @abstractmethod
    def build(self) -> Layout:
        """The layout."""


def parse_layout(raw: Mapping[str, object]) -> LayoutConfig:
    """The settings that a mapping describes; its ``kind`` chooses the file.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown or out of range.
    """
    config = parse_config("layouts", raw)
    if not isinstance(config, LayoutConfig):
        raise ConfigError(f"{raw['kind']} offers no layout", where="layouts")
    return config


def copy_stored(export: Export, stored: StoredFile, path: str) -> StoredFile:
    """Copy a file of the dataset, byte for byte, to another path; a changed file is refused.

    Raises:
        UnreadableError: If the file is missing or not the one the manifest describes.
    """
    try:
        content = (export.dataset / stored.path).read_bytes()
    except FileNotFoundError as error:
        raise UnreadableError(f"{stored.path} is missing", hint="make the dataset again") from error
    except OSError as error:
        raise StorageError(f"cannot read {stored.path}: {error.strerror}") from error
    write_bytes_atomic(export.out / path, content)
    copied = StoredFile(path=path, sha256=sha256_file(export.out / path))
    if copied.sha256 != stored.sha256:
        raise UnreadableError(
            f"{stored.path} is not the file the manifest describes", hint="make the dataset again"
        )
    return copied


def check_copies(export: Export, written: CaseRecord) -> None:
    """Compare the files of a case that was copied, on disk, with the dataset's manifest.

    Raises:
        UnreadableError: If a copy differs.
    """
    original = export.manifest.case(written.case_id)
    pairs = [*zip(original.images, written.images, strict=True)]
    for before, after in ((original.label, written.label), (original.edit_mask, written.edit_mask)):
        if (before is None) != (after is None):
            raise UnreadableError("a label or edit mask was not written", where=written.case_id)
        if before is not None and after is not None:
            pairs.append((before, after))
    for before, after in pairs:
        if sha256_file(export.out / after.path) != before.sha256:
            raise UnreadableError(f"{after.path} differs from what was to be written", where=written.case_id)
