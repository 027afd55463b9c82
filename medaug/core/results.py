"""Evidence that crosses from one package to another: scores, comparisons, predictions, experiments."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field

from medaug.core.config import Aliased, Document, Frozen
from medaug.core.findings import Finding, Severity


def _is_none(value: object) -> bool:
    return value is None


@final
class SizeCount(Frozen):
    """How many reference lesions of a size were found."""

    low_mm: float = Field(description="smallest diameter of the ball (2D: disc) of equal size")
    high_mm: float | None = Field(description="below this diameter; null = no upper end")
    reference: int
    found: int


@final
class LesionCounts(Frozen):
    """Lesions of one class in one case: 26-connected components, matched one to one by overlap."""

    reference: int
    predicted: int
    matched: int = Field(description="pairs")
    iou_sum: float = Field(description="intersection over union, summed over the pairs")
    sizes: tuple[SizeCount, ...] = Field(
        default=(), description="those that the reference has; empty where the spacing is nominal"
    )


@final
class DiceRow(Aliased):
    """One test patient's case, one class, one arm; what is null by default is left out of files, since rows are many."""

    arm: str
    n_annotated: int | None = Field(description="patients whose annotations were used; null = all")
    fold: int
    seed: int
    case_id: str
    patient_id: str
    class_name: str = Field(alias="class")
    dice: float | None = Field(description="null where the reference is empty")
    false_positive_voxels: int | None = Field(
        default=None, exclude_if=_is_none, description="set where the reference is empty"
    )
    false_positive_lesions: int | None = Field(
        default=None, exclude_if=_is_none, description="26-connected; set where the reference is empty"
    )
    false_positive_mm3: float | None = Field(
        default=None, exclude_if=_is_none, description="null where the spacing is nominal"
    )
    surface_dice: float | None = Field(
        default=None,
        exclude_if=_is_none,
        description="normalised surface Dice; 0 where the prediction is empty; null where the reference is empty or the "
        "spacing is nominal",
    )
    surface_tolerance_mm: float | None = Field(
        default=None, exclude_if=_is_none, description="of surface_dice"
    )
    hd95_mm: float | None = Field(
        default=None,
        exclude_if=_is_none,
        description="null where either side is empty or the spacing is nominal",
    )
    volume_error_mm3: float | None = Field(
        default=None,
        exclude_if=_is_none,
        description="predicted minus reference volume; null where the spacing is nominal",
    )
    volume_error: float | None = Field(
        default=None,
        exclude_if=_is_none,
        description="the same over the reference volume; null where the reference is empty",
    )
    lesions: LesionCounts | None = Field(
        default=None, exclude_if=_is_none, description="left out in files of earlier versions"
    )
    calibration_error: float | None = Field(
        default=None,
        exclude_if=_is_none,
        description="expected calibration error of the given label, over the voxels where the class was given or outlined; "
        "null without confidence",
    )


@final
class Comparison(Aliased):
    """An arm against its baseline, paired by patient."""

    arm: str
    baseline: str
    n_annotated: int | None
    class_name: str = Field(alias="class")
    mean_difference: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    n_patients: int
    mde: float | None = Field(
        description="minimum detectable effect at 80% power, two-sided 5%; null for one patient"
    )
    coverage: float | None = Field(
        default=None,
        description="how often such an interval holds the true mean, for n and skewness like these, by simulation",
    )
    verdict: Literal["gain", "harm", "no evidence", "inconclusive"]


@final
class ArmScore(Aliased):
    """An arm in one class: means over patients, seeds and cases averaged inside a patient first."""

    arm: str
    n_annotated: int | None
    class_name: str = Field(alias="class")
    mean_dice: float
    ci_low: float
    ci_high: float
    coverage: float | None = Field(default=None, description="of the interval, as in a comparison")
    n_patients: int
    false_positive_voxels: int = Field(description="sum over the cases whose reference is empty")
    n_empty: int = Field(description="cases whose reference is empty: left out of the mean")
    surface_dice: float | None = None
    hd95_mm: float | None = Field(default=None, description="median over the patients of whom it is known")
    volume_error: float | None = Field(
        default=None, description="predicted minus reference volume, over the reference"
    )
    lesion_f1: float | None = Field(
        default=None, description="this and the next three: over lesions, not patients"
    )
    lesion_precision: float | None = None
    lesion_recall: float | None = None
    panoptic_quality: float | None = None
    calibration_error: float | None = None
    sizes: tuple[SizeCount, ...] = Field(default=(), description="summed over cases and seeds")


@final
class CurvePoint(Aliased):
    """The Dice that an arm reaches with so many annotated patients."""

    arm: str
    n_annotated: int | None = Field(description="null = all")
    patients: float = Field(description="annotated patients really used, the mean over folds")
    class_name: str = Field(alias="class")
    mean: float
    ci_low: float
    ci_high: float
    coverage: float | None = Field(default=None, description="of the interval, as in a comparison")


@final
class Saving(Aliased):
    """How many further annotated patients the baseline would need to reach an arm's Dice."""

    arm: str
    baseline: str
    n_annotated: int | None
    class_name: str = Field(alias="class")
    saved: float | None = Field(description="patients; null = beyond the baseline's curve")
    low: float | None = Field(description="null = beyond the curve")
    high: float | None = Field(description="null = beyond the curve")
    said: str = Field(description="the same in one sentence")


@final
class PredictedCase(Frozen):
    """One label map that was written."""

    case_id: str
    patient_id: str | None = Field(description="null outside a dataset folder")
    file: str | None = Field(description="null where no lesion was found and the format cannot say so")
    voxels: dict[str, int] = Field(description="of every class")


@final
class PredictionIndex(Document):
    """``predictions.json``: which model labelled which cases."""

    model_sha256: str = Field(description="of an ensemble: of its members' hashes")
    members_sha256: tuple[str, ...] = Field(
        default=(), description="of the models of an ensemble; empty for one model"
    )
    source: Literal["dataset", "nifti", "dicom"]
    dataset_sha256: str | None = Field(description="null outside a dataset folder")
    fold: int | None = Field(description="of the run; null where the cases are not its held-out patients")
    classes: tuple[str, ...]
    cases: tuple[PredictedCase, ...]
    refused: tuple[Finding, ...]


@final
class EvaluationResult(Document):
    """What `medaug evaluate` writes: predictions of any tool against reference label maps."""

    labels: str = Field(description="name of the dataset or folder of reference label maps")
    classes: tuple[str, ...]
    rows: tuple[DiceRow, ...]
    scores: tuple[ArmScore, ...]
    missing: tuple[str, ...] = Field(description="cases without a prediction; scored as an empty one")
    unmatched: tuple[str, ...] = Field(description="predictions without a reference; not scored")
    patients_known: bool = Field(description="false: every case counts as a patient of its own")


@final
class ArmCost(Frozen):
    """What an arm was given and what it took, so that fairness can be checked."""

    arm: str
    n_annotated: int | None = None
    fold: int
    seed: int
    optimiser_steps: int
    patch_size: tuple[int, ...]
    lesion_patch_share: float = Field(description="share of training patches that held a lesion")
    synthetic_patch_share: float
    training_cases: int = 0
    training_patients: int = 0
    annotated_patients: int | None = Field(
        default=None,
        description="of these, those that n_annotated counts: who carry the limited class, or all",
    )
    class_patch_shares: dict[str, float] = Field(
        default={},
        description="share of training patches that held each class; empty where it was not counted",
    )
    first_seed: int | None = Field(
        default=None, description="that the first weights and the order of real patches come from"
    )
    seconds: float
    search_steps: int = Field(
        default=0, description="further steps on an inner fold, to choose the augmentation before training"
    )


@final
class ExperimentResult(Document):
    """``results.json`` of an experiment."""

    dataset: str
    dataset_sha256: str
    classes: tuple[str, ...]
    baseline: str
    arms: tuple[str, ...]
    complete: bool
    rows: tuple[DiceRow, ...]
    comparisons: tuple[Comparison, ...]
    costs: tuple[ArmCost, ...]
    scores: tuple[ArmScore, ...] = ()
    limit_class: str | None = Field(
        default=None, description="the class whose patients n_annotated limits; null = all"
    )
    cells_done: int = 0
    cells_planned: int = 0
    notes: tuple[str, ...] = Field(
        default=(), description="what a reader must know, e.g. a class absent from test"
    )
    licences: tuple[str, ...] = ()
    curves: tuple[CurvePoint, ...] = ()
    savings: tuple[Saving, ...] = ()
    equal_terms: tuple[str, ...] = Field(
        default=(), description="in what the arms were found to be treated equally, in words"
    )


@final
class ClassCount(Frozen):
    """How much of a class there is to learn from and to be scored on."""

    class_name: str
    cases: int
    patients: int
    scored_patients: int


@final
class FindingCount(Frozen):
    """How often a finding was made while the dataset was read."""

    code: str
    severity: Severity
    count: int


@final
class ExperimentContext(Document):
    """``context.json`` of an experiment: what its report says of the data and of the call."""

    name: str
    command: str
    n_cases: int
    n_patients: int
    classes: tuple[ClassCount, ...]
    findings: tuple[FindingCount, ...]
    checks: tuple[str, ...] = Field(description="leakage guards that were run, in words")
    licences: tuple[str, ...]
    terms: tuple[str, ...]
    dataset: str = Field(default="", description="name of the dataset")
    cells: tuple[str, ...] = Field(
        default=(), description="names of all trainings that were planned, in order"
    )
    held_out_patients: int = Field(default=0, description="patients that stand on a held-out side")
    only_trained_patients: int = Field(default=0, description="patients that stand on no held-out side")
