"""What every layout file offers.

A file ``medaug/layouts/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name and whose
``build()`` gives a :class:`Layout`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

import numpy as np

from medaug.core.case import CaseRecord, Manifest, StoredFile
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, StorageError, UnreadableError
from medaug.core.plugins import parse_config
from medaug.core.runs import Progress
from medaug.core.storage import sha256_file, write_bytes_atomic
from medaug.io.dataset import edit_mask_path, load_case
from medaug.io.nifti import write_volume


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

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raise where a setting speaks of a class that a dataset does not have; here none does.

        Raises:
            ConfigError: If one does.
        """


def parse_layout(raw: Mapping[str, object]) -> LayoutConfig:
    """The settings that a mapping describes; its ``kind`` chooses the file.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown or out of range.
    """
    config = parse_config("layouts", raw)
    if not isinstance(config, LayoutConfig):
        raise ConfigError(f"{raw['kind']} offers no layout", where="layouts")
    return config


def store_images(export: Export, record: CaseRecord, paths: Sequence[str]) -> tuple[StoredFile, ...]:
    """One file a channel at these paths: copied, or taken out of the one file that holds all channels.

    Raises:
        DataError: If a file is missing, damaged or not the one the manifest describes.
        StorageError: If a file cannot be written.
    """
    if not record.holds_channels_in_one_file:
        return tuple(
            copy_stored(export, stored, path) for stored, path in zip(record.images, paths, strict=True)
        )
    volume = load_case(export.dataset, record, export.manifest.classes).volume
    return tuple(
        StoredFile(path=path, sha256=write_volume(export.out / path, channel, volume.grid))
        for channel, path in zip(volume.image, paths, strict=True)
    )


def store_masks(export: Export, record: CaseRecord, label: str) -> dict[str, StoredFile | None]:
    """The label map copied to this path and the edit mask to its own, as an update of the record.

    Raises:
        UnreadableError: If a file is missing, damaged or not the one the manifest describes.
        StorageError: If a file cannot be written.
    """
    edit = edit_mask_path(record.case_id)
    return {
        "label": record.label and copy_stored(export, record.label, label),
        "edit_mask": record.edit_mask and copy_stored(export, record.edit_mask, edit),
    }


def copy_stored(export: Export, stored: StoredFile, path: str) -> StoredFile:
    """Copy a file of the dataset, byte for byte, to another path; a changed file is refused.

    A copy that an interrupted run left there is taken as it is.

    Raises:
        UnreadableError: If the file is missing or not the one the manifest describes.
    """
    target = export.out / path
    if target.is_file() and sha256_file(target) == stored.sha256:
        return stored.model_copy(update={"path": path})
    try:
        content = (export.dataset / stored.path).read_bytes()
    except FileNotFoundError as error:
        raise UnreadableError(f"{stored.path} is missing", hint="make the dataset again") from error
    except OSError as error:
        raise StorageError(f"cannot read {stored.path}: {error.strerror}") from error
    write_bytes_atomic(target, content)
    copied = StoredFile(path=path, sha256=sha256_file(target))
    if copied.sha256 != stored.sha256:
        raise UnreadableError(
            f"{stored.path} is not the file the manifest describes", hint="make the dataset again"
        )
    return copied


def check_cases(export: Export, written: Manifest, progress: Progress) -> None:
    """Compare what was written, on disk, with the dataset: copies by their hash, images in another form voxel by voxel.

    Raises:
        DataError: If anything differs.
    """
    progress.start("read back", len(written.cases))
    for before, after in zip(export.manifest.cases, written.cases, strict=True):
        _check_case(export, before, after)
        progress.advance()


def _check_case(export: Export, original: CaseRecord, written: CaseRecord) -> None:
    pairs: list[tuple[StoredFile, StoredFile]] = []
    if len(original.images) == len(written.images):
        pairs += zip(original.images, written.images, strict=True)
    else:
        _check_voxels(export, original, written)
    for before, after in ((original.label, written.label), (original.edit_mask, written.edit_mask)):
        if (before is None) != (after is None):
            raise UnreadableError("a label or edit mask was not written", where=written.case_id)
        if before is not None and after is not None:
            pairs.append((before, after))
    for before, after in pairs:
        if sha256_file(export.out / after.path) != before.sha256:
            raise UnreadableError(f"{after.path} differs from what was to be written", where=written.case_id)


def _check_voxels(export: Export, original: CaseRecord, written: CaseRecord) -> None:
    before = load_case(export.dataset, original, export.manifest.classes).volume
    after = load_case(export.out, written, export.manifest.classes).volume
    # compared as bytes: -0.0 is another number than 0
    same = np.array_equal(before.image.view(np.uint32), after.image.view(np.uint32))
    if not same or not np.array_equal(before.grid.affine, after.grid.affine):
        raise UnreadableError("image differs from what was to be written", where=written.case_id)
