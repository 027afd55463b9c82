"""The segmenter that an assessment asks: a run of ``medaug train`` on the same fold, or a short one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from medaug.core.case import Case, CaseRecord, Manifest
from medaug.core.config import Frozen
from medaug.core.errors import DataError, SplitLeakageError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import RUN_FILE, Progress, RunRecord, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, guard_training
from medaug.core.volume import Mask, Volume
from medaug.io.dataset import load_case
from medaug.quality.fidelity import Segment
from medaug.tasks.base import Model, TrainingData, load_model, parse_task
from medaug.transforms.base import parse_transforms
from medaug.workflows.train import STEP as TRAIN_STEP

FOLDER = "segmenter"
STEPS: Final = 750
# slices, since these can be learnt in a minute; patches of about 64 x 64
_TASK: Final = {"kind": "segmentation", "dims": 2, "voxel_budget": 12 * 64 * 64, "steps": STEPS}
_TRANSFORMS: Final = {"kind": "classical"}
_MOST_CASES: Final = 400  # that are kept in memory


@final
@dataclass(frozen=True, slots=True)
class AssessedFold:
    """The dataset and fold of an assessment."""

    dataset: Path
    manifest: Manifest
    fold: Fold

    @property
    def records(self) -> tuple[CaseRecord, ...]:
        """The real, labelled cases of the training patients."""
        training = self.manifest.of_patients(frozenset(self.fold.train))
        return tuple(r for r in training if r.is_labelled_scan)


@final
class _Settings(Frozen):
    """What makes the short training the same training."""

    task: dict[str, object]
    transforms: dict[str, object]
    fold: int
    seed: int


def segmenter_for(
    assessed: AssessedFold, run: Path | None, out: Path, progress: Progress, seed: int = 0
) -> Model:
    """A segmenter that learnt from real cases of the fold's training patients alone.

    Args:
        assessed: Dataset and fold.
        run: A folder of ``medaug train``; None trains a short one.
        out: Where a short training is kept: the same call takes it from there, an interrupted one goes on.
        progress: Of the training.
        seed: Of the training.

    Raises:
        SplitLeakageError: If the run learnt from another dataset or fold, or from synthetic cases.
        DataError: If the run is none of ``medaug train``, or there is nothing to learn from.
        CheckpointError: If the run is not finished.
        ConfigError: If the run answers with lesions instead of label maps, or ``out`` holds another run.
        TrainingError: If the training diverges.
    """
    if run is not None:
        check_run(run, assessed)
        return load_model(run)
    task = parse_task(_TASK)
    settings = _Settings(
        task=task.model_dump(mode="json"), transforms=_TRANSFORMS, fold=assessed.fold.index, seed=seed
    )
    inputs = {"dataset": assessed.manifest.content_sha256, "fold": assessed.fold.scope_sha256}
    if not finished(out, FOLDER, settings, inputs):
        cases = _cases(assessed, progress)
        scheme = IntensityScheme.for_volume(cases[0].volume)
        data = TrainingData(cases, assessed.manifest.classes, scheme)
        augment = parse_transforms(_TRANSFORMS).build(scheme.unit, assessed.manifest.modality)
        with open_run(out, FOLDER, settings, inputs) as opened:
            root = SeedTree(seed).child(FOLDER, assessed.fold.index)
            task.build("auto").fit(data, augment, opened, progress, root)
    return load_model(out)


def lesion_finder(model: Model) -> Segment:
    """What a model takes for a lesion: any class is likelier than none, though no single one may be."""

    def find(volume: Volume) -> Mask:
        return np.asarray(model.probabilities(volume)[0] < 0.5)

    return find


def check_run(run: Path, assessed: AssessedFold) -> None:
    """Raise unless a run of ``medaug train`` learnt from real cases of this fold's training patients alone.

    Raises:
        SplitLeakageError: If it learnt from others, or from synthetic cases.
        DataError: If it is no run of ``medaug train``.
    """
    if not (run / RUN_FILE).is_file():
        raise DataError(f"{run} is no run folder", where="--segmenter", expected="one of `medaug train`")
    record = RunRecord.read(run / RUN_FILE)
    if record.step != TRAIN_STEP:
        what = f"{run} is a run of {record.step}"
        raise DataError(what, where="--segmenter", expected="one of `medaug train`")
    index, hint = assessed.fold.index, "train it again, or leave the option out"
    asked = {"dataset": assessed.manifest.content_sha256, "fold": assessed.fold.scope_sha256}
    for what, wanted in asked.items():
        if record.inputs.get(what) != wanted:
            said = f"{run} was trained on another {what}, or on another state of it"
            raise SplitLeakageError(said, where="--segmenter", expected=f"fold {index}", hint=hint)
    if "synthetic" in record.inputs:
        said = f"{run} learnt from synthetic cases, and would find what it was shown"
        raise SplitLeakageError(said, where="--segmenter", expected="real cases only", hint=hint)


def _cases(assessed: AssessedFold, progress: Progress) -> tuple[Case, ...]:
    records = _spread(assessed.records)
    if not records:
        raise DataError(f"no training patient of fold {assessed.fold.index} has a labelled case")
    guard_training(records, assessed.fold)
    progress.start("read cases for a segmenter", len(records))
    cases = []
    for record in records:
        cases.append(load_case(assessed.dataset, record, assessed.manifest.classes))
        progress.advance()
    return tuple(cases)


def _spread(records: Sequence[CaseRecord]) -> Sequence[CaseRecord]:
    """At most so many cases, evenly over the manifest."""
    step = -(-len(records) // _MOST_CASES)
    return records[:: max(1, step)]
