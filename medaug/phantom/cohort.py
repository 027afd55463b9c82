"""A whole cohort of made-up patients, half as DICOM with segmentations, half as NIfTI with a ``cases.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

import numpy as np
from pydantic import Field, model_validator

from medaug.core.config import Frozen
from medaug.core.geometry import Grid, Reorientation
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.storage import write_text_atomic
from medaug.io.nifti import write_label, write_volume
from medaug.layouts.dicom import SeriesIdentity, Uids, write_seg, write_series
from medaug.phantom.growth import CLASSES, LesionClass
from medaug.phantom.scan import Scan, draw_scan

LICENCE = "CC0-1.0"
_COLUMNS = (
    "case_id",
    "patient_id",
    "image",
    "label",
    "lesion_classes",
    "label_ids",
    "lesion_free",
    "licence",
)


@final
class PhantomSpec(Frozen):
    """What a cohort holds; the default is the demo's."""

    seed: int = 0
    solid: int = Field(default=23, ge=0, description="patients with solid lesions, the common class")
    ground_glass: int = Field(
        default=10, ge=0, description="patients with ground-glass lesions, the rare class"
    )
    both: int = Field(default=2, ge=0, description="patients counted in both")
    lesion_free: int = Field(default=5, ge=0)
    lesions: int = Field(default=3, ge=1, le=5, description="most lesions of a class in a patient")
    shape: tuple[int, int, int] = (96, 96, 16)

    @model_validator(mode="after")
    def _makes_sense(self) -> PhantomSpec:
        if self.both > min(self.solid, self.ground_glass):
            raise ValueError(f"both ({self.both}) is more than solid or ground_glass")
        if self.patients < 1:
            raise ValueError("the cohort holds no patient")
        if min(self.shape[:2]) < 48 or self.shape[2] < 8:
            raise ValueError("shape must be at least 48 x 48 x 8")
        return self

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return self.solid + self.ground_glass - self.both + self.lesion_free


@final
@dataclass(frozen=True, slots=True)
class Patient:
    """One made-up patient.

    Attributes:
        number: From 0; identity and randomness follow from it and the cohort's seed.
        lesions: The class of each lesion.
        stored: As what the scan is written.
    """

    number: int
    lesions: tuple[LesionClass, ...]
    stored: Literal["dicom", "nifti"]

    @property
    def patient_id(self) -> str:
        """An id that nobody can mistake for a person."""
        return f"PHANTOM-{self.number:03d}"


@final
@dataclass(frozen=True, slots=True)
class Cohort:
    """Where a cohort lies and who is in it.

    Attributes:
        dicom: A folder a patient, with ``ct/0001.dcm`` and on, and ``seg.dcm``.
        nifti: ``images``, ``labels`` and ``cases.csv``.
        patients: In order of their numbers.
    """

    dicom: Path
    nifti: Path
    patients: tuple[Patient, ...]


def list_patients(spec: PhantomSpec) -> tuple[Patient, ...]:
    """Who is in the cohort; classes are spread over the numbers, lesion-free patients are stored as NIfTI.

    Only ``cases.csv`` can say that a scan is known to hold no lesion; half of all others are DICOM.
    """
    groups: list[tuple[LesionClass, ...]] = [
        *[CLASSES] * spec.both,
        *[("ground_glass",)] * (spec.ground_glass - spec.both),  # type: ignore[list-item]
        *[("solid",)] * (spec.solid - spec.both),  # type: ignore[list-item]
        *[()] * spec.lesion_free,
    ]
    tree = SeedTree(spec.seed).child("phantom")
    numbers = tree.child("order").rng().permutation(len(groups))
    patients = []
    for position, (number, classes) in enumerate(zip(numbers.tolist(), groups, strict=True)):
        rng = tree.child("patient", number, "count").rng()
        counts = [int(rng.integers(1, spec.lesions + 1)) for _ in classes]
        lesions = tuple(name for name, count in zip(classes, counts, strict=True) for _ in range(count))
        stored: Literal["dicom", "nifti"] = "dicom" if lesions and position % 2 == 0 else "nifti"
        patients.append(Patient(number, lesions, stored))
    return tuple(sorted(patients, key=lambda patient: patient.number))


def draw_patient(spec: PhantomSpec, patient: Patient) -> Scan:
    """The scan of one patient; depends on the spec's seed and shape and on the patient alone."""
    seed = SeedTree(spec.seed).child("phantom", "patient", patient.number)
    return draw_scan(spec.shape, patient.lesions, seed)


def make_cohort(out: Path, spec: PhantomSpec, progress: Progress) -> Cohort:
    """Draw and write a cohort; the same spec gives the same bytes.

    Nothing in it comes from a person; it is given away under CC0-1.0.

    Raises:
        StorageError: If a file cannot be written.
        DependencyError: If highdicom is not installed.
    """
    cohort = Cohort(out / "dicom", out / "nifti", list_patients(spec))
    progress.start("draw phantoms", len(cohort.patients))
    for patient in cohort.patients:
        scan = draw_patient(spec, patient)
        if patient.stored == "dicom":
            _write_dicom(cohort.dicom / patient.patient_id, patient, scan, spec)
        else:
            _write_nifti(cohort.nifti, patient, scan)
        progress.advance()
    write_text_atomic(cohort.nifti / "cases.csv", _list_cases(cohort.patients))
    return cohort


def _write_dicom(folder: Path, patient: Patient, scan: Scan, spec: PhantomSpec) -> None:
    identity = SeriesIdentity(
        uids=Uids(f"medaug phantom {spec.seed}".encode(), (patient.patient_id,)),
        patient_id=patient.patient_id,
        patient_name=f"PHANTOM^{patient.number:03d}",
        description="Phantom chest",
        is_synthetic=True,
    )
    # whole Hounsfield units, as scanners store them
    volume = replace(scan.volume, image=np.rint(scan.volume.image))
    slices = write_series(volume, identity, folder / "ct")
    write_seg(scan.label_map, slices, identity, folder / "seg.dcm")


def _write_nifti(folder: Path, patient: Patient, scan: Scan) -> None:
    """Every other file is stored left to right and back to front turned round, as many scanners' files are."""
    turn = Reorientation((0, 1, 2), (True, True, False)) if patient.number % 2 else None
    image, labels, grid = scan.volume.image[0], scan.label_map.labels, scan.volume.grid
    if turn is not None:
        image, labels, grid = turn.apply(image), turn.apply(labels), _turned(grid, turn)
    write_volume(folder / "images" / f"{patient.patient_id}.nii.gz", image, grid)
    if patient.lesions:
        write_label(folder / "labels" / f"{patient.patient_id}.nii.gz", labels, grid)


def _turned(grid: Grid, turn: Reorientation) -> Grid:
    """The grid of an array with flipped axes."""
    affine = np.array(grid.affine)
    for axis, flip in enumerate(turn.flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Grid(grid.shape, affine)


def _list_cases(patients: Sequence[Patient]) -> str:
    """The text of ``cases.csv`` for the patients stored as NIfTI."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    table = (";".join(CLASSES), ";".join(str(n) for n in range(1, len(CLASSES) + 1)))
    for patient in patients:
        name = f"{patient.patient_id}.nii.gz"
        if patient.stored == "dicom":
            continue
        label = f"labels/{name}" if patient.lesions else ""
        free = "" if patient.lesions else "yes"
        rows.writerow(
            [patient.patient_id, patient.patient_id, f"images/{name}", label, *table, free, LICENCE]
        )
    return text.getvalue()
