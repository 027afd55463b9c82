"""A copy of a dataset folder without the faces of its hosts, for as long as a release is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medaug.core.case import CaseRecord, Manifest
from medaug.core.errors import GateRefusedError
from medaug.core.runs import Progress
from medaug.core.storage import storage_error
from medaug.io.dataset import load_case, rewrite_images
from medaug.privacy.faces import without_face


@contextmanager
def without_faces(
    dataset: Path, manifest: Manifest, faces: frozenset[str], beside: Path, progress: Progress
) -> Iterator[tuple[Path, Manifest]]:
    """The folder and manifest to release: as they are where no face is to go, else a copy that goes when the block ends.

    Args:
        dataset: The dataset folder.
        manifest: Its manifest.
        faces: Ids of the cases that the gate found a face in.
        beside: The output; the copy lies beside it.
        progress: One step a case.

    Raises:
        GateRefusedError: If a face cannot be removed after all.
        StorageError: If the copy cannot be written.
    """
    if not faces:
        yield dataset, manifest
        return
    copy = beside.with_name(f".{beside.name}.partial.faceless")
    try:
        if copy.exists():  # left by a killed run
            shutil.rmtree(copy)
        progress.start("deface", len(manifest.cases))
        records = []
        for record in manifest.cases:
            records.append(_copied(dataset, copy, record, manifest.classes, has_face=record.case_id in faces))
            progress.advance()
        yield copy, manifest.model_copy(update={"cases": tuple(records)})
    except OSError as error:
        raise storage_error(error, beside) from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _copied(
    dataset: Path, copy: Path, record: CaseRecord, classes: tuple[str, ...], *, has_face: bool
) -> CaseRecord:
    for stored in (record.label, record.edit_mask):
        if stored is not None:
            _link(dataset / stored.path, copy / stored.path)
    if not has_face:
        for stored in record.images:
            _link(dataset / stored.path, copy / stored.path)
        return record
    volume = without_face(dataset, record, classes)
    if volume is None:
        raise GateRefusedError(f"the face in {record.case_id} cannot be removed")
    changed = rewrite_images(copy, record, volume)
    load_case(copy, changed, classes)  # it can be read back
    return changed


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk knows no such links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
