"""A tiny synthetic set with its assessment, as `medaug synthesize` and `medaug assess` would leave them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medaug.core.assessment import (
    AuditReport,
    ClassQuality,
    CopyFlag,
    Figure,
    MembershipResult,
    PartVerdict,
    QualityReport,
    SpaceQuality,
    Verdict,
)
from medaug.core.case import Case, CaseRecord, Manifest, Origin, read_manifest
from medaug.core.geometry import Grid
from medaug.core.plan import Recipe
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.dataset import CaseFacts, finish_dataset, write_case

CLASSES = ("solid", "ground_glass")
AUDIT, QUALITY = "audit.json", "quality.json"


@dataclass(frozen=True)
class Material:
    """What `medaug release` reads."""

    dataset: Path
    assessment: Path

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.dataset)


def make_set(
    folder: Path,
    *,
    licence: str | None = "CC-BY-4.0",
    terms: str | None = "Research use alone.",
    unit: Unit = Unit.HU,
    channels: tuple[str, ...] = ("CT",),
    count: int = 2,
) -> Material:
    """Two cases, or more, with one lesion each, and an assessment that passes."""
    material = Material(folder / "syn", folder / "assessment")
    records = [_write(material.dataset, n, (licence, terms), unit, channels) for n in range(count)]
    manifest = Manifest(name="syn", classes=CLASSES, cases=tuple(records))
    finish_dataset(material.dataset, manifest, (), [_recipe(record) for record in records])
    assess(material)
    return material


def _write(
    dataset: Path, number: int, stated: tuple[str | None, str | None], unit: Unit, channels: tuple[str, ...]
) -> CaseRecord:
    rng = np.random.default_rng(number)
    grid = Grid((12, 10, 4), np.array([[0.8, 0, 0, -7], [0, 0.9, 0, 3], [0, 0, 2.5, 11.5], [0, 0, 0, 1.0]]))
    image = rng.normal(-800, 30, (len(channels), *grid.shape)).astype(np.float32)
    image = np.rint(image) if unit is Unit.HU else image
    labels = np.zeros(grid.shape, np.uint8)
    labels[3:6, 4:7, 1:3] = 1 + number % 2
    edited = labels > 0
    image[:, edited] += np.float32(700.25)
    case = Case(
        case_id=f"syn_{number}",
        patient_id=f"p{number}",
        volume=Volume(image, grid, unit, channels),
        label_map=LabelMap(labels, grid, CLASSES),
        origin=Origin.SYNTHETIC,
    )
    facts = CaseFacts(
        modality="CT" if unit is Unit.HU else "MR",
        licence=stated[0],
        terms=stated[1],
        source_sha256=(f"{number + 1:064x}",),
    )
    return write_case(dataset, case, facts, edited)


def _recipe(record: CaseRecord) -> Recipe:
    return Recipe(
        case_id=record.case_id,
        host_case_id=f"host_{record.patient_id}",
        host_patient_id=record.patient_id,
        donor_patient_ids=("p7",),
        generator="copy_paste",
        generator_sha256="a" * 64,
        bank_sha256="b" * 64,
        fold=0,
        training_scope_sha256="c" * 64,
        class_name=record.classes[0],
        site_mm=(-3.8, 7.5, 15.25),
        diameter_mm=6.0,
        seed=1,
        edit_mask=f"edits/{record.case_id}.nii.gz",
    )


def assess(
    material: Material,
    *,
    lesion: Verdict = "pass",
    background: Verdict = "fail",
    fold: int = 0,
    flagged: tuple[CopyFlag, ...] = (),
    n_synthetic: int = 2,
    n_training: int = 8,
    membership: Verdict | None = None,
) -> None:
    """Write an assessment of the set as it is now."""
    sha256 = material.manifest.content_sha256
    AuditReport(
        synthetic_sha256=sha256,
        dataset_sha256="d" * 64,
        fold=fold,
        verdict=PartVerdict(lesion=lesion, background=background),
        reasons=(),
        threshold=0.9,
        n_synthetic=n_synthetic,
        n_training=n_training,
        n_held_out=40,
        detection_limit=0.075,
        flagged=flagged,
        membership=None if membership is None else attacked(membership),
    ).write(material.assessment / AUDIT)
    quality = ClassQuality(
        class_name="solid",
        n_synthetic=2,
        n_training=8,
        n_held_out=9,
        spaces=(SpaceQuality(space="figures", kernel=Figure(value=0.1, low=0.05, high=0.15)),),
    )
    QualityReport(synthetic_sha256=sha256, dataset_sha256="d" * 64, fold=0, classes=(quality,)).write(
        material.assessment / QUALITY
    )


def attacked(verdict: Verdict) -> MembershipResult:
    """What a membership attack found."""
    return MembershipResult(
        verdict=verdict,
        auc=None,
        control_auc=None,
        tpr_at_1_percent=None,
        n_members=8,
        n_others=9,
        reasons=(),
    )


def make_real(folder: Path, **how: object) -> Material:
    """The same cases as scans of patients, with nothing assessed."""
    material = make_set(folder, **how)  # type: ignore[arg-type]
    (material.dataset / "recipes.jsonl").unlink()
    for path in material.assessment.iterdir():
        path.unlink()
    cases = [
        record.model_copy(update={"origin": Origin.REAL, "edit_mask": None})
        for record in material.manifest.cases
    ]
    change_manifest(material, *cases, reassess=False)
    return material


def change_manifest(material: Material, *cases: CaseRecord, reassess: bool = True) -> None:
    """Replace the cases of the manifest; the assessment follows unless it is to be stale."""
    material.manifest.model_copy(update={"cases": cases}).write(material.dataset / "manifest.json")
    if reassess:
        assess(material)
