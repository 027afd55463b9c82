"""The dataset folder: a valid nnU-Net v2 raw dataset with a manifest beside it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, final

import numpy as np
from pydantic import Field
from scipy import ndimage

from medaug.core.case import (
    FINDINGS,
    MANIFEST,
    RECIPES,
    Attributes,
    Case,
    CaseRecord,
    FindingsFile,
    LesionCount,
    Manifest,
    Origin,
    StoredFile,
)
from medaug.core.config import Frozen
from medaug.core.errors import DataError, GeometryError, LabelError, UnreadableError
from medaug.core.findings import Finding
from medaug.core.geometry import NEIGHBOURS_26, Grid
from medaug.core.plan import Recipe, write_lines
from medaug.core.splits import Fold
from medaug.core.storage import write_text_atomic
from medaug.core.volume import Image, LabelMap, Mask, Volume
from medaug.io.nifti import (
    NiftiImage,
    read_channels,
    read_label,
    read_nifti,
    write_channels,
    write_label,
    write_volume,
)

DATASET_JSON = "dataset.json"
_RESTORE = "restore it, or make the dataset again in a new folder"


@final
@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What the manifest says of a case beyond its voxels."""

    modality: str
    split: Literal["train", "test"] | None = None
    lesion_free: bool = False
    licence: str | None = None
    terms: str | None = None
    source_sha256: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    attributes: Attributes = ()


@final
class _DatasetJson(Frozen):
    """``dataset.json`` as nnU-Net v2 reads it."""

    name: str
    channel_names: dict[str, str]
    labels: dict[str, int]
    num_training: int = Field(serialization_alias="numTraining")
    file_ending: str = ".nii.gz"
    origin: str | None = Field(
        default=None, exclude_if=operator.not_, description="medaug's own: of cases that are no scans"
    )


def write_case(dataset: Path, case: Case, facts: CaseFacts, edit_mask: Mask | None = None) -> CaseRecord:
    """Write the files of a case, in RAS+ order, and return its line of the manifest.

    A labelled case goes to ``imagesTr`` and ``labelsTr``, an unlabelled one to ``imagesTs``; a host known to hold
    no lesion (``facts.lesion_free``) gets an all-zero label. Lesions are 26-connected components of one class.

    Args:
        dataset: The dataset folder; made where it is missing.
        case: Image (C, I, J, K) and label map on one grid.
        facts: What else the manifest says.
        edit_mask: (I, J, K), where a synthetic case differs from its host.

    Raises:
        GeometryError: If the grid is not in RAS+ order, or image, label and edit mask do not agree.
        LabelError: If a label id has no name, or a lesion-free case holds a label.
        StorageError: If the disk is full or the folder cannot be written.
    """
    grid = case.volume.grid
    labels = _checked_labels(case, facts)
    if edit_mask is not None and edit_mask.shape != grid.shape:
        raise GeometryError(f"edit mask is {edit_mask.shape}", where=case.case_id, expected=f"{grid.shape}")
    folder = "imagesTr" if labels is not None else "imagesTs"
    images = tuple(
        _stored(dataset, f"{folder}/{case.case_id}_{n:04d}.nii.gz", channel, grid)
        for n, channel in enumerate(case.volume.image)
    )
    label = None if labels is None else _stored_mask(dataset, f"labelsTr/{case.case_id}.nii.gz", labels, grid)
    edit = None if edit_mask is None else _stored_mask(dataset, edit_mask_path(case.case_id), edit_mask, grid)
    return CaseRecord(
        case_id=case.case_id,
        patient_id=case.patient_id,
        modality=facts.modality,
        unit=case.volume.unit,
        channels=case.volume.channels,
        origin=case.origin,
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
        spacing="known" if case.volume.spacing_known else "nominal",
        images=images,
        label=label,
        edit_mask=edit,
        lesions=()
        if case.label_map is None
        else count_lesions(case.label_map, spacing_known=case.volume.spacing_known),
        lesion_free=facts.lesion_free,
        split=facts.split,
        source_sha256=facts.source_sha256,
        findings=facts.findings,
        licence=facts.licence,
        terms=facts.terms,
        attributes=dict(facts.attributes),
    )


def rewrite_images(dataset: Path, record: CaseRecord, volume: Volume) -> CaseRecord:
    """Write other voxels of a case into the files that its line of the manifest names, and return that line anew.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    places = [dataset / file.path for file in record.images]
    if record.holds_channels_in_one_file:
        hashes = [write_channels(places[0], volume.image, volume.grid)]
    else:
        hashes = [
            write_volume(place, np.asarray(channel), volume.grid)
            for place, channel in zip(places, volume.image, strict=True)
        ]
    images = tuple(
        StoredFile(path=file.path, sha256=sha256) for file, sha256 in zip(record.images, hashes, strict=True)
    )
    return record.model_copy(update={"images": images})


def edit_mask_path(case_id: str) -> str:
    """Where the edit mask of a synthetic case lies, relative to the dataset folder."""
    return f"edits/{case_id}.nii.gz"


def _checked_labels(case: Case, facts: CaseFacts) -> np.ndarray | None:
    grid, label_map = case.volume.grid, case.label_map
    if grid.axcodes != "RAS":
        raise GeometryError(f"grid axes are {grid.axcodes}", where=case.case_id, expected="RAS")
    if label_map is None:
        return np.zeros(grid.shape, dtype=np.uint8) if facts.lesion_free else None
    if not label_map.grid.agrees_with(grid):
        raise GeometryError("label map lies on another grid than the image", where=case.case_id)
    highest = int(label_map.labels.max())
    if highest > len(label_map.class_names) or int(label_map.labels.min()) < 0:
        raise LabelError(
            f"label id {highest} has no name",
            where=case.case_id,
            expected=f"0 to {len(label_map.class_names)}",
        )
    if facts.lesion_free and highest:
        raise LabelError("case is said to be lesion-free and holds a label", where=case.case_id)
    return label_map.labels


def _stored(dataset: Path, relative: str, array: np.ndarray, grid: Grid) -> StoredFile:
    return StoredFile(path=relative, sha256=write_volume(dataset / relative, array, grid))


def _stored_mask(dataset: Path, relative: str, mask: np.ndarray, grid: Grid) -> StoredFile:
    return StoredFile(path=relative, sha256=write_label(dataset / relative, mask, grid))


def count_lesions(label_map: LabelMap, *, spacing_known: bool = True) -> tuple[LesionCount, ...]:
    """Count the 26-connected components of each class that is present, in the order of the class table."""
    counts = []
    boxes = ndimage.find_objects(label_map.labels, max_label=len(label_map.class_names))
    for number, (name, box) in enumerate(zip(label_map.class_names, boxes, strict=True), start=1):
        if box is None:
            continue
        mask = label_map.labels[box] == number
        voxels = int(np.count_nonzero(mask))
        count = int(ndimage.label(mask, structure=NEIGHBOURS_26)[1])
        volume_mm3 = round(voxels * label_map.grid.voxel_mm3, 3) if spacing_known else None
        counts.append(LesionCount(class_name=name, count=count, voxels=voxels, volume_mm3=volume_mm3))
    return tuple(counts)


def origins_of(manifest: Manifest) -> str | None:
    """What ``dataset.json`` says of cases that are no scans; None where all are."""
    held = sorted({record.origin for record in manifest.cases})
    return None if held in ([], [Origin.REAL]) else ", ".join(held)


def write_description(dataset: Path, manifest: Manifest) -> None:
    """Write ``dataset.json`` as nnU-Net v2 reads it; the channels are those of the first case.

    Raises:
        StorageError: If it cannot be written.
    """
    channels = manifest.cases[0].channels if manifest.cases else ()
    description = _DatasetJson(
        name=manifest.name,
        channel_names={str(n): name for n, name in enumerate(channels)},
        labels={"background": 0} | {name: n for n, name in enumerate(manifest.classes, start=1)},
        num_training=sum(record.label is not None for record in manifest.cases),
        origin=origins_of(manifest),
    )
    write_text_atomic(dataset / DATASET_JSON, description.model_dump_json(indent=1, by_alias=True) + "\n")


def finish_dataset(
    dataset: Path, manifest: Manifest, findings: Sequence[Finding], recipes: Sequence[Recipe] = ()
) -> None:
    """Write ``dataset.json``, ``findings.json``, ``recipes.jsonl`` and, last, ``manifest.json``.

    Raises:
        DataError: If there is no case, or cases differ in their channels.
        StorageError: If a file cannot be written.
    """
    channels = {record.channels for record in manifest.cases}
    if len(channels) != 1:
        found = "; ".join(sorted(",".join(names) for names in channels)) or "no case"
        raise DataError(
            f"dataset {manifest.name} holds {found}", expected="one list of channels for all cases"
        )
    write_description(dataset, manifest)
    FindingsFile(findings=tuple(findings)).write(dataset / FINDINGS)
    if recipes:
        write_lines(dataset / RECIPES, tuple(recipes))
    manifest.write(dataset / MANIFEST)


def load_case(dataset: Path, record: CaseRecord, classes: tuple[str, ...]) -> Case:
    """Read a case of a dataset folder, or of one that was converted to another layout, bit-identical to what was written.

    Args:
        dataset: The dataset folder.
        record: The case's line of the manifest.
        classes: The manifest's class table.

    Returns:
        The case; its label map is None where it has no label.

    Raises:
        UnreadableError: If a file is missing, damaged or not the one the manifest describes.
        GeometryError: If a file lies on another grid.
    """
    image, grid = _load_image(dataset, record)
    volume = Volume(image, grid, record.unit, record.channels, record.spacing == "known")
    label_map = None
    if record.label is not None:
        label_map = LabelMap(_read(dataset, record.label, record, read_label).array, grid, classes)
    return Case(record.case_id, record.patient_id, volume, label_map, record.origin)


@final
@dataclass(frozen=True, slots=True)
class StoredCases:
    """The real cases of a fold's training patients in a dataset folder, read one by one.

    Attributes:
        dataset: The dataset folder.
        dataset_sha256: Hash of its manifest.
        classes: Its class table.
        fold: Whose training patients these are.
        records: What the manifest says of the cases.
    """

    dataset: Path
    dataset_sha256: str
    classes: tuple[str, ...]
    fold: Fold
    records: tuple[CaseRecord, ...]

    @staticmethod
    def of_fold(dataset: Path, manifest: Manifest, fold: Fold) -> StoredCases:
        """The real cases of all its training patients.

        Raises:
            DataError: If there is none.
        """
        patients = manifest.of_patients(frozenset(fold.train))
        records = tuple(record for record in patients if record.origin is Origin.REAL)
        if not records:
            raise DataError(f"no training patient of fold {fold.index} has a real case")
        return StoredCases(dataset, manifest.content_sha256, manifest.classes, fold, records)

    def load(self, record: CaseRecord) -> Case:
        """Read one case; see :func:`load_case`."""
        return load_case(self.dataset, record, self.classes)


def _load_image(dataset: Path, record: CaseRecord) -> tuple[Image, Grid]:
    """The channels, (C, I, J, K) float32: a file each, or one file whose fourth axis holds them all."""
    if not record.images:
        raise DataError("manifest names no image", where=record.case_id, hint="ingest the folder again")
    if record.holds_channels_in_one_file:
        count = len(record.channels)
        file = _read(dataset, record.images[0], record, partial(read_channels, count=count))
        return np.ascontiguousarray(file.array, dtype=np.float32), file.grid
    files = [_read(dataset, stored, record, read_nifti) for stored in record.images]
    return np.stack([file.array.astype(np.float32, copy=False) for file in files]), files[0].grid


def load_edit_mask(dataset: Path, record: CaseRecord) -> Mask:
    """The voxels of a synthetic case that differ from its host, (I, J, K) bool.

    Raises:
        DataError: If the case has no edit mask.
        UnreadableError: If the file is missing, damaged or not the one the manifest describes.
    """
    if record.edit_mask is None:
        raise DataError(
            "case has no edit mask", where=record.case_id, hint="sets made by other tools carry none"
        )
    return np.asarray(_read(dataset, record.edit_mask, record, read_label).array > 0)


class _Reader(Protocol):
    """Reads one file, as stored."""

    def __call__(self, path: Path, /, *, as_stored: bool, where: str) -> NiftiImage:
        """The file."""
        ...


def _read(dataset: Path, stored: StoredFile, record: CaseRecord, reader: _Reader) -> NiftiImage:
    try:
        file = reader(dataset / stored.path, as_stored=True, where=record.case_id)
    except DataError as error:
        raise error.located(record.case_id, part=stored.path, hint=_RESTORE) from error
    if file.sha256 != stored.sha256:
        what = f"{stored.path} is not the file the manifest describes"
        raise UnreadableError(what, where=record.case_id, hint=_RESTORE)
    if file.grid.shape != record.shape:
        raise GeometryError(
            f"{stored.path} is {file.grid.shape}", where=record.case_id, expected=f"{record.shape}"
        )
    return file
