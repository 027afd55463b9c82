"""Cases and the manifest of a dataset folder."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, Self, final

import numpy as np
from pydantic import Field, model_validator

from medaug.core.config import Document, Frozen
from medaug.core.errors import DataError
from medaug.core.findings import Finding
from medaug.core.intensity import CaseScale
from medaug.core.storage import sha256_text
from medaug.core.volume import LabelMap, Unit, Volume

_LONGEST_ID = 64
AttributeName = Literal["site", "scanner", "sex", "age"]
Attributes = tuple[tuple[AttributeName, str], ...]
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$"


class Origin(StrEnum):
    """Whether a case was scanned, made, or is a changed copy of a scan; only scans are split, learnt from and scored."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    AUGMENTED = "augmented"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One image with, where there is one, its label map; in memory, RAS+ order.

    Attributes:
        case_id: Its id in the dataset.
        patient_id: Pseudonym of the patient; of the host for a synthetic case, of the scan's patient for an augmented one.
        volume: The image, native units.
        label_map: On the volume's grid; None for an unlabelled case.
        origin: Scanned, made or changed.
        scale: The map to normalised units, where the volume is a part of a larger case (a slab that a
            :class:`CaseSource` draws) and so cannot tell it; None means it follows from the volume.
        site: Voxel in the middle of a synthetic case's new lesion, since its label map may hold old ones too;
            None where that is not known, or the case is real.
    """

    case_id: str
    patient_id: str
    volume: Volume
    label_map: LabelMap | None
    origin: Origin = Origin.REAL
    scale: CaseScale | None = None
    site: tuple[int, int, int] | None = None


@final
class StoredFile(Frozen):
    """A file of the dataset folder."""

    path: str = Field(description="relative to the dataset folder, with forward slashes")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


@final
class LesionCount(Frozen):
    """The lesions (26-connected components) of one class in one case."""

    class_name: str
    count: int = Field(ge=1)
    voxels: int = Field(ge=1)
    volume_mm3: float | None = Field(description="null where the spacing is nominal")


@final
class CaseRecord(Frozen):
    """What the manifest says of a case; holds no identifier."""

    case_id: str = Field(pattern=ID_PATTERN)
    patient_id: str = Field(pattern=ID_PATTERN, description="pseudonym; splits never divide a patient")
    modality: str = Field(description="DICOM modality code such as CT or MR, or OT where unknown")
    unit: Unit
    channels: tuple[str, ...] = Field(min_length=1)
    origin: Origin = Origin.REAL
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    spacing: Literal["known", "nominal"] = "known"
    images: tuple[StoredFile, ...] = Field(
        description="one file a channel, or one file whose fourth axis holds the channels"
    )
    label: StoredFile | None = Field(description="null for an unlabelled case, which lives in imagesTs")
    edit_mask: StoredFile | None = Field(
        default=None, description="synthetic cases: voxels that were changed"
    )
    lesions: tuple[LesionCount, ...] = ()
    lesion_free: bool = Field(default=False, description="known to hold no lesion: a host")
    split: Literal["train", "test"] | None = None
    source_sha256: tuple[str, ...] = Field(default=(), description="of the source files, before conversion")
    findings: tuple[str, ...] = Field(default=(), description="codes; the texts stand in findings.json")
    licence: str | None = None
    terms: str | None = None
    attributes: dict[AttributeName, str] = Field(
        default={},
        exclude_if=operator.not_,
        description="of a scanned case, where its source says; age in ten years of life; no release holds them",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """DICOM has no image file here, others one a channel or one for all."""
        if len(self.images) not in (0, 1, len(self.channels)):
            raise ValueError(f"case has {len(self.images)} image files for {len(self.channels)} channels")
        return self

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Its files: images, then label and edit mask where it has them."""
        return tuple(file for file in (*self.images, self.label, self.edit_mask) if file is not None)

    @property
    def is_labelled_scan(self) -> bool:
        """Whether it is a real case with a label map: what is learnt from, drawn into and scored."""
        return self.origin is Origin.REAL and self.label is not None

    @property
    def expected_bytes(self) -> int:
        """Room on the disk for a case like this one: two compressed bytes a voxel and channel, and a label."""
        i, j, k = self.shape
        return (2 * len(self.channels) + 1) * i * j * k

    @property
    def holds_channels_in_one_file(self) -> bool:
        """Whether the fourth axis of the one image file holds the channels."""
        return len(self.images) == 1 and len(self.channels) > 1

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes present, in the order of the class table."""
        return tuple(lesion.class_name for lesion in self.lesions)


@final
class Manifest(Document):
    """``manifest.json``: the cases of a dataset folder and its class table."""

    name: str
    classes: tuple[str, ...] = Field(description="names of label ids 1, 2, ... in order")
    cases: tuple[CaseRecord, ...]

    @property
    def content_sha256(self) -> str:
        """One hash over the class table and every case; what later steps depend on."""
        return sha256_text(self.model_dump_json())

    def case(self, case_id: str) -> CaseRecord:
        """The record of a case.

        Raises:
            DataError: If there is none.
        """
        for record in self.cases:
            if record.case_id == case_id:
                return record
        raise DataError("no such case", where=case_id, hint="`medaug inspect` lists the cases")

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """All patients, sorted."""
        return tuple(sorted({record.patient_id for record in self.cases}))

    def of_patients(self, patient_ids: frozenset[str]) -> tuple[CaseRecord, ...]:
        """The records of these patients, in manifest order."""
        return tuple(record for record in self.cases if record.patient_id in patient_ids)

    def with_attributes(self, allowed: frozenset[AttributeName]) -> Manifest:
        """The same manifest, in which cases keep no other attributes than these."""
        cases = tuple(
            record.model_copy(
                update={"attributes": {k: v for k, v in record.attributes.items() if k in allowed}}
            )
            for record in self.cases
        )
        return self.model_copy(update={"cases": cases})

    @property
    def unit(self) -> Unit:
        """The unit that all cases share.

        Raises:
            DataError: If cases of several units are mixed, or there is no case.
        """
        units = {record.unit for record in self.cases}
        if len(units) != 1:
            found = ", ".join(sorted(units)) or "no case"
            raise DataError(f"dataset holds {found}", expected="one unit", hint="ingest each modality apart")
        return units.pop()

    @property
    def modality(self) -> str:
        """The DICOM modality code that all cases share, or empty where they differ."""
        modalities = {record.modality for record in self.cases}
        return modalities.pop() if len(modalities) == 1 else ""


@final
class FindingsFile(Document):
    """``findings.json``: everything that was fixed, flagged or refused on the way in."""

    findings: tuple[Finding, ...]


MANIFEST, FINDINGS, SPLITS, RECIPES = "manifest.json", "findings.json", "splits.json", "recipes.jsonl"
AUGMENTATIONS, TRANSLATIONS = "augmentations.jsonl", "translations.jsonl"
SOURCES_PRIVATE, PREDICTIONS = "sources.private.json", "predictions.json"
CONFIDENCE_END = "_confidence.nii.gz"  # of the file beside CASE.nii.gz


class CaseSource(Protocol):
    """Something that yields synthetic training cases; streams into the trainer with no file in between."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that it can draw."""
        ...

    def draw(
        self, class_names: tuple[str | None, ...], rngs: tuple[np.random.Generator, ...]
    ) -> tuple[Case, ...]:
        """One case a name, each depending on its name and its own ``rng`` alone.

        A case carries the ``site`` of its new lesion and, where it is only a part of its host, the host's ``scale``.
        None asks for healthy tissue, pasted in the same way and labelled as what it is.

        Raises:
            DataError: If there is none of that kind, or no host has a place for it.
        """
        ...

    @property
    def donor_patient_ids(self) -> frozenset[str]:
        """Every patient whose voxels or statistics may be in a drawn case."""
        ...


def marked_id(case_id: str, mark: str) -> str:
    """The id of what was made of a case; a long one is cut, with a hash so that it stays its own."""
    if len(case_id) + len(mark) <= _LONGEST_ID:
        return case_id + mark
    return f"{case_id[: _LONGEST_ID - len(mark) - 9]}_{sha256_text(case_id)[:8]}{mark}"


_MAKE_ONE = "make one with `medaug ingest FOLDER --out DATASET`"


def read_findings(dataset: Path) -> tuple[Finding, ...]:
    """The findings of a dataset folder.

    Raises:
        DataError: If ``findings.json`` is missing or damaged.
    """
    return FindingsFile.read(dataset / FINDINGS).findings


def read_manifest(dataset: Path) -> Manifest:
    """The manifest of a dataset folder."""
    if not dataset.exists():
        raise DataError(f"{dataset} does not exist", expected="a dataset folder", hint=_MAKE_ONE)
    if not (dataset / MANIFEST).is_file():
        raise DataError(f"{dataset} is no dataset folder, or no finished one", hint=_MAKE_ONE)
    return Manifest.read(dataset / MANIFEST)
