"""What an assessment of a synthetic set found: its quality, its samples one by one, and whether it copies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, final

from pydantic import Field

from medaug.core.config import Aliased, Document, Frozen

QUALITY, AUDIT, REJECTED = "quality.json", "audit.json", "rejected.json"
Verdict = Literal["pass", "fail", "inconclusive"]
Part = Literal["lesion", "background"]


@final
class Figure(Frozen):
    """A figure with its 95% interval, from draws of whole patients."""

    value: float
    low: float
    high: float


@final
class SpaceQuality(Frozen):
    """How far synthetic lesions lie from held-out real ones of their class, in one space of features.

    Every figure stands beside the same figure of real lesions: those of training patients against held-out ones.
    """

    space: Literal["figures", "encoder", "extractor"]
    frechet: Figure | None = Field(
        default=None,
        description="squared Frechet distance of two normal laws, followed to endless sets; may fall below 0; null = too few",
    )
    frechet_floor: Figure | None = None
    kernel: Figure | None = Field(
        default=None, description="squared maximum mean discrepancy, cubic kernel, unbiased; may fall below 0"
    )
    kernel_floor: Figure | None = None
    precision: Figure | None = Field(
        default=None, description="share of synthetic lesions within the real ones' manifold"
    )
    precision_floor: Figure | None = None
    recall: Figure | None = Field(
        default=None, description="share of real lesions within the synthetic ones' manifold"
    )
    recall_floor: Figure | None = None
    density: Figure | None = Field(
        default=None, description="neighbourhoods of real lesions that a synthetic one lies in, over k"
    )
    density_floor: Figure | None = None
    coverage: Figure | None = Field(
        default=None, description="share of real lesions with a synthetic neighbour"
    )
    coverage_floor: Figure | None = None


@final
class SpreadQuality(Frozen):
    """One property's distribution against the real one."""

    name: str = Field(description="e.g. diameter_mm, solidity, place_i")
    distance: Figure | None = Field(description="first Wasserstein distance, in units of the real deviation")
    floor: Figure | None = Field(description="the same between training and held-out real lesions")


@final
class ClassQuality(Frozen):
    """Realism, diversity and fidelity of one class of a synthetic set."""

    class_name: str
    n_synthetic: int
    n_training: int = Field(description="real lesions of the training patients")
    n_held_out: int = Field(description="real lesions of the held-out patients")
    spaces: tuple[SpaceQuality, ...] = ()
    spreads: tuple[SpreadQuality, ...] = ()
    ms_ssim: Figure | None = Field(default=None, description="mean over pairs; near 1 = all alike")
    ms_ssim_real: Figure | None = None
    recovered: Figure | None = Field(
        default=None, description="share in which a classifier of real lesions sees the asked class"
    )
    recovered_real: Figure | None = None
    label_dice: Figure | None = Field(
        default=None, description="Dice of a same-fold segmenter on the synthetic lesions"
    )
    label_dice_real: Figure | None = Field(
        default=None, description="the same on held-out real lesions, weighted to the synthetic ones' sizes"
    )
    seam_auc: Figure | None = Field(
        default=None,
        description="of a detector that tells a lesion's rim from a real one's, or a null paste from untouched tissue "
        "where the set has some; 0.5 = unseen",
    )
    seam_auc_real: Figure | None = Field(
        default=None, description="the same between held-out and training real lesions"
    )
    score: Figure | None = Field(default=None, description="mean score of the lesions of the class")
    score_real: float | None = Field(default=None, description="what real lesions score by the same parts")


@final
class SampleScore(Aliased):
    """One synthetic lesion; what is null was not measured."""

    case_id: str
    lesion: int = Field(description="its number among the lesions of the case, from 0")
    class_name: str = Field(alias="class")
    score: float = Field(
        description="0 to 1, the mean of the parts that were measured; score_real of the class says what real ones reach"
    )
    typical: float = Field(description="share of real lesions of the class that lie farther out")
    recovered: float | None = Field(default=None, description="probability of its own class")
    label_dice: float | None = None
    seam: float | None = Field(default=None, description="1 - what a seam detector says")
    diameter_mm: float | None = Field(default=None, description="null where the spacing is nominal")
    copy_score: float | None = Field(
        default=None, description="1 and more = flagged as a copy; no part of score"
    )


@final
class Rejection(Frozen):
    """A synthetic case that was left out, and why."""

    case_id: str
    reason: str = Field(description="what the rule found, or what the person wrote; may be empty")
    rule: str | None = Field(default=None, description="the rule it broke; null = a person left it out")


@final
class RejectionsFile(Document):
    """``rejected.json`` of a filtered set: what every filtering so far left out."""

    rejections: tuple[Rejection, ...]


def read_rejections(synthetic: Path) -> tuple[Rejection, ...]:
    """What was left out of a synthetic set before; nothing where it was never filtered.

    Raises:
        DataError: If ``rejected.json`` is damaged.
    """
    path = synthetic / REJECTED
    return RejectionsFile.read(path).rejections if path.is_file() else ()


@final
class Group(Frozen):
    """One value of an attribute (class, size, site, scanner, sex, age): real against synthetic."""

    attribute: str
    value: str
    real: int = Field(description="real lesions of the training patients")
    synthetic: int
    real_share: float
    synthetic_share: float
    score: Figure | None = Field(
        default=None, description="mean score of the synthetic lesions of this value"
    )
    note: str = Field(
        default="", description="what explains a difference that is not blamed, such as: as asked"
    )
    flag: str = Field(default="", description="in words, where synthesis narrows or skews; empty = no flag")


@final
class QualityReport(Document):
    """``quality.json``."""

    synthetic_sha256: str
    dataset_sha256: str
    fold: int
    training_scope_sha256: str | None = Field(
        default=None, description="of the training patients whose scans the scores may rest on"
    )
    synthetic: str = Field(default="", description="name of the assessed set")
    dataset: str = Field(default="", description="name of the real dataset")
    command: str = Field(default="", description="what was typed")
    classes: tuple[ClassQuality, ...]
    samples: tuple[SampleScore, ...] = ()
    bias: tuple[Group, ...] = ()
    rejected: tuple[Rejection, ...] = Field(default=(), description="left out of the set before")
    extractor_sha256: str | None = None
    notes: tuple[str, ...] = Field(default=(), description="what could not be measured, and why")


@final
class CopyFlag(Frozen):
    """A synthetic sample that looks like a copy."""

    case_id: str
    source_case_id: str
    part: Part
    score: float
    transform: str


@final
class PartVerdict(Frozen):
    """Verdicts on the two parts of a synthetic case."""

    lesion: Verdict
    background: Verdict


@final
class CopyShare(Frozen):
    """How many of the samples of one part are copies."""

    part: Part
    judged: int = Field(description="samples that were large enough to be judged")
    flagged: int
    share: float
    low: float = Field(description="95%, Clopper-Pearson")
    high: float
    detection_limit: float = Field(description="largest share of copies that could have gone unseen, 95%")
    recall: float | None = Field(description="of planted copies, that the search found; null = no threshold")


@final
class MembershipResult(Frozen):
    """Can it be told from the set whether a patient was trained on?"""

    verdict: Verdict
    auc: Figure | None = Field(description="training against held-out patients; 0.5 = cannot be told")
    control_auc: Figure | None = Field(
        description="the same attack on lesions that cannot have been copied; how much of it is chance"
    )
    tpr_at_1_percent: Figure | None = Field(description="training patients found at 1% false positives")
    n_members: int
    n_others: int
    reasons: tuple[str, ...]


@final
class AuditReport(Document):
    """``audit.json``: is the synthetic set a copy of its training data?"""

    synthetic_sha256: str = Field(
        description="content hash of the audited set; a changed set makes the audit stale"
    )
    dataset_sha256: str
    fold: int
    verdict: PartVerdict
    reasons: tuple[str, ...]
    threshold: float | None = Field(
        description="score from which a lesion is flagged: at most 1 in 100 held-out real lesions; null = too few"
    )
    n_synthetic: int = Field(description="synthetic lesions large enough to be judged")
    n_training: int = Field(description="training lesions searched")
    n_held_out: int = Field(description="held-out lesions that the threshold rests on")
    detection_limit: float = Field(
        description="largest share of copies that could have gone unseen, 95%: 3 / (n_synthetic * recall)"
    )
    recall: float | None = Field(
        default=None,
        description="share of planted copies of training lesions that the search found; null = no threshold",
    )
    flagged: tuple[CopyFlag, ...]
    shares: tuple[CopyShare, ...] = ()
    membership: MembershipResult | None = None
