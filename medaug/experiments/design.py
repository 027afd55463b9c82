"""What an experiment asks: arms, annotated patients, folds and seeds, and the training subset of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from pydantic import Field, JsonValue, field_validator, model_validator

from medaug.core.case import CaseRecord, Manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.lesion import Blending
from medaug.core.results import ArmCost, DiceRow
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.storage import sha256_text
from medaug.core.strata import deal, labelled_patients
from medaug.core.wording import counted
from medaug.lesions.shape_source import ShapeKind
from medaug.metrics.scoring import SURFACE_TOLERANCE_MM

NAME_PATTERN = r"^[a-z0-9][a-z0-9_]{0,39}$"
_INNER = 1000  # numbers of inner folds begin here, so that nobody takes them for outer ones
Settings = dict[str, JsonValue]


@final
class Arm(Frozen):
    """One way to make training patches; everything else is the same in all arms."""

    name: str = Field(pattern=NAME_PATTERN)
    transforms: Settings = Field(default={"kind": "none"}, description="settings of a transforms plugin")
    generator: Settings | None = Field(
        default=None, description="settings of a generators plugin; null = real only"
    )
    teacher: Settings | None = Field(
        default=None,
        exclude_if=lambda teacher: teacher is None,  # folders of runs that knew none stay the same runs
        description="settings of a segmentation that is trained on the same patches first, in every training subset anew; "
        "the generator (cgan) learns to be recognised by it",
    )
    synthetic_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the lesion patches of each drawn class that are synthetic; classes keep their shares",
    )
    real_only_tail: float = Field(
        default=0.0, ge=0, le=0.5, description="last share of the steps on real patches alone"
    )
    swap_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of synthetic lesions drawn over a lesion of another class, not into healthy tissue",
    )
    null_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the patches from anywhere that show healthy tissue, pasted in the same way, unlabelled",
    )
    contrast: tuple[float, float] | None = Field(
        default=None,
        description="range of the factor that a synthetic lesion's difference from the tissue around it is multiplied by, "
        "log-uniform; null: as drawn",
    )
    keep_score: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="synthetic lesions are drawn again, up to three times, while a judge fitted on the training subset gives "
        "their class a lower probability than this; null: all are taken",
    )
    blending: Blending = Field(
        default="feather", description="feather leaves it to the generator, poisson blends all so"
    )
    match_noise: bool = Field(default=False, description="add the noise that a host has and its lesion lacks")
    shapes: ShapeKind = Field(
        default="bank", description="outlines: bank masks, bent, or learnt from them: pca, vae or auto"
    )

    @model_validator(mode="after")
    def _share_needs_generator(self) -> Arm:
        if (self.generator is None) != (self.synthetic_share == 0):
            raise ValueError("generator and synthetic_share are set together or not at all")
        fields = type(self).model_fields
        of_synthesis = [
            name for name in fields if name not in {"name", "transforms", "generator", "synthetic_share"}
        ]
        settings = self.model_dump()
        changed = [name for name in of_synthesis if settings.get(name) not in (None, fields[name].default)]
        if self.generator is None and changed:
            raise ValueError(f"{', '.join(changed)} needs a generator")
        if self.contrast is not None and not 0 < self.contrast[0] <= self.contrast[1]:
            raise ValueError("contrast is a range of factors above 0, the smaller first")
        return self

    @property
    def treatment(self) -> str:
        """All settings but the name, as text; equal for arms that would do the same."""
        return self.model_dump_json(exclude={"name"})


@final
class ExperimentConfig(Frozen):
    """The YAML of `medaug experiment`."""

    name: str = Field(pattern=NAME_PATTERN)
    task: Settings = Field(description="settings of a tasks plugin, the same for all arms")
    arms: tuple[Arm, ...] = Field(min_length=2)
    baseline: str = Field(description="the arm that the others are compared with")
    comparisons: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="further pairs to compare, each [arm, against], named before the results are seen",
    )
    limit_class: str | None = Field(
        default=None, description="n_annotated limits the patients who carry it; null: all patients"
    )
    n_annotated: tuple[int | None, ...] = Field(
        default=(None,), min_length=1, description="null = all patients"
    )
    folds: tuple[int, ...] | None = Field(default=None, description="numbers of outer folds; null = all")
    inner_folds: int | None = Field(
        default=None,
        ge=2,
        le=20,
        description="for choosing settings: divide the training patients of each outer fold into so many, score these "
        "and leave its held-out patients alone",
    )
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    synthetic_classes: tuple[str, ...] | None = Field(
        default=None,
        description="classes that synthetic lesions have; null: all. Every class keeps its share of the patches",
    )
    surface_tolerance_mm: float = Field(
        default=SURFACE_TOLERANCE_MM,
        gt=0,
        description="distance between surfaces that the surface Dice counts as right; such as that between two experts",
    )
    record_augmentations: bool = Field(
        default=False, description="write what was drawn for every patch to augmentations.jsonl of each cell"
    )

    @field_validator("n_annotated")
    @classmethod
    def _counts(cls, counts: tuple[int | None, ...]) -> tuple[int | None, ...]:
        if any(n is not None and n < 1 for n in counts) or len(set(counts)) != len(counts):
            raise ValueError("counts of patients are distinct and at least 1")
        return counts

    @model_validator(mode="after")
    def _arms_differ(self) -> ExperimentConfig:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("two arms have one name")
        if self.baseline not in names:
            raise ValueError(f"baseline {self.baseline} is no arm; arms are {', '.join(names)}")
        seen: dict[str, str] = {}
        for arm in self.arms:
            twin = seen.setdefault(arm.treatment, arm.name)
            if twin != arm.name:
                raise ValueError(f"arms {twin} and {arm.name} are identical but for the name")
        if len(set(self.seeds)) != len(self.seeds) or len(set(self.folds or ())) != len(self.folds or ()):
            raise ValueError("a seed or fold is named twice")
        return self

    @model_validator(mode="after")
    def _comparisons_are_of_arms(self) -> ExperimentConfig:
        names = {arm.name for arm in self.arms}
        for pair in self.comparisons:
            if pair[0] == pair[1] or not set(pair) <= set(names):
                raise ValueError(
                    f"comparisons are of two arms; {' and '.join(pair)} are not two of {', '.join(sorted(names))}"
                )
            if pair[1] == self.baseline:
                raise ValueError(f"every arm is compared with the baseline {self.baseline} already")
        if len(set(self.comparisons)) != len(self.comparisons):
            raise ValueError("a comparison is named twice")
        return self


@final
@dataclass(frozen=True, slots=True)
class Cell:
    """One training run of the experiment."""

    arm: Arm
    n_annotated: int | None
    fold: Fold
    seed: int
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM

    @property
    def scope(self) -> str:
        """Folder name of its training subset, e.g. ``n8_fold0``."""
        return _scope(self.n_annotated, self.fold.index)

    @property
    def name(self) -> str:
        """Folder name of the cell."""
        return f"{self.arm.name}_{self.scope}_seed{self.seed}"


def name_of(told: DiceRow | ArmCost) -> str:
    """The :attr:`Cell.name` of the training that a row or a cost tells of."""
    return f"{told.arm}_{_scope(told.n_annotated, told.fold)}_seed{told.seed}"


def _scope(n_annotated: int | None, fold: int) -> str:
    return f"n{'all' if n_annotated is None else n_annotated}_fold{fold}"


@final
@dataclass(frozen=True, slots=True)
class TrainingSubset:
    """The real, labelled cases that may be trained on in one (n_annotated, fold).

    Attributes:
        fold: Only the subset's patients on the training side; the held-out side is that of the outer fold.
        records: Their cases, in manifest order.
        n_annotated: What limited it; None = nothing.
        annotated_patients: Of its patients, those that a limit counts: who carry the limited class, or all.
    """

    fold: Fold
    records: tuple[CaseRecord, ...]
    n_annotated: int | None
    annotated_patients: int

    @property
    def sha256(self) -> str:
        """Hash of the case ids: what a bank, a generator and a model were allowed to see."""
        return sha256_text("\n".join(record.case_id for record in self.records))


@final
@dataclass(frozen=True, slots=True)
class SplitDataset:
    """The dataset of an experiment, divided.

    Attributes:
        manifest: The dataset.
        outer_folds: Those whose held-out patients may be scored.
    """

    manifest: Manifest
    outer_folds: tuple[Fold, ...]


def cells(config: ExperimentConfig, dataset: SplitDataset) -> tuple[Cell, ...]:
    """All training runs, arms innermost, so that partial results can be paired early.

    Raises:
        ConfigError: If a fold is named that does not exist.
        DataError: If there are too few patients for the inner folds.
    """
    folds = _scored_folds(config, dataset)
    return tuple(
        Cell(arm, n, fold, seed, config.surface_tolerance_mm)
        for n in config.n_annotated
        for fold in folds
        for seed in config.seeds
        for arm in config.arms
    )


def _scored_folds(config: ExperimentConfig, dataset: SplitDataset) -> tuple[Fold, ...]:
    outer_folds = dataset.outer_folds
    chosen = range(len(outer_folds)) if config.folds is None else config.folds
    for index in chosen:
        if not 0 <= index < len(outer_folds):
            raise ConfigError(
                f"there is no outer fold {index}", where="folds", expected=f"0 to {len(outer_folds) - 1}"
            )
    if config.inner_folds is None:
        return tuple(outer_folds[index] for index in chosen)
    return tuple(
        inner
        for index in chosen
        for inner in inner_folds(dataset.manifest, outer_folds[index], config.inner_folds)
    )


def inner_folds(manifest: Manifest, outer: Fold, count: int) -> tuple[Fold, ...]:
    """The training patients of an outer fold divided as `medaug split` divides all; no held-out patient is in any.

    Fold 1203 is inner fold 3 of outer fold 2. Patients without a label stand on the training side of every one.

    Raises:
        DataError: If there are fewer labelled patients than folds.
    """
    patients, unlabelled = labelled_patients(manifest.of_patients(frozenset(outer.train)))
    if len(patients) < count:
        raise DataError(
            f"{len(patients)} labelled training patients of fold {outer.index} for {count} inner folds",
            where="inner_folds",
            hint="ask for fewer",
        )
    order = SeedTree(0).child("inner folds", outer.scope_sha256).rng().permutation(len(patients))
    parts = deal([patients[n] for n in order], [1.0] * count)
    everyone = {patient.patient_id for patient in patients} | unlabelled
    made = []
    for number, part in enumerate(parts):
        held_out = {patient.patient_id for patient in part}
        index = _INNER + 100 * outer.index + number
        made.append(
            Fold(index=index, train=tuple(sorted(everyone - held_out)), held_out=tuple(sorted(held_out)))
        )
    return tuple(made)


def classes_to_draw(config: ExperimentConfig, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes that synthetic lesions have.

    Raises:
        ConfigError: If a named class is not in the dataset's class table.
    """
    asked = (*(config.synthetic_classes or ()), *((config.limit_class,) if config.limit_class else ()))
    for name in asked:
        if name not in classes:
            raise ConfigError(f"the dataset has no class {name!r}", expected=", ".join(classes))
    return config.synthetic_classes or tuple(classes)


def training_subset(
    manifest: Manifest, fold: Fold, limit_class: str | None, n_annotated: int | None
) -> TrainingSubset:
    """The cases that a cell may train on; subsets of one fold are nested.

    With a ``limit_class``, a patient who is cut loses the cases that hold this class and keeps the others.
    Without one, whole patients are cut, those without any lesion first.

    Raises:
        DataError: If there are fewer patients than asked for, or a class has no labelled case left.
    """
    allowed = frozenset(fold.train)
    labelled = [r for r in manifest.of_patients(allowed) if r.is_labelled_scan]
    if n_annotated is not None:
        kept = _kept_patients(labelled, fold, limit_class, n_annotated)
        labelled = [
            r
            for r in labelled
            if r.patient_id in kept or (limit_class is not None and limit_class not in r.classes)
        ]
    if not any(r.lesions for r in labelled):
        raise DataError(
            f"no labelled lesion among the training patients of fold {fold.index}",
            hint="make other folds with `medaug split`, or label more cases",
        )
    _require_every_class(labelled, manifest.classes, fold, n_annotated)
    patients = tuple(sorted({r.patient_id for r in labelled}))
    limited = {r.patient_id for r in labelled if limit_class is None or limit_class in r.classes}
    return TrainingSubset(
        Fold(index=fold.index, train=patients, held_out=fold.held_out),
        tuple(labelled),
        n_annotated,
        len(limited),
    )


def _require_every_class(
    labelled: Sequence[CaseRecord], classes: Sequence[str], fold: Fold, n_annotated: int | None
) -> None:
    missing = [name for name in classes if not any(name in r.classes for r in labelled)]
    if not missing:
        return
    what = f"no training case of fold {fold.index} holds {', '.join(missing)}"
    if n_annotated is None:
        hint = "make other folds with `medaug split`, or ingest without that class"
        raise DataError(what, where="folds", hint=hint)
    raise DataError(
        f"with {counted(n_annotated, 'annotated patient')} {what}",
        where="n_annotated",
        hint="ask for more patients, or name the limit_class",
    )


def _kept_patients(
    labelled: Sequence[CaseRecord], fold: Fold, limit_class: str | None, n_annotated: int
) -> frozenset[str]:
    """The first patients of an order that depends on the fold's patients alone, so that subsets are nested."""
    carriers = {r.patient_id for r in labelled if (limit_class in r.classes if limit_class else r.lesions)}
    others = set() if limit_class else {r.patient_id for r in labelled} - carriers
    if n_annotated > len(carriers | others):
        raise DataError(
            f"fold {fold.index} has {len(carriers | others)} training patients with "
            f"{limit_class or 'a label'}, not {n_annotated}",
            where="n_annotated",
            hint="ask for fewer, or null for all",
        )
    rng = SeedTree(0).child("annotated", fold.scope_sha256, limit_class or "").rng()
    order = [*rng.permutation(sorted(carriers)).tolist(), *rng.permutation(sorted(others)).tolist()]
    return frozenset(order[:n_annotated])


def scored_records(manifest: Manifest, fold: Fold) -> tuple[CaseRecord, ...]:
    """The labelled, real, held-out cases: the only ones that are scored."""
    held_out = manifest.of_patients(frozenset(fold.held_out))
    return tuple(record for record in held_out if record.is_labelled_scan)
