"""Detection: where lesions may be and how surely, from the probabilities of a segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, final

from pydantic import Field

from medaug.core.candidates import ScoredLesion
from medaug.core.case import Case
from medaug.core.config import Document
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.engine.augment import BatchAugment
from medaug.lesions.candidates import Scoring, find_candidates
from medaug.tasks import segmentation
from medaug.tasks._detection.retinanet import RetinaNetConfig
from medaug.tasks.base import TASK, Answer, FitReport, LesionModel, Model, Task, TaskConfig, TrainingData


@final
class Config(TaskConfig):
    """Settings of detection."""

    answer: ClassVar[Answer] = "lesions"
    kind: Literal["detection"] = "detection"
    network: Annotated[segmentation.Config | RetinaNetConfig, Field(discriminator="kind")] = Field(
        default=segmentation.Config(), description="the settings of what finds lesions, with its kind"
    )
    threshold: float = Field(
        default=0.1, gt=0, lt=1, description="voxels with so much chance of a lesion make candidates"
    )
    scoring: Scoring = Field(default="max", description="of the chances of a candidate's voxels")
    fewest_voxels: int = Field(default=3, ge=1, description="smaller candidates are left out")

    def build(self, device: str = "auto") -> Task:
        """The task on that device."""
        return DetectionTask(self, device)


@final
class DetectionPlan(Document):
    """``task.json``: how candidates are made; the network's own plan lies beside it."""

    kind: Literal["detection"] = "detection"
    threshold: float
    scoring: Scoring
    fewest_voxels: int


@final
class DetectionTask:
    """Trains the network; what makes a detector of it stands in ``task.json``."""

    kind = "detection"

    def __init__(self, config: Config, device: str = "auto") -> None:
        self._config, self._network = config, config.network.build(device)

    def fit(
        self, data: TrainingData, augment: BatchAugment, run: RunDir, progress: Progress, seed: SeedTree
    ) -> FitReport:
        """Train; see :meth:`medaug.tasks.base.Task.fit`."""
        config = self._config
        plan = DetectionPlan(
            threshold=config.threshold, scoring=config.scoring, fewest_voxels=config.fewest_voxels
        )
        plan.write(run.path / TASK)
        return self._network.fit(data, augment, run, progress, seed)


@final
class DetectionModel:
    """A trained segmenter, read as a detector."""

    judges_given_lesions = False

    def __init__(self, plan: DetectionPlan, segmenter: Model) -> None:
        self._plan, self._segmenter = plan, segmenter

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of label ids 1, 2, ... in order."""
        return self._segmenter.classes

    @property
    def scheme(self) -> IntensityScheme:
        """Unit, channels and normalisation of the training images."""
        return self._segmenter.scheme

    def judge(self, case: Case) -> tuple[ScoredLesion, ...]:
        """Candidates of a scan, the surest first; see :meth:`medaug.tasks.base.LesionModel.judge`."""
        found = find_candidates(
            self._segmenter.predict_with_confidence(case.volume),
            threshold=self._plan.threshold,
            scoring=self._plan.scoring,
            fewest_voxels=self._plan.fewest_voxels,
        )
        return tuple(one.scored(case) for one in found)


def load(run_path: Path, device: str = "auto") -> LesionModel:
    """The model in a run folder, ready to find lesions.

    Raises:
        CheckpointError: If the weights are damaged or do not fit the plan.
    """
    plan = DetectionPlan.read(run_path / TASK)
    return DetectionModel(plan, segmentation.load(run_path, device))
