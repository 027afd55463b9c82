"""Folders that medaug wrote: datasets, conversions and releases, whose manifest knows what no file says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from medaug.core.assessment import read_rejections
from medaug.core.case import MANIFEST, CaseRecord, Manifest, StoredFile
from medaug.core.config import read_json
from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.core.plan import Recipe, Translation
from medaug.core.synthetic import read_origins
from medaug.core.wording import counted
from medaug.ingest.sources import ClassId, Discovery, ImageSource, LabelSource, SourceCase, Stated, Stray
from medaug.io.nifti import is_nifti

# of the DICOM layout
SERIES: Final = "dicom"


def is_described(folder: Path) -> bool:
    """Whether a manifest of medaug stands in the folder, of images that are files of their own (DICOM says enough itself).

    Raises:
        DataError: If ``manifest.json`` is damaged.
    """
    manifest = _manifest(folder)
    return manifest is not None and all(record.images for record in manifest.cases)


def dicom_below(folder: Path) -> Path | None:
    """Where the series lie of a folder that medaug wrote as DICOM; None where it is no such folder.

    Raises:
        DataError: If ``manifest.json`` is damaged.
    """
    manifest = _manifest(folder)
    if manifest is None or not manifest.cases or any(record.images for record in manifest.cases):
        return None
    series = folder / SERIES
    return series if series.is_dir() else None


def with_manifest(folder: Path, found: Discovery, files: Sequence[Path]) -> Discovery:
    """The series of such a folder, with the origin that all its cases share; a series tells not which case it was.

    Args:
        folder: The folder.
        found: What its series gave.
        files: All files of it but these; edit masks and texts of medaug are nothing odd.

    Raises:
        DataError: If the manifest or the list of rejections is damaged, or names a file outside the folder.
    """
    manifest = Manifest.read(folder / MANIFEST)
    origins = {record.origin for record in manifest.cases}
    is_flagged = any(Code.SYNTHETIC_DATA in record.findings for record in manifest.cases)
    cases = found.cases
    if len(origins) == 1 and not is_flagged:
        (origin,) = origins
        cases = tuple(replace(case, stated=replace(case.stated, origin=origin)) for case in cases)
    odd = _unlisted(folder, files, manifest)
    return Discovery(cases, (*odd, *found.strays), (*found.rejected, *read_rejections(folder)))


def _manifest(folder: Path) -> Manifest | None:
    """The manifest of medaug in a folder, or None where there is none."""
    if not (folder / MANIFEST).is_file():
        return None
    raw = read_json(folder / MANIFEST)
    if not isinstance(raw, dict) or not {"schema_version", "classes", "cases"} <= raw.keys():
        return None
    return Manifest.read(folder / MANIFEST)


def read_described(folder: Path, files: Sequence[Path], source: int) -> Discovery:
    """Read a folder by its ``manifest.json``: everything it says of a case is kept, nothing is guessed.

    Args:
        folder: The folder.
        files: All files below it.
        source: Index of the SRC.

    Raises:
        DataError: If the manifest, the recipes or the translations are damaged, or name a file outside the folder.
    """
    manifest = Manifest.read(folder / MANIFEST)
    recipes = _recipes(folder)
    classes = tuple(ClassId(number, name) for number, name in enumerate(manifest.classes, start=1))
    cases = tuple(_case(folder, record, classes, source) for record in manifest.cases)
    cases = tuple(replace(case, recipe=recipes.get(case.case_key)) for case in cases)
    return Discovery(cases, _unlisted(folder, files, manifest), read_rejections(folder))


def _recipes(folder: Path) -> dict[str, Recipe | Translation]:
    """How synthetic cases were made, by case id."""
    recipes, translations = read_origins(folder)
    rows: list[Recipe | Translation] = [*recipes, *translations]
    return {row.case_id: row for row in rows}


def _case(folder: Path, record: CaseRecord, classes: tuple[ClassId, ...], source: int) -> SourceCase:
    missing = [stored for stored in _stored(record) if not _inside(folder, stored).is_file()]
    problem = (
        f"{counted(len(missing), 'file')} of the manifest missing; restore what is lost" if missing else ""
    )
    return SourceCase(
        source=source,
        case_key=record.case_id,
        patient_key=record.patient_id,
        ids_are_pseudonyms=True,
        images=() if missing else _images(folder, record),
        label=None if missing else _mask(folder, record.label),
        classes=classes,
        stated=Stated(
            modality=record.modality,
            spacing=record.spacing,
            split=record.split,
            lesion_free=record.lesion_free,
            licence=record.licence,
            terms=record.terms,
            unit=record.unit,
            origin=record.origin,
            source_sha256=record.source_sha256,
        ),
        problem=problem,
        problem_code=Code.FILE_CHANGED if missing else "",
        edit_mask=None if missing else _mask(folder, record.edit_mask),
        characteristics=tuple(record.attributes.items()),
        said_synthetic=MANIFEST if Code.SYNTHETIC_DATA in record.findings else "",
    )


def _stored(record: CaseRecord) -> Iterator[StoredFile]:
    for stored in (*record.images, record.label, record.edit_mask):
        if stored is not None:
            yield stored


def _inside(folder: Path, stored: StoredFile) -> Path:
    place = PurePosixPath(stored.path)
    if place.is_absolute() or ".." in place.parts or "\\" in stored.path:
        raise DataError(f"{MANIFEST} names a file outside its folder", expected="paths below the folder")
    return folder / place


def _images(folder: Path, record: CaseRecord) -> tuple[ImageSource, ...]:
    if record.holds_channels_in_one_file:
        (stored,) = record.images
        path = _inside(folder, stored)
        return (ImageSource("nifti", (path,), frames=record.channels, sha256=stored.sha256),)
    return tuple(
        ImageSource("nifti", (_inside(folder, stored),), channel, sha256=stored.sha256)
        for stored, channel in zip(record.images, record.channels, strict=True)
    )


def _mask(folder: Path, stored: StoredFile | None) -> LabelSource | None:
    if stored is None:
        return None
    return LabelSource("nifti", (_inside(folder, stored),), sha256=stored.sha256)


def _unlisted(folder: Path, files: Sequence[Path], manifest: Manifest) -> tuple[Stray, ...]:
    """``description-differs``: images that were put beside those of the manifest."""
    listed = {_inside(folder, stored) for record in manifest.cases for stored in _stored(record)}
    others = tuple(path for path in files if is_nifti(path) and path not in listed)
    if not others:
        return ()
    message = (
        f"{counted(len(others), 'image file')} not in {MANIFEST}, left out; take {MANIFEST} away to read all"
    )
    return (Stray(Code.DESCRIPTION_DIFFERS, "flagged", message, others),)
