"""Lists of lesions that a model or another tool found or judged, and their scores against a reference."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field

from medaug.core.config import Aliased, Document, Frozen
from medaug.core.findings import Finding

LESIONS = "lesions.json"


@final
class ScoredLesion(Aliased):
    """A place in a case, and what a model says of it."""

    lesion_id: str = Field(description="the only one of its name in the list")
    case_id: str
    patient_id: str | None = Field(description="null outside a dataset folder")
    x_mm: float = Field(description="of the centre, RAS+")
    y_mm: float
    z_mm: float
    score: float = Field(description="how sure it is that this is a lesion; 1 where the lesion was given")
    box: tuple[int, int, int, int, int, int] | None = Field(
        default=None, description="voxels: first I, J, K, then the ones past the last"
    )
    diameter_mm: float | None = Field(default=None, description="null where the spacing is nominal")
    class_name: str | None = Field(
        default=None, alias="class", description="the most probable; null = not told"
    )
    probabilities: tuple[float, ...] = Field(
        default=(), description="of every class, where the task is to tell them apart"
    )


@final
class LesionList(Document):
    """``lesions.json``: which model found or judged which lesions."""

    kind: Literal["classification", "detection"]
    model_sha256: str
    dataset_sha256: str | None = Field(description="null outside a dataset folder")
    fold: int | None = Field(description="of the run; null where the cases are not its held-out patients")
    classes: tuple[str, ...]
    case_ids: tuple[str, ...] = Field(description="all that were looked at, those without a lesion too")
    lesions: tuple[ScoredLesion, ...]
    refused: tuple[Finding, ...] = ()


@final
class Estimate(Frozen):
    """A figure with its 95% interval; null where it cannot be told."""

    value: float | None
    low: float | None = None
    high: float | None = None


@final
class FrocPoint(Frozen):
    """Sensitivity at a number of false positives a scan."""

    false_positives: float = Field(description="at most so many a scan")
    sensitivity: Estimate


@final
class FrocCurve(Aliased):
    """Free-response ROC of the lesions of one class; false positives are counted over all candidates."""

    class_name: str | None = Field(alias="class", description="null = lesions of all classes")
    n_lesions: int
    n_patients: int = Field(description="with such a lesion")
    points: tuple[FrocPoint, ...]
    mean_sensitivity: Estimate = Field(description="mean over the points (CPM of LUNA16)")


@final
class SoughtLesion(Aliased):
    """A reference lesion, and the best candidate that hits it."""

    case_id: str
    patient_id: str
    class_name: str = Field(alias="class")
    diameter_mm: float | None = Field(description="null where the spacing is nominal")
    score: float | None = Field(description="null = no candidate hits it")


@final
class DetectionResult(Document):
    """What `medaug evaluate` writes of lesion candidates."""

    labels: str = Field(description="name of the dataset of reference label maps")
    classes: tuple[str, ...]
    hit: str = Field(description="when a candidate finds a lesion")
    n_scans: int
    n_patients: int
    n_candidates: int
    curves: tuple[FrocCurve, ...]
    lesions: tuple[SoughtLesion, ...]
    missing: tuple[str, ...] = Field(description="scans that were not looked at; no candidate there")
    unmatched: int = Field(description="candidates in cases that are not scored")


@final
class JudgedLesion(Aliased):
    """A reference lesion and the classes that it was given."""

    lesion_id: str
    case_id: str
    patient_id: str
    class_name: str = Field(alias="class")
    probabilities: tuple[float, ...]


@final
class ClassSkill(Aliased):
    """How well one class is told from all others."""

    class_name: str = Field(alias="class")
    n: int = Field(description="lesions or patients of the class")
    n_others: int
    auc: Estimate
    sensitivity: Estimate = Field(description="where the most probable class is the answer")
    specificity: Estimate


@final
class ClassificationResult(Document):
    """What `medaug evaluate` writes of lesions with class probabilities."""

    labels: str = Field(description="name of the dataset of reference label maps")
    classes: tuple[str, ...]
    per_lesion: tuple[ClassSkill, ...]
    per_patient: tuple[ClassSkill, ...] = Field(
        description="a patient has a class if a lesion has it; the surest lesion speaks for the patient"
    )
    confusion: tuple[tuple[int, ...], ...] = Field(description="lesions: reference class by most probable")
    n_patients: int
    lesions: tuple[JudgedLesion, ...]
    not_lesions: int = Field(description="judged lesions that lie on no reference lesion; not scored")
    not_judged: int = Field(description="reference lesions that nobody judged; not scored")
